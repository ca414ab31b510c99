"""A hash of everything that decides an embedding, but not of the device or the precision."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import file_sha256, parse_json, update_text

if TYPE_CHECKING:
    from torch import Tensor

    from alphaclip.network.model import AlphaCLIP
    from alphaclip.views.view import View


logger = logging.getLogger(__name__)

MEMORY = "fingerprints.json"
"""The file in the models folder that remembers those of large weights."""

LARGE = 50_000_000
"""Numbers from which on weights are not hashed at every start: fewer take less than 0.2 s."""

MOST = 100
"""Fingerprints that are remembered."""

SAMPLED = 64
"""Numbers of each tensor that are looked at all the same."""


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
    text = json.dumps(settings, sort_keys=True)
    tensors = {
        name: tensor.detach()
        for name, tensor in sorted(model.state_dict().items())
        if model.has_text or name.startswith("clip.visual.")
    }
    key = _key(model, text, tensors)
    return _remembered(key) or _computed(key, text, tensors)


def _computed(key: str | None, text: str, tensors: dict[str, Tensor]) -> str:
    from alphaclip.catalog.released import models_folder

    content = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        content.update(f"{name} {tuple(tensor.shape)}".encode())
        content.update(tensor.cpu().float().contiguous().reshape(-1).numpy().data)
    found = content.hexdigest()[:32]
    if key is not None:
        try:
            path = models_folder() / MEMORY
            update_text(path, lambda text: json.dumps({**_latest(text), key: found}, indent=1))
        except AlphaClipError as error:
            logger.debug("the next start computes it again: %s", error)
    return found


def _key(model: AlphaCLIP, text: str, tensors: dict[str, Tensor]) -> str | None:
    """Tells large weights, as they were read from their files, from all others; None for small
    ones, and for those that are not from files.

    Weights that were changed since have another version, or, where that was done behind PyTorch's
    back, as LoRA is merged, other numbers.
    """
    if not model.sources or sum(t.numel() for t in tensors.values()) < LARGE:
        return None
    digest = hashlib.sha256(json.dumps([text, model.sources]).encode())
    for name, tensor in tensors.items():
        flat = tensor.reshape(-1)
        some = flat[:: max(1, len(flat) // SAMPLED)].cpu().float().numpy()
        version = None if tensor.is_inference() else tensor._version
        digest.update(f"{name} {tuple(tensor.shape)} {version}".encode())
        digest.update(some.tobytes())
    return digest.hexdigest()[:32]


def _remembered(key: str | None) -> str | None:
    from alphaclip.catalog.released import models_folder

    path = models_folder() / MEMORY
    if key is None or not path.is_file():
        return None
    try:
        found = _latest(path.read_text("utf-8")).get(key)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) and len(found) == 32 else None


def _latest(text: str | None) -> dict[str, Any]:
    try:
        content = parse_json(text or "{}", MEMORY)
    except AlphaClipError:
        return {}
    return dict(list(content.items())[1 - MOST :]) if isinstance(content, dict) else {}
