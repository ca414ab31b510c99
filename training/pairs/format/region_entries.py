"""Regions as a shard keeps them: COCO RLEs of the picture's size, boxes, or the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaclip.errors import EmptyRegionError, RegionError
from alphaclip.regions.region import Region
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.masks import decode_mask, masked_region

INSIDE = 128
"""Alpha from which on a pixel is in the mask that is kept."""


def region_to_entry(region: Region, shape: tuple[int, int]) -> dict[str, Any]:
    """What is kept of a region; boxes are clipped to the picture.

    Args:
        region: of the picture
        shape: height and width of the picture

    Returns:
        ``{"rle": ...}``, ``{"box": ...}`` or ``{"whole": True}``

    Raises:
        RegionError: if a mask has another shape than the picture
        EmptyRegionError: if nothing of it is inside the picture, or nowhere above one half
    """
    if region.is_whole_image:
        return {"whole": True}
    if is_box(region):
        return {"box": list(_clip(region, shape))}
    mask = region.alpha_map(*shape) >= INSIDE
    if not mask.any():
        raise EmptyRegionError("mask has no pixel that is at least half inside the region")
    return {"rle": encode_rle(mask)}


def region_from_entry(entry: Mapping[str, Any], shape: tuple[int, int]) -> Region:
    """Reads what :func:`region_to_entry` returned.

    Raises:
        RegionError: if there is no region, or it does not fit the picture
    """
    if "rle" in entry:
        return masked_region(decode_mask(entry["rle"], shape))
    if "box" in entry:
        return Region.from_box(entry["box"])
    if entry.get("whole") is True:
        return Region.whole_image()
    raise RegionError("has no rle, no box, and is not the whole picture")


def is_box(region: Region) -> bool:
    """Whether a region is a box alone."""
    return region.box is not None and region.mask is None


def _clip(region: Region, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    if region.box is None:
        raise RegionError("region has no box")
    region.bounds(*shape)
    x, y, w, h = region.box
    left, top, right, bottom = max(0.0, x), max(0.0, y), min(1.0, x + w), min(1.0, y + h)
    if (left, top) == (x, y) and x + w <= 1 and y + h <= 1:
        return region.box
    return left, top, right - left, bottom - top
