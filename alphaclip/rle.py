"""COCO's run-length encoding of masks, in both of its spellings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alphaclip.errors import RegionError


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decodes a COCO RLE.

    Args:
        rle: ``{"size": [height, width], "counts": ...}`` with counts as a list of run lengths,
            or as COCO's compressed string (str or bytes)

    Returns:
        uint8 (height, width), 0 or 1

    Raises:
        RegionError: if a key is missing or the runs do not add up to height x width
    """
    try:
        height, width = (int(n) for n in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError) as error:
        raise RegionError(
            f'RLE is {rle!r}: expected {{"size": [height, width], "counts": ...}}'
        ) from error
    runs = _uncompress(counts) if isinstance(counts, (str, bytes)) else counts
    return _fill(runs, height, width)


def _uncompress(counts: str | bytes) -> list[int]:
    text = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text):
                raise RegionError("RLE counts end in the middle of a number: the string is cut")
            chunk = text[position] - 48
            value |= (chunk & 0x1F) << shift
            more = bool(chunk & 0x20)
            position, shift = position + 1, shift + 5
            if not more and chunk & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _fill(runs: Sequence[int], height: int, width: int) -> np.ndarray:
    lengths = np.asarray(runs, dtype=np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise RegionError(
            f"RLE runs add up to {int(lengths.sum())}, size {height} x {width} needs "
            f"{height * width}: counts and size belong to different masks"
        )
    values = np.arange(len(lengths)) % 2
    return np.repeat(values, lengths).reshape(width, height).T.astype(np.uint8)
