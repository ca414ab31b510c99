"""Squares that show several regions of a picture, so that each has pixels enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alphaclip.regions.region import PixelBox
from alphaclip.views.view import View, square_round


def cover(
    bounds: Sequence[PixelBox], view: View, height: int, width: int
) -> Mapping[PixelBox, PixelBox]:
    """Finds as few squares as a greedy rule does, and which of them shows which region.

    The smallest region that has none yet decides how wide the next square may be: as many of its
    longer sides as ``view.context`` says, so no region in it is shown smaller than that. The
    square takes in what lies nearest, as long as all of it fits, and is centred on that: a region
    that nothing fits beside has the square of ``context``, and where the whole picture is no wider
    than the square may be, all that are left share that.

    Args:
        bounds: of the regions, in pixels; what is shown depends on all of them
        view: of kind ``cover``
        height, width: of the picture

    Returns:
        bounds to their squares
    """
    squares: dict[PixelBox, PixelBox] = {}
    boxes = np.array(sorted({*bounds}, key=_longer), np.int64).reshape(-1, 4)
    while len(boxes):
        side = view.side_for(_longer(boxes[0]))
        if side >= max(height, width):
            taken, square = np.ones(len(boxes), bool), view.whole_window(height, width)
        else:
            taken = _fitting(boxes, side)
            low, high = boxes[taken, :2].min(axis=0), boxes[taken, 2:].max(axis=0)
            square = square_round((*low.tolist(), *high.tolist()), side)
        squares |= dict.fromkeys(map(tuple, boxes[taken].tolist()), square)
        boxes = boxes[~taken]
    return squares


def _fitting(boxes: np.ndarray, side: int) -> np.ndarray:
    """Which boxes a square takes in, the first of them always: bool (n,)."""
    middles = boxes[:, :2] + boxes[:, 2:]
    taken = np.zeros(len(boxes), bool)
    low, high = boxes[0, :2], boxes[0, 2:]
    for number in np.abs(middles - middles[0]).max(axis=1).argsort(kind="stable"):
        lower, higher = (
            np.minimum(low, boxes[number, :2]),
            np.maximum(high, boxes[number, 2:]),
        )
        if not number or (higher - lower).max() <= side:
            low, high, taken[number] = lower, higher, True
    return taken


def _longer(box: Sequence[int]) -> int:
    return int(max(box[2] - box[0], box[3] - box[1]))
