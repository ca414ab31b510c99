"""Foregrounds of class-labelled pictures: the best of each class, cut out, captioned, as pairs.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1, and its released code: of
each class those that are most like it (no threshold is published: those here are ours), each in a
square of 1.5 times the longer side of its box, white where the mask is not and beyond the picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language.describer import Describer
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.regions.rle import Rle
from alphaclip.training.datasets.files import inside
from alphaclip.training.datasets.masks import decode_mask
from alphaclip.training.pairs.captions.backgrounds import strip_background
from alphaclip.training.pairs.format.jobs import PartJob, Progress, make_parts, read_lines
from alphaclip.training.pairs.format.records import PairPicture, PairRegion
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.format.texts import label_texts
from alphaclip.training.pairs.format.writing import skipped_by

_LONGEST = 1024
"""Greatest side of a crop in pixels: far above what any encoder takes."""

_QUALITY = 95
"""Of the crops' JPEGs, with colours at full resolution, so that edges of foregrounds stay."""


@dataclass(frozen=True)
class CropSettings:
    """How foregrounds are cut out.

    Attributes:
        share: side of the square, as a multiple of the box's longer side, at least 1
        background: red, green, blue, 0 to 255
        masked_share: of the crops, that have the background painted; the others keep theirs.
            The paper's mix is not known.
        side: least pixels of the square's side: smaller ones are enlarged
    """

    share: float = 1.5
    background: tuple[int, int, int] = (255, 255, 255)
    masked_share: float = 0.5
    side: int = 224

    def __post_init__(self) -> None:
        if not (1 <= self.share <= 10 and 0 <= self.masked_share <= 1):
            raise AlphaClipError(f"{self}: expected share 1 to 10 and masked_share 0 to 1")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise AlphaClipError(f"background is {self.background}: expected three of 0 to 255")
        if not 1 <= self.side <= _LONGEST:
            raise AlphaClipError(f"side is {self.side}: expected 1 to {_LONGEST}")


@dataclass(frozen=True)
class Crop:
    """A foreground in a square.

    Attributes:
        image: uint8 (S, S, 3)
        mask: bool (S, S)
    """

    image: np.ndarray
    mask: np.ndarray

    @property
    def region(self) -> Region:
        """The foreground."""
        return Region.from_mask(self.mask)


def cut_crop(image: np.ndarray, mask: np.ndarray, is_masked: bool, settings: CropSettings) -> Crop:
    """Cuts a foreground out.

    Args:
        image: uint8 (H, W, 3)
        mask: bool (H, W), not empty
        is_masked: whether the rest is painted over
        settings: the square and its background

    Raises:
        AlphaClipError: if the mask is empty or of another shape
    """
    if mask.shape != image.shape[:2] or not mask.any():
        raise AlphaClipError(f"mask of {mask.shape} is empty or not of its picture")
    left, top, right, bottom = Region.from_mask(mask).bounds(*mask.shape)
    side = max(1, math.ceil(settings.share * max(right - left, bottom - top)))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    ground = np.array(settings.background, np.uint8)
    painted = np.where(mask[..., None], image, ground) if is_masked else image
    square = np.broadcast_to(ground, (side, side, 3)).copy()
    inside = np.zeros((side, side), bool)
    to, source = _windows(x, y, side, mask.shape)
    square[to], inside[to] = painted[source], mask[source]
    return _scaled(square, inside, settings.side)


def encode_crop(crop: Crop) -> bytes:
    """A crop's picture as JPEG; the same crop gives the same bytes."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(crop.image).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


Window = tuple[slice, slice]


def _windows(x: int, y: int, side: int, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Where the square and the picture overlap: in the square, and in the picture."""
    top, bottom = max(0, y), min(shape[0], y + side)
    left, right = max(0, x), min(shape[1], x + side)
    return (
        (slice(top - y, bottom - y), slice(left - x, right - x)),
        (slice(top, bottom), slice(left, right)),
    )


def _scaled(image: np.ndarray, mask: np.ndarray, least: int) -> Crop:
    from PIL import Image

    side = min(_LONGEST, max(least, len(image)))
    if side == len(image):
        return Crop(image, mask)
    how = Image.Resampling.BICUBIC
    scaled = Image.fromarray(image).resize((side, side), how)
    levels = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(
        (side, side), Image.Resampling.BILINEAR
    )
    return Crop(np.asarray(scaled), np.asarray(levels) > 127)


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
        Foreground(f"{key:08d}", **best[number], is_masked=bool(masked[number]))
        for key, number in enumerate(rng.permutation(len(best)).tolist())
    ]


def caption_foregrounds(
    chosen: Sequence[Foreground],
    root: Path,
    captioner: Describer,
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

    def make(part: Sequence[Foreground]) -> tuple[bytes, Tally]:
        skipped, images = Tally(), {}
        for foreground in part:
            try:
                image = open_image(inside(root, foreground.picture))
                crop = cut_crop(image, decode_mask(foreground.rle), True, crops)
                images[foreground.key] = crop.image
            except AlphaClipError as error:
                skipped.add(skipped_by(error))
        items = ((image, [Region.whole_image()]) for image in images.values())
        captions = zip(images, captioner.describe_many(items), strict=True)
        lines = [json.dumps({"key": key, "caption": its.text}) + "\n" for key, (its,) in captions]
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

    def __call__(self, foreground: Foreground) -> PairPicture:
        """The crop, its foreground as its only region.

        Raises:
            ImageError: if the picture cannot be opened
        """
        key, name, path = foreground.key, foreground.name, foreground.picture
        mask = decode_mask(foreground.rle)
        image = open_image(inside(self._root, path))
        crop = cut_crop(image, mask, foreground.is_masked, self._crops)
        caption = strip_background(self._captions.get(key, ""))
        texts = (f"{caption}, probably {name}",) if caption else label_texts(name)
        scores = {"mask_quality": foreground.quality, "clip": foreground.clip}
        region = PairRegion(crop.region, texts, name, scores=scores)
        return PairPicture(key, encode_crop(crop), "jpg", (region,), texts[0], path)


def _best(rows: Sequence[dict[str, Any]], group: str, most: int) -> list[dict[str, Any]]:
    """The rows of highest ``clip`` in each group; ties keep their order."""
    counts: dict[Any, int] = {}
    best = []
    for row in sorted(rows, key=lambda row: -row["clip"]):
        counts[row[group]] = counts.get(row[group], 0) + 1
        if counts[row[group]] <= most:
            best.append(row)
    return best
