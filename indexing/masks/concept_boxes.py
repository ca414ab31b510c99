"""Boxes of concepts that a detector finds in pictures, to be filled with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.detectors.boxes import MOST_BOXES, Grounder, GroundingSettings
from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.indexing.dataset.labels import Skipped, region_fields, regions_of
from alphaclip.indexing.dataset.overlaps import most_overlap
from alphaclip.indexing.masks.mask_fields import MaskReport
from alphaclip.indexing.masks.segmenters import Prompt
from alphaclip.indexing.word_detectors import (
    draws_masks,
    installed_detector,
    open_detector,
)
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

MOST_OVERLAP = 0.5
"""IoU with a label above which a box is of the same object, as in COCO's evaluation."""

LABELLED = "overlap with a label"
"""Why a box is left out, in :attr:`MaskReport.dropped`."""


@dataclass(frozen=True)
class ConceptFinder:
    """Finds concepts in the pictures of a dataset.

    Attributes:
        name: of the detector
        detector: finds boxes for words
        concepts: the words
        others: fields with labels that are not found again
        draws: whether the detector draws what it finds
    """

    name: str
    detector: Grounder
    concepts: Sequence[str]
    others: Sequence[str]
    draws: bool

    def prompts(self, sample: Any, report: MaskReport) -> list[Prompt] | None:
        """What is in the picture of a sample; None, with the reason in the report, if it cannot
        be read."""
        try:
            image = open_image(sample.filepath)
        except ImageError as error:
            report.skipped.append(Skipped(sample.filepath, "", str(error)))
            return None
        labelled = [region for name in self.others for _, region in regions_of(sample[name])]
        prompts = []
        found = self.detector.ground(image, self.concepts)
        for concept, boxes in zip(self.concepts, found, strict=True):
            for number, box in enumerate(boxes):
                region = box.outline or Region.from_box(box.box)
                if most_overlap(region, labelled) > MOST_OVERLAP:
                    report.drop(LABELLED)
                    continue
                prompts.append(Prompt(f"{concept} {number}", concept, region, "", box.score))
        return prompts


def open_finder(
    images: fo.SampleCollection,
    into: str,
    concepts: Sequence[str],
    detector: str | Path,
    least_score: float,
    device: str | None,
) -> ConceptFinder:
    """Loads a detector; see :func:`alphaclip.indexing.segment`.

    Raises:
        AlphaClipError: if a concept is no text, or the detector cannot be had
    """
    words = [] if isinstance(concepts, str) else list(concepts)
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise AlphaClipError(
            f"concepts is {concepts!r:.200}: expected a list of words, such as "
            "['excavator', 'hard hat']"
        )
    settings = GroundingSettings(least_score, MOST_BOXES)
    others = [name for name in region_fields(images) if name != into]
    name = installed_detector() if detector == "auto" else str(detector)
    loaded = open_detector(name, device, settings)
    return ConceptFinder(name, loaded, list(dict.fromkeys(words)), others, draws_masks(name))
