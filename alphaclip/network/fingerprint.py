"""A hash of everything that decides an embedding, but not of the device or the precision."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from alphaclip.files import file_sha256

if TYPE_CHECKING:
    from alphaclip.network.model import AlphaCLIP
    from alphaclip.views.view import View


def fingerprint(model: AlphaCLIP, view: View | None, pooling: str | None = None) -> str:
    """Hashes both towers' configuration and weights, and how pictures and words are prepared.

    It is the same on every machine. So a text tower whose weights are not here yet is loaded
    first: without it an encoder can show what a region is like, but its vectors are not stored.
    A model that no text weights were named for has random ones, which are left out; that is part
    of the hash, so it never equals a model's with text.

    Args:
        model: its state dict is hashed in order of name, as float32
        view: what is shown of a region; None for words alone
        pooling (None): how regions are taken from the model's tokens; None if the model does it

    Returns:
        32 hex digits

    Raises:
        MissingWeightsError: the text tower's weights are neither here nor to be downloaded
    """
    from alphaclip.weights.architectures import find_merges

    model.load_text()
    merges = find_merges(model.config)
    settings = {
        "view": None if view is None else view.to_dict(),
        "size": model.image_size,
        "mean": list(model.mean),
        "std": list(model.std),
        "configuration": dict(model.config.settings),
        "merges": file_sha256(merges) if merges else None,
        **({"pooling": pooling} if pooling else {}),
        **({} if model.has_text else {"text": None}),
    }
    content = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if model.has_text or name.startswith("clip.visual."):
            content.update(f"{name} {tuple(tensor.shape)}".encode())
            content.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return content.hexdigest()[:32]
