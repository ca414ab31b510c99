"""Visual Genome's described regions: ``region_descriptions.json`` and ``image_data.json``."""

from __future__ import annotations

from dataclasses import replace
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
    text_of,
)
from alphaclip.training.datasets.masks import boxed_region
from alphaclip.training.datasets.sources import VISUAL_GENOME

_FOLDERS = ("VG_100K", "VG_100K_2")


def read_visual_genome(data: Path, limit: int | None = None) -> RegionSet:
    """Reads described boxes, one text each; there are no classes.

    The files of both versions are understood. There are some five million regions: give a limit
    unless you mean all of them.

    Args:
        data: folder with ``image_data.json``, ``region_descriptions.json``, ``VG_100K/`` and
            ``VG_100K_2/``
        limit: how many pictures that have regions; None takes all
    """
    skipped: list[str] = []
    pictures = Pictures(skipped)
    path = data / "image_data.json"
    entries = as_list(read_json(path, VISUAL_GENOME), path)
    images = dict(each(entries, lambda entry: (_picture_id(entry), entry), path.name, skipped))
    path = data / "region_descriptions.json"
    entries = as_list(read_json(path, VISUAL_GENOME), path)
    if not any((data / folder).is_dir() for folder in _FOLDERS):
        VISUAL_GENOME.require(data / _FOLDERS[0])

    def path_of(image: Entry) -> Path:
        """In the folder of its address, else in the other one."""
        *_, folder, name = image["url"].split("/")
        folders = dict.fromkeys((folder, *_FOLDERS))
        paths = [inside(data, f"{folder}/{name}") for folder in folders]
        return next((path for path in paths if path.is_file()), paths[0])

    def read(entry: Entry) -> Example | None:
        key, regions = _picture_id(entry), entry["regions"]
        if key not in images:
            raise AlphaClipError(f"is of picture {key}, which image_data.json does not have")
        file, size = path_of(images[key]), size_of(images[key])
        example = pictures.example(key, file, size) if regions else None
        if example is None:
            return None
        some = each(regions, lambda r: _region(r, *size), f"picture {key}: regions", skipped)
        described = tuple(some)
        return replace(example, regions=described) if described else None

    examples = tuple(islice(filter(None, each(entries, read, path.name, skipped)), limit))
    pictures.report()
    return RegionSet("visual-genome", examples, (), tuple(skipped))


def _picture_id(entry: Entry) -> int:
    """``image_id``, which version 1.0 calls ``id``."""
    return int(entry["image_id"] if "image_id" in entry else entry["id"])


def _region(region: Entry, width: int, height: int) -> LabelledRegion:
    box = pixel_box([region[name] for name in ("x", "y", "width", "height")])
    text = text_of(region, "phrase", "phrase")
    key = str(int(region["region_id"] if "region_id" in region else region["id"]))
    drawn = boxed_region(box, width, height)
    return LabelledRegion(key, drawn, box[2] * box[3], texts=(text,))
