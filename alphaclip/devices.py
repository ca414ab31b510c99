"""Torch devices by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import torch


def find_device(device: str | torch.device | None) -> torch.device:
    """The torch device of a name; None takes a GPU if there is one.

    Raises:
        AlphaClipError: there is no such device, or it cannot be used here
    """
    import torch

    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, TypeError, ValueError) as error:
        raise AlphaClipError(f"device is {device!r}: expected 'cpu', 'cuda' or 'cuda:N'") from error
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= usable:
        count = (
            f"only {usable} CUDA device(s) can be used" if usable else "no CUDA device is usable"
        )
        raise AlphaClipError(
            f"device is {device!r}, but {count} here: take device='cpu', or see what "
            "`alphaclip doctor` says of the GPU"
        )
    return chosen
