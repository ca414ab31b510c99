"""Which pictures there are of which class, their foregrounds, and how like their class these are.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1, the pipeline of
MaskImageNet: SAM's masks of everything (16 points a side), each cut out on white and compared with
its class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json
from alphaclip.regions.images import open_image
from alphaclip.regions.rle import encode_rle
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, judge
from alphaclip.sam.sam import SamModel, automatic_masks
from alphaclip.training.datasets.files import inside
from alphaclip.training.pairs.captions.captions_file import Columns, read_captions
from alphaclip.training.pairs.classes.foregrounds import CropSettings, cut_crop
from alphaclip.training.pairs.format.jobs import PartJob, PartsReport, Progress, make_parts
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.format.writing import skipped_by

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

_CLASSES = ("class", "label", "category")


@dataclass(frozen=True, slots=True)
class ClassPicture:
    """A picture and what it is labelled as.

    Attributes:
        path: in the folder, with forward slashes
        name: of the class, in words
    """

    path: str
    name: str


def read_classes(
    path: Path, names: Mapping[str, str] | None = None, column: str | None = None
) -> tuple[Path, list[ClassPicture], list[Skipped]]:
    """The pictures of a folder that has a folder for each class, or of a table.

    Args:
        path: the folder; or a CSV, TSV or parquet file with a column of paths, which are relative
            to its own folder, and one called ``class``, ``label`` or ``category``
        names (None): the words for a class, where its folder or label is no word, such as
            ``n01484850``; else underscores become spaces
        column (None): of a table, the name of the column of classes

    Returns:
        the folder that paths are relative to, the pictures, and the rows left out

    Raises:
        PairError: if there is no picture
    """
    if path.is_dir():
        pictures = [
            ClassPicture(file.relative_to(path).as_posix(), _name(folder.name, names))
            for folder in sorted(path.iterdir())
            if folder.is_dir()
            for file in sorted(folder.rglob("*"))
            if file.suffix.lower() in PICTURES and file.is_file()
        ]
        root, left_out = path, list[Skipped]()
    else:
        rows, left_out = read_captions(path, Columns(caption=column), captions=_CLASSES)
        root = path.parent
        pictures = [ClassPicture(row.place, _name(row.caption, names)) for row in rows]
    if not pictures:
        raise PairError(f"{path} has no pictures: expected a folder for each class, or a table")
    return root, pictures, left_out


def read_names(path: Path) -> dict[str, str]:
    """The words for classes: a JSON object from a class's folder or label to them.

    Raises:
        AlphaClipError: if it is something else
    """
    try:
        content = read_json(path)
        if all(isinstance(value, str) and value.strip() for value in content.values()):
            return {str(name): value.strip() for name, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise AlphaClipError(f"{path} cannot be read as names of classes: {error}") from error
    raise AlphaClipError(f"{path} has a class without words: expected text for each")


def _name(label: str, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(label) or label.replace("_", " ").strip()


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

        def make(part: Sequence[ClassPicture]) -> tuple[bytes, Tally]:
            lines: list[str] = []
            skipped = Tally()
            for picture in part:
                try:
                    rows = self.score(picture)
                except AlphaClipError as error:
                    skipped.add(skipped_by(error))
                    continue
                if not rows:
                    skipped.add(Skipped("no foreground found", picture.path))
                lines += [json.dumps(row, separators=(",", ":")) + "\n" for row in rows]
            return "".join(lines).encode(), skipped

        return make_parts(pictures, make, job, progress)

    def score(self, picture: ClassPicture) -> list[dict[str, Any]]:
        """The foregrounds of a picture: ``picture``, ``name``, ``rle``, ``quality``, ``clip``.

        Raises:
            ImageError: if it cannot be opened
        """
        image = open_image(inside(self.root, picture.path))
        limits = self.settings.limits
        every = automatic_masks(self._sam, image, limits, self.settings.points_per_side)
        good = [mask for mask, v in zip(every, judge(every, limits), strict=True) if v == "kept"]
        masks = [mask.full(*image.shape[:2]) for mask in good]
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
            for sam_mask, mask, vector in zip(good, masks, vectors, strict=True)
        ]

    def _encode_class(self, name: str) -> np.ndarray:
        row: np.ndarray = self._encoder.encode_text([name], self.settings.templates)[0]
        return row
