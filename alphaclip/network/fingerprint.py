"""A hash of everything that decides an embedding, but not of the device or the precision."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from alphaclip.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from alphaclip.network.model import AlphaCLIP
    from alphaclip.views.view import View


def fingerprint(model: AlphaCLIP, view: View | None, pooling: str | None = None) -> str:
    """Hashes both towers' configuration and weights, and how pictures and words are prepared.

    Args:
        model: its state dict is hashed in order of name, as float32
        view: what is shown of a region; None for words alone
        pooling (None): how regions are taken from the model's tokens; None if the model does it

    Returns:
        32 hex digits
    """
    settings = _settings(model, view) | ({"pooling": pooling} if pooling else {})
    content = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        content.update(f"{name} {tuple(tensor.shape)}".encode())
        content.update(_bytes(tensor))
    return content.hexdigest()[:32]


def _settings(model: AlphaCLIP, view: View | None) -> dict[str, Any]:
    from alphaclip.weights.architectures import find_merges

    merges = find_merges(model.config)
    return {
        "view": None if view is None else view.to_dict(),
        "size": model.image_size,
        "mean": list(model.mean),
        "std": list(model.std),
        "configuration": dict(model.config.settings),
        "merges": file_sha256(merges) if merges else None,
    }


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().float().contiguous().numpy().tobytes()
