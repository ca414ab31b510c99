"""COCO and LVIS: pictures, categories, and annotations with polygons, RLEs and boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alphaclip.errors import AlphaClipError
from alphaclip.regions.polygons import LEAST_POINTS
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import (
    Entry,
    Id,
    Pictures,
    area_of,
    each,
    grouped,
    identifier,
    inside,
    is_crowd,
    pixel_box,
    read_json,
    section,
    size_of,
)
from alphaclip.training.datasets.masks import boxed_region, decode_segmentation, masked_region
from alphaclip.training.datasets.sources import COCO, LVIS, Source

Shape = Literal["mask", "box"]


def read_coco(
    data: Path, split: str = "val2017", shape: Shape = "mask", limit: int | None = None
) -> RegionSet:
    """Reads COCO's objects.

    Crowds are among them, as in Alpha-CLIP's evaluation, and are marked ``crowd``. Polygons of one
    object are united and filled as pycocotools does; sizes go by the annotated ``area``. The 80
    classes are in the order of the file.

    Args:
        data: folder with ``annotations/instances_SPLIT.json`` and ``SPLIT/``
        split: such as ``val2017``
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures that have objects; None takes all
    """
    return _region_set(f"coco-{split}", open_coco(data, split), shape, limit)


def read_lvis(data: Path, split: str = "val", limit: int | None = None) -> RegionSet:
    """Reads LVIS's objects; the 1203 names keep their underscores, as in Alpha-CLIP's evaluation.

    Args:
        data: folder with ``annotations/lvis_v1_SPLIT.json``, ``train2017/`` and ``val2017/``
        split: ``train`` or ``val``
        limit: as in :func:`read_coco`
    """
    return _region_set(f"lvis-{split}", open_lvis(data, split), "mask", limit)


@dataclass(frozen=True)
class Instances:
    """A file of COCO's form, not yet made regions of.

    Attributes:
        path: of the file
        images: by id, in the order of the file
        categories: names by id, in the order of the file
        annotations: by id, in the order of the file, without rings that have no three points
        path_of: where a picture is, given its entry
        skipped: entries that cannot be read, a line each; further lines are added
        pictures: finds them
    """

    path: Path
    images: Mapping[Id, Entry]
    categories: Mapping[Id, str]
    annotations: Mapping[Id, Entry]
    path_of: Callable[[Entry], Path]
    skipped: list[str]
    pictures: Pictures

    def example(self, key: Id) -> Example | None:
        """A picture without regions yet; None, and counted, if it is not there."""
        entry = self.images[key]
        return self.pictures.example(key, self.path_of(entry), size_of(entry))

    def category_of(self, annotation: Entry) -> Id:
        """The category of an annotation, one of the file's."""
        category = identifier(annotation["category_id"])
        if category not in self.categories:
            raise AlphaClipError(f"has the category {category}, which the file does not have")
        return category


def open_coco(data: Path, split: str) -> Instances:
    """Reads COCO's file, see :func:`read_coco`."""
    folder, path = data / split, data / "annotations" / f"instances_{split}.json"
    instances = read_instances(path, COCO, lambda entry: inside(folder, entry["file_name"]))
    COCO.require(folder)
    return instances


def open_lvis(data: Path, split: str) -> Instances:
    """Reads LVIS's file, see :func:`read_lvis`; at least one folder of pictures has to be there."""

    def path_of(entry: Entry) -> Path:
        """Version 1 names a picture by its address only."""
        folder, _, name = entry["coco_url"].rpartition("/")
        folder = folder.rpartition("/")[2]
        if not folder or not name:
            url = entry["coco_url"][:80]
            raise AlphaClipError(f"has the address {url!r}: expected .../val2017/NAME.jpg")
        return inside(data, f"{folder}/{name}")

    instances = read_instances(data / "annotations" / f"lvis_v1_{split}.json", LVIS, path_of)
    if not (data / "train2017").is_dir():
        LVIS.require(data / "val2017")
    return instances


