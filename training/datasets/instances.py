"""Files of COCO's form: pictures, categories, and annotations with polygons, RLEs and boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import (
    Entry,
    Pictures,
    each,
    pixel_box,
    read_json,
    section,
    size_of,
)
from alphaclip.training.datasets.masks import boxed_region, decode_segmentation, masked_region
from alphaclip.training.datasets.sources import Source

Shape = Literal["mask", "box"]

PathOf = Callable[[Entry], Path]


@dataclass(frozen=True)
class Instances:
    """A file of COCO's form, not yet made regions of.

    Attributes:
        path: of the file
        images: by id, in the order of the file
        categories: names by id, in the order of the file
        annotations: by id, in the order of the file
        skipped: entries that cannot be read, a line each; the regions' lines are added
    """

    path: Path
    images: Mapping[int, Entry]
    categories: Mapping[int, str]
    annotations: Mapping[int, Entry]
    skipped: list[str]


def read_instances(path: Path, source: Source) -> Instances:
    """Reads a file of COCO's form.

    Raises:
        MissingDataError: if it is not there
        AlphaClipError: if it has another form
    """
    content, skipped = read_json(path, source), list[str]()
    images = _by_id(content, "images", path, skipped)
    categories = _by_id(content, "categories", path, skipped)
    return Instances(
        path,
        images,
        {key: str(entry["name"]) for key, entry in categories.items() if "name" in entry},
        _by_id(content, "annotations", path, skipped),
        skipped,
    )


def region_set(
    name: str, instances: Instances, path_of: PathOf, shape: Shape, limit: int | None
) -> RegionSet:
    """Regions of annotations, labelled by their categories.

    Args:
        name: of the set
        instances: what was read
        path_of: where a picture is, given its entry
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures that have regions; None takes all
    """
    groups = _by_picture(instances)
    pictures = Pictures(instances.skipped)
    read = _Reader(instances, groups, path_of, shape, pictures)
    found = islice(filter(None, _read_all(instances, read)), limit)
    examples = tuple(found)
    pictures.report()
    classes = tuple(instances.categories.values())
    return RegionSet(name, examples, classes, tuple(instances.skipped))


def annotated_region(annotation: Entry, width: int, height: int, shape: Shape) -> LabelledRegion:
    """The region of an annotation, without a label.

    Args:
        annotation: with ``id``, ``segmentation`` or ``bbox``, and ``area`` and ``iscrowd`` where
            they are known
        width: of the picture
        height: of the picture
        shape: which of the two is taken

    Raises:
        AlphaClipError: if it is malformed or empty
    """
    if shape == "box":
        box = pixel_box(annotation["bbox"])
        region, pixels = boxed_region(box, width, height), box[2] * box[3]
    else:
        mask = decode_segmentation(annotation["segmentation"], height, width)
        region, pixels = masked_region(mask), float(mask.sum())
    area = float(annotation.get("area", pixels))
    crowd = bool(annotation.get("iscrowd", 0))
    return LabelledRegion(str(annotation["id"]), region, area, crowd=crowd)


def _by_id(content: Any, name: str, path: Path, skipped: list[str]) -> dict[int, Entry]:
    found: dict[int, Entry] = {}

    def add(entry: Entry) -> None:
        key = int(entry["id"])
        if key in found:
            raise AlphaClipError(f"has the id {key}, which an entry before it has")
        found[key] = entry

    for _ in each(section(content, name, path), add, f"{path.name}: {name}", skipped):
        pass
    return found


def _by_picture(instances: Instances) -> dict[int, list[Entry]]:
    groups: dict[int, list[Entry]] = defaultdict(list)

    def add(entry: Entry) -> None:
        key = int(entry["image_id"])
        if key not in instances.images:
            raise AlphaClipError(f"is of picture {key}, which the file does not have")
        groups[key].append(entry)

    name = f"{instances.path.name}: annotation"
    for _ in each(instances.annotations.values(), add, name, instances.skipped):
        pass
    return groups


def _read_all(instances: Instances, read: _Reader) -> Iterator[Example | None]:
    name = f"{instances.path.name}: images"
    return each(instances.images.items(), read.example, name, instances.skipped)


@dataclass(frozen=True)
class _Reader:
    """Makes an example of a picture and its annotations."""

    instances: Instances
    groups: Mapping[int, list[Entry]]
    path_of: PathOf
    shape: Shape
    pictures: Pictures

    def example(self, item: tuple[int, Entry]) -> Example | None:
        key, entry = item
        if key not in self.groups:
            return None
        path, (width, height) = self.path_of(entry), size_of(entry)
        if not self.pictures.has(path, width, height):
            return None
        name = f"{self.instances.path.name}: picture {key}, annotation"

        def read(annotation: Entry) -> LabelledRegion:
            return self._labelled(annotation, width, height)

        regions = tuple(each(self.groups[key], read, name, self.instances.skipped))
        return Example(str(key), path, width, height, regions) if regions else None

    def _labelled(self, annotation: Entry, width: int, height: int) -> LabelledRegion:
        category = int(annotation["category_id"])
        if category not in self.instances.categories:
            raise AlphaClipError(f"has the category {category}, which the file does not have")
        region = annotated_region(annotation, width, height, self.shape)
        return replace(region, label=self.instances.categories[category])
