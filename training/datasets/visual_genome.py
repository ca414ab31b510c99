"""Visual Genome's described regions: ``region_descriptions.json`` and ``image_data.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import (
    Entry,
    Pictures,
    as_list,
    each,
    inside,
    pixel_box,
    read_json,
    size_of,
)
from alphaclip.training.datasets.masks import boxed_region
from alphaclip.training.datasets.sources import VISUAL_GENOME

_FOLDERS = ("VG_100K", "VG_100K_2")


def read_visual_genome(data: Path, limit: int | None = None) -> RegionSet:
    """Reads described boxes.

    The files of both versions are understood. There are some five million regions: give a limit
    unless you mean all of them.

    Args:
        data: folder with ``image_data.json``, ``region_descriptions.json``, ``VG_100K/`` and
            ``VG_100K_2/``
        limit: how many pictures that have regions; None takes all

    Returns:
        no classes; each region has one text

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if a file has another form
    """
    skipped: list[str] = []
    images = _read_images(data / "image_data.json", skipped)
    path = data / "region_descriptions.json"
    entries = as_list(read_json(path, VISUAL_GENOME), path)
    if not any((data / folder).is_dir() for folder in _FOLDERS):
        VISUAL_GENOME.require(data / _FOLDERS[0])
    read = _Reader(data, images, Pictures(skipped), skipped)
    made = each(entries, read.example, path.name, skipped)
    examples = tuple(islice(filter(None, made), limit))
    read.pictures.report()
    return RegionSet("visual-genome", examples, (), tuple(skipped))


def _read_images(path: Path, skipped: list[str]) -> dict[int, Entry]:
    entries = as_list(read_json(path, VISUAL_GENOME), path)
    pairs = each(entries, lambda entry: (_picture_id(entry), entry), path.name, skipped)
    return dict(pairs)


def _picture_id(entry: Entry) -> int:
    """``image_id``, which version 1.0 calls ``id``."""
    return int(entry["image_id"] if "image_id" in entry else entry["id"])


@dataclass(frozen=True)
class _Reader:
    """Makes an example of a picture's entry."""

    data: Path
    images: Mapping[int, Entry]
    pictures: Pictures
    skipped: list[str]

    def example(self, entry: Entry) -> Example | None:
        key, regions = _picture_id(entry), entry["regions"]
        if key not in self.images:
            raise AlphaClipError(f"is of picture {key}, which image_data.json does not have")
        path, (width, height) = self._path(self.images[key]), size_of(self.images[key])
        if not regions or not self.pictures.has(path, width, height):
            return None

        def read(region: Entry) -> LabelledRegion:
            return _region(region, width, height)

        name = f"picture {key}: regions"
        found = tuple(each(regions, read, name, self.skipped))
        return Example(str(key), path, width, height, found) if found else None

    def _path(self, image: Entry) -> Path:
        """Where the picture is: in the folder of its address, else in the other one."""
        *_, folder, name = image["url"].split("/")
        others = [other for other in _FOLDERS if other != folder]
        paths = [inside(self.data, f"{place}/{name}") for place in (folder, *others)]
        return next((path for path in paths if path.is_file()), paths[0])


def _region(region: Entry, width: int, height: int) -> LabelledRegion:
    box = pixel_box([region[name] for name in ("x", "y", "width", "height")])
    text = str(region["phrase"]).strip()
    if not text:
        raise AlphaClipError("has an empty phrase")
    key = str(int(region["region_id"] if "region_id" in region else region["id"]))
    shown = boxed_region(box, width, height)
    return LabelledRegion(key, shown, box[2] * box[3], texts=(text,))
