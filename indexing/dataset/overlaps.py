"""How much regions overlap: the IoU of masks where both have one, else of boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.regions.region import Region

GRID = 192
"""Side of the raster on which two masks are compared, over the box round both: fine enough that
the IoU is right to 0.03, coarse enough to compare a region with all others of its picture."""

_SMALLEST = 1e-4
"""A box thinner than this share of the picture is compared as if it were so thick."""

Box = tuple[float, float, float, float]


def most_overlap(region: Region, others: Sequence[Region]) -> float:
    """The highest IoU of a region with any of some others; 0 if there are none."""
    return max((iou(region, other) for other in others), default=0.0)


def iou(first: Region, second: Region) -> float:
    """Intersection over union of two regions of one picture, in [0, 1].

    Masks and polygons are compared by their pixels if both regions have one; else the boxes are.
    """
    if first.is_whole_image or second.is_whole_image:
        first, second = (_boxed(region) for region in (first, second))
    one, two = outer_box(first), outer_box(second)
    shared = _intersection(one, two)
    if shared == 0:
        return 0.0
    if _has_shape(first) and _has_shape(second):
        return _mask_iou(first, second, one, two)
    # Rounded, so that equal boxes give 1 and not a little less.
    return round(shared / (_area(one) + _area(two) - shared), 9)


def nested(first: Region, second: Region) -> float:
    """How much of the smaller of two regions' boxes is in the other, in [0, 1]."""
    one, two = outer_box(first), outer_box(second)
    return round(_intersection(one, two) / min(_area(one), _area(two)), 9)


def outer_box(region: Region) -> Box:
    """The box round a region: relative ``(x, y, w, h)``; of a mask, the box that it is drawn in."""
    if region.rings:
        points = np.concatenate(region.rings)
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return _thick(left, top, right - left, bottom - top)
    return _thick(*(region.box or (0.0, 0.0, 1.0, 1.0)))


def _boxed(region: Region) -> Region:
    return Region.from_box([0, 0, 1, 1]) if region.is_whole_image else region


def _thick(left: float, top: float, width: float, height: float) -> Box:
    return float(left), float(top), max(float(width), _SMALLEST), max(float(height), _SMALLEST)


def _has_shape(region: Region) -> bool:
    return bool(region.rings) or region.mask is not None


def _area(box: Box) -> float:
    return box[2] * box[3]


def _intersection(one: Box, two: Box) -> float:
    width = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
    height = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
    return max(width, 0.0) * max(height, 0.0)


def _mask_iou(first: Region, second: Region, one: Box, two: Box) -> float:
    """Drawn in a picture so large that the box round both is GRID cells wide and high.

    Stretching a picture changes no ratio of areas, so its real size does not matter.
    """
    left, top = min(one[0], two[0]), min(one[1], two[1])
    across = max(one[0] + one[2], two[0] + two[2]) - left
    down = max(one[1] + one[3], two[1] + two[3]) - top
    width, height = math.ceil(GRID / across), math.ceil(GRID / down)
    x, y = math.floor(left * width), math.floor(top * height)
    window = (x, y, x + GRID + 2, y + GRID + 2)
    try:
        a, b = (r.alpha_window(height, width, window) > 127 for r in (first, second))
    except RegionError:
        return 0.0
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
