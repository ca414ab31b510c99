"""What ``auto`` takes where no Alpha-CLIP checkpoint is installed: a model that is here already.

Region attention in the last layer makes any vision transformer of open_clip's a region encoder,
without weights of its own (see `alphaclip.methods`). Regions are shown with what is near them: a
whole picture leaves a small object too few patches.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)

METHODS = "+near+maskattn"

CANDIDATES = (
    "ViT-H-14-378-quickgelu/dfn5b",
    "PE-Core-L-14-336/meta",
    "ViT-L-14-quickgelu/dfn2b",
    "ViT-L-14/datacomp_xl_s13b_b90k",
    "PE-Core-B-16/meta",
    "ViT-L-14-336-quickgelu/openai",
    "ViT-B-16-quickgelu/dfn2b",
    "ViT-L-14-quickgelu/openai",
    "ViT-B-16/datacomp_xl_s13b_b90k",
    "ViT-B-16/laion2b_s34b_b88k",
    "ViT-B-16-quickgelu/openai",
)
"""By their published zero-shot accuracy on ImageNet, the best first. Only models whose tokenizer
comes with open_clip, so that text works without internet; SigLIP's does not."""

OFFERED = {"cpu": "ViT-B-16/datacomp_xl_s13b_b90k", "cuda": "ViT-L-14/datacomp_xl_s13b_b90k"}
"""What is offered for download: MIT-licensed, and of a size that the device can bear."""

_SIZES = {"cpu": "0.6 GB", "cuda": "1.7 GB"}


def find_cached() -> str | None:
    """The best candidate whose weights are on this machine; nothing is downloaded.

    Returns:
        a name with its methods, such as ``openclip:ViT-B-16/datacomp_xl_s13b_b90k+near+maskattn``,
        None if there is none
    """
    from alphaclip.base_weights import find_base

    for candidate in CANDIDATES:
        architecture, _, tag = candidate.partition("/")
        if find_base(architecture, tag) is not None:
            return _name(candidate)
    return None


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
    import torch

    from alphaclip.base_weights import download_base
    from alphaclip.zoo import NANO, find_auto

    if not sys.stdin.isatty() or find_auto().name != NANO:
        return "auto"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    candidate = OFFERED[device]
    question = (
        "No model for photographs is on this machine. Download open_clip's "
        f"{candidate} ({_SIZES[device]}, MIT licence)? [y/N] "
    )
    if _answer(ask, question) not in ("y", "yes"):
        return "auto"
    architecture, _, tag = candidate.partition("/")
    download_base(architecture, tag)
    return _name(candidate)


def _answer(ask: Callable[[str], str], question: str) -> str:
    try:
        return ask(question).strip().lower()
    except EOFError:
        return ""


def _name(candidate: str) -> str:
    from alphaclip.zoo import OPENCLIP_PREFIX

    return f"{OPENCLIP_PREFIX}{candidate}{METHODS}"
