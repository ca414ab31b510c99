"""COCO's masks to regions that hold only what is inside their bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.regions.polygons import LEAST_POINTS, check_outline, read_rings
from alphaclip.regions.region import Region, tight_box
from alphaclip.regions.rle import decode_rle

_FARTHEST = 4.0
"""In picture sides. COCO's own code walks along an outline outside of the picture, too."""


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
        AlphaClipError: if it is malformed, is for another size, or has an outline longer than any
    """
    if isinstance(segmentation, Mapping):
        return decode_mask(segmentation, (height, width))
    from pycocotools import mask

    polygons = _check_polygons(segmentation, height, width)
    return decode_rle(mask.merge(mask.frPyObjects(polygons, height, width))).astype(bool)


def decode_mask(rle: Mapping[str, Any], shape: tuple[int, int] | None = None) -> np.ndarray:
    """An RLE as bool (H, W).

    Args:
        rle: as :func:`alphaclip.regions.rle.decode_rle` takes it
        shape: height and width that it has to have; None takes any
    """
    mask = decode_rle(rle).astype(bool)
    if shape is not None and mask.shape != shape:
        height, width = mask.shape
        raise AlphaClipError(f"has a mask of {height} x {width} for a picture of {shape}")
    return mask


def _check_polygons(polygons: Any, height: int, width: int) -> list[list[float]]:
    """Polygons that can be filled; COCO's own code trusts them."""
    checked = [[float(value) for value in polygon] for polygon in polygons]
    if not checked:
        raise AlphaClipError(f"has no polygon of at least {LEAST_POINTS} points")
    for polygon in checked:
        if len(polygon) < 2 * LEAST_POINTS or len(polygon) % 2:
            raise AlphaClipError(f"has a polygon of {len(polygon)} numbers: expected x, y, x, y...")
    rings = read_rings([np.reshape(polygon, (-1, 2)) / (width, height) for polygon in checked])
    check_outline(rings)
    if max(np.abs(ring).max() for ring in rings) > _FARTHEST:
        raise AlphaClipError("has a polygon with points far outside the picture")
    return checked
