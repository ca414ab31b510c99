"""GRIT's rows to pictures with masked regions: spans and boxes checked, one mask for each box.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1 and its released code: the
text of a region is what its span of the caption says, its mask is SAM's for its box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from alphaclip.detectors.boxes import Corners
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.sam.sam import SamModel, masks_for_boxes
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import PairPicture, PairRegion, Skipped
from alphaclip.training.pairs.sources.grit_rows import GritEntry
from alphaclip.training.pairs.sources.img2dataset import PictureFolder

Phrases = Literal["both", "expressions", "chunks"]

_TOLERANCE = 0.01
"""By which a box may reach beyond its picture, as detectors' do; it is then clipped."""


@dataclass(frozen=True)
class GritSettings:
    """Which phrases become pairs.

    Attributes:
        phrases: referring expressions (as the paper), noun chunks, or both; of both, those of one
            box are texts of one region
        least_score: of a box, in [0, 1]; GRIT has none below 0.65, and what `SamGrounder` found
            has a cosine
        dataset: what pictures without an address have as their source
    """

    phrases: Phrases = "both"
    least_score: float = 0.0
    dataset: str = "GRIT"

    def __post_init__(self) -> None:
        if self.phrases not in get_args(Phrases):
            raise AlphaClipError(f"phrases is {self.phrases!r}: expected {get_args(Phrases)}")
        if not 0 <= self.least_score <= 1:
            raise AlphaClipError(f"least_score is {self.least_score}: expected 0 to 1")


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase and its box.

    Attributes:
        text: what the caption says there
        corners: left, top, right, bottom, relative, inside the picture
        score: of the box
    """

    text: str
    corners: Corners
    score: float


class GritMaker:
    """Makes pictures with regions from GRIT's rows, for `write_pairs`.

    Args:
        pictures: the folder that they are in
        sam: finds the masks; None leaves boxes as they are
        settings: which phrases become pairs
        encoder (None): scores each region with its first text, as ``clip``
    """

    def __init__(
        self,
        pictures: PictureFolder,
        sam: SamModel | None,
        settings: GritSettings | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self._pictures = pictures
        self._sam = sam
        self._settings = settings or GritSettings()
        self._encoder = encoder

    def __call__(self, entry: GritEntry) -> PairPicture | Skipped:
        """The picture of a row with its regions, or why there is none."""
        if entry.problem:
            return Skipped("JSON damaged", entry.problem)
        phrases, left_out = read_phrases(entry.content, self._settings)
        if not phrases:
            reasons = sorted({skipped.reason for skipped in left_out})
            return Skipped("no phrase kept", f"{entry.key}: {', '.join(reasons) or 'it has none'}")
        file = self._pictures.open(entry.location)
        if isinstance(file, Skipped):
            return file
        image = decode_picture(file.content, entry.location)
        regions, lost = self._regions(image, phrases)
        if self._encoder is not None and regions:
            regions = score_regions(self._encoder, image, regions)
        left_out = [Skipped(s.reason, f"{entry.key}: {s.detail}") for s in (*left_out, *lost)]
        return PairPicture(
            entry.key,
            file.content,
            file.suffix,
            tuple(regions),
            str(entry.content["caption"]),
            entry.url or self._settings.dataset,
            entry.licence,
            tuple(left_out),
        )

    def _regions(
        self, image: np.ndarray, phrases: Sequence[GroundedPhrase]
    ) -> tuple[list[PairRegion], list[Skipped]]:
        """A region for each box, with all its phrases; SAM encodes the picture once."""
        by_box: dict[Corners, list[GroundedPhrase]] = {}
        for phrase in phrases:
            by_box.setdefault(phrase.corners, []).append(phrase)
        boxes = [(left, top, right - left, bottom - top) for left, top, right, bottom in by_box]
        masks = None if self._sam is None else masks_for_boxes(self._sam, image, boxes)
        regions, lost = [], []
        for number, (box, said) in enumerate(zip(boxes, by_box.values(), strict=True)):
            region, scores = Region.from_box(box), {}
            if masks is not None:
                mask = masks[number]
                if not mask.mask.any():
                    lost.append(Skipped("mask empty", "SAM finds nothing in the box"))
                    continue
                region = Region.from_mask(mask.mask, box=mask.relative_box)
                scores = {"mask_quality": mask.quality}
            texts = tuple(dict.fromkeys(phrase.text for phrase in said))
            scores["grounding"] = max(phrase.score for phrase in said)
            regions.append(PairRegion(region, texts, scores=scores, id=str(number)))
        return regions, lost


def score_regions(
    encoder: Encoder, image: np.ndarray, regions: Sequence[PairRegion]
) -> list[PairRegion]:
    """Regions with the cosine to their first text among their scores, as ``clip``."""
    vectors = encoder.encode_regions(image, [region.region for region in regions])
    words = encoder.encode_text([region.texts[0] for region in regions])
    return [
        replace(region, scores={**region.scores, "clip": float(cosine)})
        for region, cosine in zip(regions, (vectors * words).sum(axis=1), strict=True)
    ]


def read_phrases(
    content: Mapping[str, Any], settings: GritSettings
) -> tuple[list[GroundedPhrase], list[Skipped]]:
    """The phrases of a row of GRIT, expressions first.

    Args:
        content: has ``caption``, and ``noun_chunks`` and ``ref_exps``: lists of first and last
            character (the last exclusive), left, top, right, bottom (relative), and score

    Returns:
        those that are kept, and why others are not
    """
    caption = content.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        return [], [Skipped("row without a caption", "")]
    phrases: list[GroundedPhrase] = []
    left_out: list[Skipped] = []
    names = {"both": ("ref_exps", "noun_chunks"), "expressions": ("ref_exps",)}
    for name in names.get(settings.phrases, ("noun_chunks",)):
        rows = content.get(name)
        for values in rows if isinstance(rows, (list, tuple)) else ():
            phrase = _phrase(values, caption, settings.least_score)
            if isinstance(phrase, Skipped):
                left_out.append(phrase)
            else:
                phrases.append(phrase)
    return list(dict.fromkeys(phrases)), left_out


def _phrase(values: Any, caption: str, least_score: float) -> GroundedPhrase | Skipped:
    try:
        start, end, left, top, right, bottom, score = (float(value) for value in values)
    except MALFORMED:
        return Skipped("phrase of another form", f"{values!r:.80}: expected seven numbers")
    if not 0 <= start < end <= len(caption) or start != int(start) or end != int(end):
        detail = f"{start:g} to {end:g}, the caption has {len(caption)} characters"
        return Skipped("span does not fit its caption", detail)
    text = " ".join(caption[int(start) : int(end)].split())
    if not any(char.isalnum() for char in text):
        return Skipped("span without a word", f"{text[:40]!r}")
    corners = _inside(left, top, right, bottom)
    if corners is None:
        return Skipped("box outside its picture", f"{[left, top, right, bottom]}")
    if not score >= least_score:
        return Skipped("box not sure enough", f"{score:.3f}")
    return GroundedPhrase(text, corners, score)


def _inside(left: float, top: float, right: float, bottom: float) -> Corners | None:
    """A box clipped to its picture; None if it has no area, or reaches far beyond."""
    sides = (left, top, right, bottom)
    if not all(map(math.isfinite, sides)):
        return None
    if min(sides) < -_TOLERANCE or max(sides) > 1 + _TOLERANCE:
        return None
    left, top, right, bottom = (min(1.0, max(0.0, side)) for side in sides)
    return (left, top, right, bottom) if left < right and top < bottom else None
