"""What ``auto`` takes where no Alpha-CLIP checkpoint is installed: a model that is here already.

Region attention in the last layer makes any vision transformer of open_clip's a region encoder,
without weights of its own (see `alphaclip.catalog.methods`). Regions are shown with what is near
them: a whole picture leaves a small object too few patches.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alphaclip.catalog.candidates import Candidate


def ask_for_model(ask: Callable[[str], str] = input) -> str:
    """Asks at a terminal whether a model for photographs may be downloaded, where there is none.

    For commands that were given no encoder. Elsewhere, and without a terminal, ``auto`` never
    downloads anything.

    Args:
        ask: shows a question and returns the answer

    Returns:
        the name to load: ``auto`` where a model is here, nobody can be asked, or the answer is no

    Raises:
        MissingWeightsError: the download failed; says why and what else can be done
    """
    from alphaclip.catalog.choices import download_encoder
    from alphaclip.catalog.zoo import NANO, cached_name, find_auto

    if not sys.stdin.isatty() or find_auto().name != NANO:
        return "auto"
    offer = offer_for_here()
    question = (
        "No model for photographs is on this machine. Download open_clip's "
        f"{offer.model} ({offer.size}, {offer.licence} licence)? [y/N] "
    )
    try:
        answer = ask(question).strip().lower()
    except EOFError:
        answer = ""
    if answer not in ("y", "yes"):
        return "auto"
    name = cached_name(offer.model)
    download_encoder(name)
    return name


def offer_for_here() -> Candidate:
    """The model that is offered first on this machine."""
    import torch

    from alphaclip.catalog.candidates import OFFERED

    return OFFERED["cuda" if torch.cuda.is_available() else "cpu"]
