"""Boxes for the phrases of a caption, by SAM's masks and an encoder.

See :mod:`alphaclip.detectors` for detectors of phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from alphaclip.detectors.boxes import FoundBox
from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.region import Region
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, SamMask, judge, mask_iou
from alphaclip.sam.sam import SamModel, automatic_masks


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
        """See :meth:`alphaclip.detectors.boxes.Grounder.ground`; a phrase has one box at most."""
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
