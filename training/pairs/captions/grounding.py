"""Boxes for the phrases of a caption: by SAM's masks and an encoder, or a detector of phrases.

See :mod:`alphaclip.training.pairs.captions.phrase_detectors` for the detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, SamMask, judge, mask_iou
from alphaclip.sam.sam import SamModel, automatic_masks

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom, relative to the picture."""


@dataclass(frozen=True)
class FoundBox:
    """Where a phrase is seen.

    Attributes:
        corners: inside the picture
        score: how sure, in [0, 1] of a detector; a cosine of `SamGrounder`
    """

    corners: Corners
    score: float


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


@dataclass(frozen=True)
class MatchSettings:
    """Which of SAM's masks a phrase is taken to mean.

    Attributes:
        least_cosine: between the phrase and its mask
        least_margin: by which its cosine is above that of the next mask that is somewhere else
        elsewhere: greatest IoU with the best mask that is somewhere else, in [0, 1]
        points_per_side: of SAM's grid, 1 to 40
        limits: which of SAM's masks there are to choose from
        templates: that phrases are put into; None leaves them as they are
    """

    least_cosine: float = 0.2
    least_margin: float = 0.01
    elsewhere: float = 0.5
    points_per_side: int = 32
    limits: MaskLimits = field(default_factory=lambda: AUTOMATIC_LIMITS)
    templates: tuple[str, ...] | None = ("a photo of {}.",)


class SamGrounder:
    """Matches SAM's masks of everything with phrases, by an encoder's cosines.

    Args:
        sam: the SAM
        encoder: of regions and text
        settings: see :class:`MatchSettings`
    """

    def __init__(
        self, sam: SamModel, encoder: Encoder, settings: MatchSettings | None = None
    ) -> None:
        self.name = f"{sam.name} with {encoder.name}, {settings or MatchSettings()}"
        self._sam = sam
        self._encoder = encoder
        self._settings = settings or MatchSettings()

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        """See :meth:`Grounder.ground`; a phrase has one box at most."""
        if not phrases:
            return []
        limits = self._settings.limits
        every = automatic_masks(self._sam, image, limits, self._settings.points_per_side)
        verdicts = judge(every, limits)
        masks = [mask for mask, verdict in zip(every, verdicts, strict=True) if verdict == "kept"]
        if not masks:
            return [[] for _ in phrases]
        regions = [Region.from_mask(mask.mask, box=mask.relative_box) for mask in masks]
        vectors = self._encoder.encode_regions(image, regions)
        words = self._encoder.encode_text(list(phrases), self._settings.templates)
        return [self._match(masks, cosines) for cosines in words @ vectors.T]

    def _match(self, masks: Sequence[SamMask], cosines: np.ndarray) -> list[FoundBox]:
        best = int(cosines.argmax())
        rivals = [
            float(cosine)
            for mask, cosine in zip(masks, cosines, strict=True)
            if mask_iou(mask, masks[best]) <= self._settings.elsewhere
        ]
        score, next_best = float(cosines[best]), max(rivals, default=-1.0)
        if score < self._settings.least_cosine or score - next_best < self._settings.least_margin:
            return []
        x, y, w, h = masks[best].relative_box
        return [FoundBox((x, y, x + w, y + h), score)]


def keep_boxes(boxes: Sequence[FoundBox], settings: GroundingSettings) -> list[FoundBox]:
    """The boxes of one phrase that are kept, the surest first; clipped to the picture."""
    import torch
    from torchvision.ops import nms

    inside = []
    for box in boxes:
        left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in box.corners)
        if box.score >= settings.least_score and left < right and top < bottom:
            inside.append(FoundBox((left, top, right, bottom), float(box.score)))
    # In float64, as the corners are: a picture is one unit wide.
    corners = torch.tensor([box.corners for box in inside], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([box.score for box in inside], dtype=torch.float64)
    order = nms(corners, scores, settings.max_overlap).tolist()
    return [inside[number] for number in order[: settings.most_boxes]]
