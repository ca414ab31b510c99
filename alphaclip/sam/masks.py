"""The masks that Segment Anything (SAM) gives, and which of them to keep."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alphaclip.arguments import SHARE, check_fields
from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import PixelBox, Region, tight_box

Verdict = Literal["kept", "empty", "quality", "area", "duplicate"]


@dataclass(frozen=True)
class MaskLimits:
    """Which masks are kept.

    Attributes:
        min_quality: the lowest IoU that SAM predicts for its mask, in [0, 1]
        min_stability: of automatic masks, the lowest IoU between the mask and itself at a stricter
            and a looser threshold, in [0, 1]
        min_area: the smallest share of the picture
        max_area: the largest share of the picture
        max_overlap: of two masks with a larger IoU the one of lower quality is dropped
    """

    min_quality: float = 0.88
    min_stability: float = 0.95
    min_area: float = 0.0005
    max_area: float = 0.9
    max_overlap: float = 0.7

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(vars(self), SHARE))
        if self.min_area > self.max_area:
            raise AlphaClipError(
                f"min_area is {self.min_area}, above max_area {self.max_area}: no mask would do"
            )


AUTOMATIC_LIMITS = MaskLimits()
"""Those of automatic masks: SAM's own for quality and stability."""

PROMPTED_LIMITS = MaskLimits(0.5, 0.0, 0.0, 1.0, 0.95)
"""Those of masks for boxes: somebody drew the box, so nearly every mask is kept."""


@dataclass(frozen=True, eq=False)
class SamMask:
    """A mask in a picture.

    Attributes:
        box: what the mask fills, in pixels of ``size``; without area if nothing was found
        mask: bool (bottom - top, right - left)
        size: height and width that the pixels refer to, see :mod:`alphaclip.sam.sam`
        quality: the IoU that SAM predicts for it, clipped to [0, 1]
    """

    box: PixelBox
    mask: np.ndarray
    size: tuple[int, int]
    quality: float

    @property
    def area(self) -> float:
        """The share of the picture that it covers."""
        return float(self.mask.sum() / (self.size[0] * self.size[1]))

    @property
    def relative_box(self) -> list[float]:
        """``[x, y, w, h]`` as FiftyOne has it; the mask is stretched over this box."""
        left, top, right, bottom = self.box
        height, width = self.size
        return [left / width, top / height, (right - left) / width, (bottom - top) / height]

    def full(self, height: int, width: int) -> np.ndarray:
        """The mask in the whole picture: bool (height, width)."""
        if not self.mask.size:
            return np.zeros((height, width), bool)
        region = Region.from_mask(self.mask, box=self.relative_box)
        return region.alpha_map(height, width) > 127


def judge(
    masks: Sequence[SamMask], limits: MaskLimits, groups: Sequence[Hashable] | None = None
) -> list[Verdict]:
    """Says of each mask of one picture whether it is kept, and else why not.

    Args:
        masks: all of one ``size``
        limits: which masks are kept
        groups (None): of each mask; duplicates are those of one group; None is one group

    Returns:
        ``kept``, ``empty``, ``quality``, ``area`` or ``duplicate`` for each mask, in order
    """
    verdicts: list[Verdict] = []
    for mask in masks:
        if not mask.mask.any():
            verdicts.append("empty")
        elif mask.quality < limits.min_quality:
            verdicts.append("quality")
        else:
            fits = limits.min_area <= mask.area <= limits.max_area
            verdicts.append("kept" if fits else "area")
    chosen: list[int] = []
    for i in sorted(range(len(masks)), key=lambda i: -masks[i].quality):
        if verdicts[i] != "kept":
            continue
        rivals = [j for j in chosen if groups is None or groups[i] == groups[j]]
        if limits.max_overlap < 1 and any(
            mask_iou(masks[i], masks[j]) > limits.max_overlap for j in rivals
        ):
            verdicts[i] = "duplicate"
        else:
            chosen.append(i)
    return verdicts


def mask_iou(one: SamMask, other: SamMask) -> float:
    """Intersection over union of two masks of one picture."""
    left, top = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    right, bottom = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if left >= right or top >= bottom:
        return 0.0
    window = (left, top, right, bottom)
    shared = int((_cut(one, window) & _cut(other, window)).sum())
    return shared / (int(one.mask.sum()) + int(other.mask.sum()) - shared)


def crop_mask(full: np.ndarray, quality: float) -> SamMask:
    """A mask of the whole picture, reduced to the box that it fills.

    Args:
        full: bool (H, W)
        quality: the IoU that SAM predicts; clipped to [0, 1], which it may leave
    """
    quality = min(1.0, max(0.0, quality))
    box = tight_box(full)
    if box is None:
        return SamMask((0, 0, 0, 0), np.zeros((0, 0), bool), full.shape, quality)
    return SamMask(box, full[box[1] : box[3], box[0] : box[2]].copy(), full.shape, quality)


def _cut(mask: SamMask, window: PixelBox) -> np.ndarray:
    left, top = mask.box[:2]
    return mask.mask[window[1] - top : window[3] - top, window[0] - left : window[2] - left]
