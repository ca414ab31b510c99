"""Foregrounds of class-labelled pictures, and how well each shows its picture's class.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1, the pipeline of
MaskImageNet: SAM's masks of everything (16 points a side), each cut out on white and compared with
its class.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.regions.images import open_image
from alphaclip.regions.rle import encode_rle
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, judge
from alphaclip.sam.sam import SamModel, automatic_masks
from alphaclip.training.datasets.files import inside
from alphaclip.training.pairs.classes.class_crops import CropSettings, cut_crop
from alphaclip.training.pairs.classes.class_lists import ClassPicture
from alphaclip.training.pairs.format.parts import Made, PartJob, PartsReport, make_parts
from alphaclip.training.pairs.format.records import Skipped
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.format.writing import Progress, skipped_by


@dataclass(frozen=True)
class ScoreSettings:
    """How foregrounds are found and scored.

    Attributes:
        points_per_side: of SAM's grid, 1 to 40; the paper's is 16
        limits: which of SAM's masks are scored
        templates: that classes are put into
        crops: how foregrounds are cut out; they are scored on their background's colour
    """

    points_per_side: int = 16
    limits: MaskLimits = field(default_factory=lambda: AUTOMATIC_LIMITS)
    templates: tuple[str, ...] = PHOTO
    crops: CropSettings = field(default_factory=CropSettings)


class ClassScorer:
    """Finds the foregrounds of pictures and compares each with its picture's class.

    Args:
        root: folder of the pictures
        sam: finds the masks
        encoder: of regions and text
        settings: see :class:`ScoreSettings`
    """

    def __init__(
        self, root: Path, sam: SamModel, encoder: Encoder, settings: ScoreSettings | None = None
    ) -> None:
        self.settings = settings or ScoreSettings()
        self.root = root
        self._sam = sam
        self._encoder = encoder
        self._class_vector = lru_cache(maxsize=None)(self._encode_class)

    def score_all(
        self,
        pictures: Sequence[ClassPicture],
        folder: Path,
        per_part: int = 100,
        progress: Progress | None = None,
    ) -> PartsReport:
        """Writes ``scores-000000.jsonl`` and so on; run again, it goes on.

        Args:
            pictures: in the root
            folder: of the files
            per_part: pictures of a file
            progress: of pictures

        Raises:
            PairError: if the folder holds scores of other pictures, models or settings
        """
        settings = {
            "sam": self._sam.name,
            "encoder": self._encoder.fingerprint,
            "settings": asdict(self.settings),
        }
        job = PartJob(folder, "scores", "jsonl", per_part, settings)
        return make_parts(pictures, self._score_part, job, progress)

    def score(self, picture: ClassPicture) -> list[dict[str, Any]]:
        """The foregrounds of a picture: ``picture``, ``name``, ``rle``, ``quality``, ``clip``.

        Raises:
            ImageError: if it cannot be opened
        """
        image = open_image(inside(self.root, picture.path))
        limits = self.settings.limits
        found = automatic_masks(self._sam, image, limits, self.settings.points_per_side)
        kept = [mask for mask, v in zip(found, judge(found, limits), strict=True) if v == "kept"]
        masks = [mask.full(*image.shape[:2]) for mask in kept]
        crops = [cut_crop(image, mask, True, self.settings.crops) for mask in masks]
        vectors = self._encoder.encode_many((crop.image, [crop.region]) for crop in crops)
        return [
            {
                "picture": picture.path,
                "name": picture.name,
                "rle": encode_rle(mask),
                "quality": round(sam_mask.quality, 6),
                "clip": round(float(vector[0] @ self._class_vector(picture.name)), 6),
            }
            for sam_mask, mask, vector in zip(kept, masks, vectors, strict=True)
        ]

    def _score_part(self, pictures: Sequence[ClassPicture]) -> Made:
        lines: list[str] = []
        skipped = Tally()
        for picture in pictures:
            try:
                rows = self.score(picture)
            except AlphaClipError as error:
                skipped.add(skipped_by(error))
                continue
            if not rows:
                skipped.add(Skipped("no foreground found", picture.path))
            lines += [json.dumps(row, separators=(",", ":")) + "\n" for row in rows]
        return "".join(lines).encode(), skipped

    def _encode_class(self, name: str) -> np.ndarray:
        row: np.ndarray = self._encoder.encode_text([name], self.settings.templates)[0]
        return row
