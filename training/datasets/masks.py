"""COCO's masks to regions that hold only what is inside their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.regions.images import MAX_PIXELS
from alphaclip.regions.region import Region, tight_box
from alphaclip.regions.rle import decode_rle


def masked_region(mask: np.ndarray) -> Region:
    """A region of a mask, bool (H, W), which keeps the pixels inside the mask's bounds only.

    A hundred thousand masks of whole pictures fit no memory. The bounds lie on pixel borders, so
    the region is the same, pixel by pixel, in a picture of the mask's shape.

    Raises:
        EmptyRegionError: if no pixel is set
    """
    tight = tight_box(mask)
    if tight is None:
        raise EmptyRegionError("has a mask with no pixel set")
    left, top, right, bottom = tight
    height, width = mask.shape
    box = left / width, top / height, (right - left) / width, (bottom - top) / height
    return Region.from_mask(mask[top:bottom, left:right], box=box)


def boxed_region(box: tuple[float, float, float, float], width: int, height: int) -> Region:
    """A region of a box in pixels of a picture, of which something has to be inside."""
    x, y, w, h = box
    region = Region.from_box((x / width, y / height, w / width, h / height))
    region.bounds(height, width)
    return region


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO annotation's ``segmentation``: bool (height, width).

    Args:
        segmentation: polygons in pixels, which are united, or an RLE in either spelling
        height: of the picture
        width: of the picture

    Raises:
        AlphaClipError: if it is malformed or is for another size
    """
    if isinstance(segmentation, Mapping):
        return decode_mask(segmentation, (height, width))
    from pycocotools import mask

    polygons = _check_polygons(segmentation, height, width)
    return decode_rle(mask.merge(mask.frPyObjects(polygons, height, width))).astype(bool)


def decode_mask(rle: Mapping[str, Any], shape: tuple[int, int] | None = None) -> np.ndarray:
    """An RLE that is no larger than a picture may be: bool (H, W).

    Args:
        rle: as :func:`alphaclip.regions.rle.decode_rle` takes it
        shape: height and width that it has to have; None takes any
    """
    height, width = (int(side) for side in rle["size"])
    if height * width > MAX_PIXELS:
        raise AlphaClipError(f"has a mask of {height} x {width} pixels: the limit is {MAX_PIXELS}")
    if shape is not None and (height, width) != shape:
        raise AlphaClipError(f"has a mask of {height} x {width} for a picture of {shape}")
    return decode_rle(rle).astype(bool)


def _check_polygons(polygons: Any, height: int, width: int) -> list[list[float]]:
    """Polygons that can be filled; COCO's own code trusts them."""
    checked = [[float(value) for value in polygon] for polygon in polygons]
    limit = 4.0 * max(height, width)
    if not checked:
        raise AlphaClipError("has no polygon")
    for polygon in checked:
        if len(polygon) < 6 or len(polygon) % 2:
            raise AlphaClipError(f"has a polygon of {len(polygon)} numbers: expected x, y, x, y...")
        if not all(math.isfinite(value) and abs(value) <= limit for value in polygon):
            raise AlphaClipError("has a polygon with points far outside the picture")
    return checked
