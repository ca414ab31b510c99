"""Boxes for words: what finds them, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom, relative to the picture."""


@dataclass(frozen=True)
class FoundBox:
    """Where a phrase is seen.

    Attributes:
        corners: inside the picture
        score: how sure, in [0, 1] of a detector; a cosine of `SamGrounder`
        outline: what of the box it is, where the detector draws what it finds
    """

    corners: Corners
    score: float
    outline: Region | None = field(default=None, compare=False)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height, as regions take it."""
        left, top, right, bottom = self.corners
        return left, top, right - left, bottom - top


class Grounder(Protocol):
    """What finds phrases in a picture.

    Attributes:
        name: of the model or models, and all that decides what is found
    """

    name: str

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        """Finds each phrase.

        Args:
            image: uint8 (H, W, 3)
            phrases: different ones

        Returns:
            for each phrase its boxes, the surest first; none where it is not seen
        """
        ...


MOST_BOXES = 100
"""Of a phrase in a picture, where all are looked for: as many as COCO's evaluation counts."""


@dataclass(frozen=True)
class GroundingSettings:
    """Which boxes of a detector are kept.

    Attributes:
        least_score: that is kept, in [0, 1]; Kosmos-2 keeps GLIP's boxes from 0.65 on
        most_boxes: of a phrase
        max_overlap: of two boxes of a phrase with a larger IoU the less sure one is dropped
    """

    least_score: float = 0.35
    most_boxes: int = 3
    max_overlap: float = 0.6

    def __post_init__(self) -> None:
        if not (0 <= self.least_score <= 1 and 0 <= self.max_overlap <= 1):
            raise AlphaClipError(f"{self}: expected least_score and max_overlap in [0, 1]")
        if self.most_boxes < 1:
            raise AlphaClipError(f"most_boxes is {self.most_boxes}: expected at least 1")


def keep_boxes(boxes: Sequence[FoundBox], settings: GroundingSettings) -> list[FoundBox]:
    """The boxes of one phrase that are kept, the surest first; clipped to the picture."""
    import torch
    from torchvision.ops import nms

    inside = []
    for box in boxes:
        left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in box.corners)
        if box.score >= settings.least_score and left < right and top < bottom:
            inside.append(replace(box, corners=(left, top, right, bottom)))
    # In float64, as the corners are: a picture is one unit wide.
    corners = torch.tensor([box.corners for box in inside], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([box.score for box in inside], dtype=torch.float64)
    order = nms(corners, scores, settings.max_overlap).tolist()
    return [inside[number] for number in order[: settings.most_boxes]]
