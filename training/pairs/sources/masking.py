"""Regions for boxes: SAM's masks, the picture encoded once, or the boxes as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphaclip.regions.region import Region
from alphaclip.sam.masks import SamMask
from alphaclip.sam.sam import SamModel, masks_for_boxes
from alphaclip.training.pairs.captions.grounding import Corners
from alphaclip.training.pairs.format.records import Skipped

Masked = tuple[Region, dict[str, float]]
"""A region and its scores: ``mask_quality``, of a mask."""


def regions_for_boxes(
    sam: SamModel | None, image: np.ndarray, boxes: Sequence[Corners]
) -> list[Masked | Skipped]:
    """The region of what is in each box.

    Args:
        sam: finds the masks; None leaves boxes as they are
        image: uint8 (H, W, 3)
        boxes: with an area inside the picture

    Returns:
        for each box, in order, its region and scores, or why there is none
    """
    relative = [(left, top, right - left, bottom - top) for left, top, right, bottom in boxes]
    if sam is None:
        return [(Region.from_box(box), {}) for box in relative]
    return [_masked(mask) for mask in masks_for_boxes(sam, image, relative)]


def _masked(mask: SamMask) -> Masked | Skipped:
    if not mask.mask.any():
        return Skipped("mask empty", "SAM finds nothing in the box")
    region = Region.from_mask(mask.mask, box=mask.relative_box)
    return region, {"mask_quality": mask.quality}