def read_instances(path: Path, source: Source, path_of: Callable[[Entry], Path]) -> Instances:
    """Reads a file of COCO's form."""
    content, skipped = read_json(path, source), list[str]()
    images = _by_id(content, "images", path, skipped)
    categories = _by_id(content, "categories", path, skipped)
    names = {key: str(entry["name"]) for key, entry in categories.items() if "name" in entry}
    annotations = _by_id(content, "annotations", path, skipped)
    strays = sum(_drop_strays(entry) for entry in annotations.values())
    if strays:
        skipped.append(
            f"{path.name}: {strays} ring(s) of fewer than {LEAST_POINTS} points, left out of their "
            "polygons"
        )
    return Instances(path, images, names, annotations, path_of, skipped, Pictures(skipped))


def _drop_strays(annotation: Entry) -> int:
    """Takes the rings out of an annotation that hold nothing, and counts them."""
    rings = annotation.get("segmentation")
    if not isinstance(rings, list):
        return 0
    whole = [r for r in rings if not isinstance(r, list) or len(r) >= 2 * LEAST_POINTS]
    strays = len(rings) - len(whole) if whole else 0
    rings[:] = whole
    return strays


def annotated_region(annotation: Entry, example: Example, shape: Shape) -> LabelledRegion:
    """The region of an annotation, without a label.

    Args:
        annotation: with ``id``, ``segmentation`` or ``bbox``, and ``area`` and ``iscrowd`` where
            they are stated
        example: its picture
        shape: which of the two is taken
    """
    if shape == "box":
        box = pixel_box(annotation["bbox"])
        region, pixels = boxed_region(box, example.width, example.height), box[2] * box[3]
    else:
        mask = decode_segmentation(annotation["segmentation"], example.height, example.width)
        region, pixels = masked_region(mask), float(mask.sum())
    area = area_of(annotation, pixels)
    key = str(identifier(annotation["id"]))
    return LabelledRegion(key, region, area, crowd=is_crowd(annotation))


def _by_id(content: Any, name: str, path: Path, skipped: list[str]) -> dict[Id, Entry]:
    entries: dict[Id, Entry] = {}

    def identified(entry: Entry) -> tuple[Id, Entry]:
        key = identifier(entry["id"])
        if key in entries:
            raise AlphaClipError(f"has the id {key}, which an entry before it has")
        return key, entry

    for key, entry in each(
        section(content, name, path), identified, f"{path.name}: {name}", skipped
    ):
        entries[key] = entry
    return entries


def _region_set(name: str, instances: Instances, shape: Shape, limit: int | None) -> RegionSet:
    """Regions of annotations, labelled by their categories, of the pictures that have some."""
    file, skipped = instances.path.name, instances.skipped

    def of_picture(annotation: Entry) -> tuple[Id, Entry]:
        key = identifier(annotation["image_id"])
        if key not in instances.images:
            raise AlphaClipError(f"is of picture {key}, which the file does not have")
        return key, annotation

    annotations = instances.annotations.values()
    groups = grouped(annotations, of_picture, f"{file}: annotation", skipped)

    def read(key: Id) -> Example | None:
        example = instances.example(key) if key in groups else None
        if example is None:
            return None

        def labelled(annotation: Entry) -> LabelledRegion:
            label = instances.categories[instances.category_of(annotation)]
            return replace(annotated_region(annotation, example, shape), label=label)

        lines = f"{file}: picture {key}, annotation"
        regions = tuple(each(groups[key], labelled, lines, skipped))
        return replace(example, regions=regions) if regions else None

    made = each(instances.images, read, f"{file}: images", skipped)
    examples = tuple(islice(filter(None, made), limit))
    instances.pictures.report()
    return RegionSet(name, examples, tuple(instances.categories.values()), tuple(skipped))
