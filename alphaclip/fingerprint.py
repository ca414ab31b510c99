"""A hash of everything that decides an embedding, but not of the device or the precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def fingerprint(model: nn.Module, preprocessing: Mapping[str, Any]) -> str:
    """Hashes both towers' weights and how pictures are prepared.

    Args:
        model: its state dict is hashed in order of name, as float32
        preprocessing: view, size, mean and standard deviation, as JSON holds them

    Returns:
        32 hex digits
    """
    content = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        content.update(f"{name} {tuple(tensor.shape)}".encode())
        content.update(_bytes(tensor))
    return content.hexdigest()[:32]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().float().contiguous().numpy().tobytes()
