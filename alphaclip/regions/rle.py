"""COCO's run-length encoding of masks, in both of its spellings."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.regions.images import MAX_PIXELS

MOST_DIGITS = 7
"""Of a number in a compressed string, 5 bits each: those of the largest mask have 6."""


class Rle(TypedDict):
    """A mask of a picture: ``size`` (height, width) and ``counts`` as COCO's compressed string."""

    size: list[int]
    counts: str


def encode_rle(mask: np.ndarray) -> Rle:
    """A mask as a compressed COCO RLE, the same text as pycocotools makes.

    Args:
        mask: bool (H, W)
    """
    pixels = np.asarray(mask, bool).ravel("F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff([0, *changes, pixels.size]).tolist()
    if pixels[:1].any():
        runs.insert(0, 0)  # By COCO's rule the first run is of background.
    text = bytearray()
    for i, run in enumerate(runs):
        # From the fourth on, the difference to the run of the same kind before: small numbers.
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            chunk, value = value & 0x1F, value >> 5
            more = value != (-1 if chunk & 0x10 else 0)
            text.append(48 + (chunk | 0x20 if more else chunk))
    return {"size": [int(side) for side in mask.shape], "counts": text.decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decodes a COCO RLE.

    Args:
        rle: ``{"size": [height, width], "counts": ...}`` with counts as a list of run lengths,
            or as COCO's compressed string (str or bytes)

    Returns:
        uint8 (height, width), 0 or 1

    Raises:
        RegionError: if a key is missing, the counts are no run lengths, the runs do not add up to
            height x width, or these are more pixels than a picture may have
    """
    try:
        height, width = (int(n) for n in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RegionError(
            f'RLE is {rle!r:.120}: expected {{"size": [height, width], "counts": ...}}'
        ) from error
    if isinstance(counts, (str, bytes)):
        runs = _uncompress(counts)
    else:
        try:
            runs = [operator.index(count) for count in counts]
        except TypeError as error:
            raise RegionError(
                f"RLE counts are {counts!r:.120}: expected a list of whole numbers, or COCO's "
                "compressed string"
            ) from error
    if height < 1 or width < 1:
        raise RegionError(f"RLE size is {height} x {width}: expected at least one pixel")
    if height * width > MAX_PIXELS:
        raise RegionError(f"RLE size is {height} x {width}: the limit is {MAX_PIXELS:,} pixels")
    if min(runs, default=0) < 0:
        raise RegionError(f"RLE has a run of {min(runs)} pixels: the counts are damaged")
    if sum(runs) != height * width:
        raise RegionError(
            f"RLE runs add up to {sum(runs)}, size {height} x {width} needs "
            f"{height * width}: counts and size belong to different masks"
        )
    values = (np.arange(len(runs)) % 2).astype(np.uint8)
    return np.repeat(values, runs).reshape(width, height).T


def _uncompress(counts: str | bytes) -> list[int]:
    text = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    chunks = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    wrong = np.flatnonzero((chunks < 0) | (chunks >= 64))
    if len(wrong):
        raise RegionError(
            f"RLE counts have {text[wrong[0] : wrong[0] + 1]!r} at {wrong[0]}, "
            "which COCO's compressed string never has: the string is damaged"
        )
    if not len(chunks):
        return []
    if chunks[-1] & 0x20:
        raise RegionError("RLE counts end in the middle of a number: the string is cut")
    ends = np.flatnonzero(chunks < 0x20) + 1
    starts = np.concatenate([[0], ends[:-1]])
    digits = ends - starts
    if digits.max() > MOST_DIGITS:
        raise RegionError(
            f"RLE counts have a number of {digits.max()} digits at {starts[digits.argmax()]}, "
            f"the limit is {MOST_DIGITS}: the string is damaged"
        )
    shifts = 5 * (np.arange(len(chunks)) - np.repeat(starts, digits))
    runs = np.add.reduceat((chunks & 0x1F) << shifts, starts)
    runs -= np.where(chunks[ends - 1] & 0x10, 1 << 5 * digits, 0)
    # From the fourth on, each is the difference to the run of the same kind before.
    for first in (1, 2):
        runs[first::2] = runs[first::2].cumsum()
    return [int(run) for run in runs]
