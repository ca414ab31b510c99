"""The best foregrounds of each class: chosen, captioned, and made to pairs.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1: of each class those that
are most like it. No threshold is published: those here are ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.images import open_image
from alphaclip.regions.rle import Rle
from alphaclip.training.datasets.files import inside
from alphaclip.training.datasets.masks import decode_mask
from alphaclip.training.pairs.captions.captioners import Captioner, strip_background
from alphaclip.training.pairs.classes.class_crops import (
    CropSettings,
    cut_crop,
    encode_crop,
)
from alphaclip.training.pairs.format.parts import Made, PartJob, make_parts, read_lines
from alphaclip.training.pairs.format.records import PairPicture, PairRegion
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.format.texts import label_texts
from alphaclip.training.pairs.format.writing import Progress, skipped_by


@dataclass(frozen=True)
class ChoiceSettings:
    """Which foregrounds are kept.

    Attributes:
        per_class: of each class, those of the highest scores
        per_picture: of each picture
        least_clip: least score, a cosine
        seed: of the order, and of which have their background painted
    """

    per_class: int = 500
    per_picture: int = 1
    least_clip: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1 or self.per_picture < 1:
            raise AlphaClipError("per_class and per_picture have to be at least 1")


@dataclass(frozen=True)
class Foreground:
    """A foreground that was chosen.

    Attributes:
        key: of the picture in the set
        picture: its path in the folder
        name: of its class
        rle: its mask in the picture
        quality: of the mask
        clip: cosine with its class
        is_masked: whether its background is painted over
    """

    key: str
    picture: str
    name: str
    rle: Rle
    quality: float
    clip: float
    is_masked: bool


def choose_foregrounds(
    paths: Sequence[Path], settings: ChoiceSettings, masked_share: float
) -> list[Foreground]:
    """Chooses the best foregrounds of each class.

    Args:
        paths: of the files of scores
        settings: how many, and how good
        masked_share: of which the background is painted over

    Returns:
        in an order by chance; the same files and settings give the same

    Raises:
        PairError: if a file is damaged
    """
    rows = [row for path in paths for row in read_lines(path)]
    good = [row for row in rows if row["clip"] >= settings.least_clip]
    best = _best(_best(good, "picture", settings.per_picture), "name", settings.per_class)
    rng = np.random.default_rng(settings.seed)
    masked = rng.random(len(best)) < masked_share
    return [
        Foreground(f"{place:08d}", **best[number], is_masked=bool(masked[number]))
        for place, number in enumerate(rng.permutation(len(best)).tolist())
    ]


def caption_foregrounds(
    chosen: Sequence[Foreground],
    root: Path,
    captioner: Captioner,
    job: PartJob,
    crops: CropSettings,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Captions of foregrounds on the plain background.

    Args:
        chosen: what to caption
        root: folder of the pictures
        captioner: writes the captions
        job: where they are kept; run again, it goes on
        crops: how foregrounds are cut out
        progress: of foregrounds

    Returns:
        by the foreground's key; none for pictures that cannot be opened
    """

    def make(part: Sequence[Foreground]) -> Made:
        skipped, images = Tally(), {}
        for found in part:
            try:
                image = open_image(inside(root, found.picture))
                crop = cut_crop(image, decode_mask(found.rle), True, crops)
                images[found.key] = crop.image
            except AlphaClipError as error:
                skipped.add(skipped_by(error))
        captions = zip(images, captioner(list(images.values())), strict=True)
        lines = [json.dumps({"key": key, "caption": caption}) + "\n" for key, caption in captions]
        return "".join(lines).encode(), skipped

    report = make_parts(chosen, make, job, progress)
    rows = (row for path in report.paths for row in read_lines(path))
    return {str(row["key"]): str(row["caption"]) for row in rows}


class ForegroundMaker:
    """Makes a picture of a foreground, for `write_pairs`.

    Args:
        root: folder of the pictures
        captions: by key; a foreground without one has its class as text
        crops: how foregrounds are cut out
    """

    def __init__(self, root: Path, captions: Mapping[str, str], crops: CropSettings) -> None:
        self._root = root
        self._captions = captions
        self._crops = crops

    def __call__(self, found: Foreground) -> PairPicture:
        """The crop, its foreground as its only region.

        Raises:
            ImageError: if the picture cannot be opened
        """
        image = open_image(inside(self._root, found.picture))
        crop = cut_crop(image, decode_mask(found.rle), found.is_masked, self._crops)
        caption = strip_background(self._captions.get(found.key, ""))
        texts = (f"{caption}, probably {found.name}",) if caption else label_texts(found.name)
        scores = {"mask_quality": found.quality, "clip": found.clip}
        region = PairRegion(crop.region, texts, found.name, scores=scores)
        return PairPicture(found.key, encode_crop(crop), "jpg", (region,), texts[0], found.picture)


def _best(rows: Sequence[dict[str, Any]], group: str, most: int) -> list[dict[str, Any]]:
    """The rows of highest ``clip`` in each group; ties keep their order."""
    counts: dict[Any, int] = {}
    best = []
    for row in sorted(rows, key=lambda row: -row["clip"]):
        counts[row[group]] = counts.get(row[group], 0) + 1
        if counts[row[group]] <= most:
            best.append(row)
    return best
