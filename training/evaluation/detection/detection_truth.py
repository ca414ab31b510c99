"""What is really in the pictures, for average precision: objects, classes, what is not known."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import Entry, Pictures, each, inside, size_of
from alphaclip.training.datasets.instances import Instances, read_instances
from alphaclip.training.datasets.lvis import lvis_picture
from alphaclip.training.datasets.sources import COCO, LVIS

NOVEL = (
    *("airplane", "bus", "cat", "dog", "cow", "elephant", "umbrella", "tie", "snowboard"),
    *("skateboard", "cup", "knife", "cake", "couch", "keyboard", "sink", "scissors"),
)
"""The 17 novel classes of COCO in OVR-CNN's split (Zareian et al. 2021, arXiv 2011.10678), which is
that of Bansal et al. 2018 (arXiv 1804.04340)."""

BASE = (
    *("person", "bicycle", "car", "motorcycle", "train", "truck", "boat", "bench", "bird", "horse"),
    *("sheep", "bear", "zebra", "giraffe", "backpack", "handbag", "suitcase", "frisbee", "skis"),
    *("kite", "surfboard", "bottle", "fork", "spoon", "bowl", "banana", "apple", "sandwich"),
    *("orange", "broccoli", "carrot", "pizza", "donut", "chair", "bed", "toilet", "tv", "laptop"),
    *("mouse", "remote", "microwave", "oven", "toaster", "refrigerator", "book", "clock", "vase"),
    "toothbrush",
)
"""The 48 base classes of the same split; COCO's other 15 are in neither and are left out."""

_FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True)
class Federated:
    """What LVIS knows of the classes of a picture (Gupta et al. 2019, arXiv 1908.03195, section 2).

    Attributes:
        absent: by picture, classes that were looked for and are not there; a detection of a class
            that is neither there nor absent does not count
        partial: by picture, classes of which not every object is annotated; a detection of one
            that fits no object does not count
    """

    absent: Mapping[str, frozenset[int]]
    partial: Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Truth:
    """The objects of a set of pictures.

    Attributes:
        name: of the set
        examples: the pictures, those without objects as well; their ``regions`` are not used
        classes: names by class id, in the order of the file
        objects: annotations in COCO's form, ``image_id`` being the example's id
        groups: parts of the classes to report apart, such as ``novel`` and ``base``
        federated: LVIS's rules; None where every object of every class is annotated
        skipped: what could not be read, a line each
    """

    name: str
    examples: tuple[Example, ...]
    classes: Mapping[int, str]
    objects: tuple[Mapping[str, Any], ...]
    groups: Mapping[str, frozenset[int]] = field(default_factory=dict)
    federated: Federated | None = None
    skipped: tuple[str, ...] = ()


def coco_truth(data: Path, split: str = "val2017") -> Truth:
    """COCO's objects, with all 80 classes.

    Args:
        data: folder with ``annotations/instances_SPLIT.json`` and ``SPLIT/``
        split: such as ``val2017``

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if the annotations have another form
    """
    instances = read_instances(data / "annotations" / f"instances_{split}.json", COCO)
    folder = COCO.require(data / split)
    return _of_instances(f"coco-{split}", instances, lambda e: inside(folder, e["file_name"]))


def lvis_truth(data: Path, split: str = "val") -> Truth:
    """LVIS's objects, with its federated rules; rare classes are the novel ones, as in ViLD.

    Args:
        data: folder with ``annotations/lvis_v1_SPLIT.json``, ``train2017/`` and ``val2017/``
        split: such as ``val``

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if the annotations have another form
    """
    path = data / "annotations" / f"lvis_v1_{split}.json"
    instances = read_instances(path, LVIS)
    truth = _of_instances(f"lvis-{split}", instances, lambda entry: lvis_picture(data, entry))
    return replace(truth, groups=_by_frequency(path), federated=_federated(instances, path))


def truth_of(regions: RegionSet) -> Truth:
    """The objects of any set of labelled regions, such as a FiftyOne field's.

    Boxes are kept exactly; a mask's box is the smallest round it. Every object of every class is
    taken to be annotated.

    Args:
        regions: those whose label is not among ``classes`` are left out, and reported
    """
    ids = {name: place for place, name in enumerate(regions.classes, start=1)}
    known = [(example, found) for example, found in regions.regions if found.label in ids]
    unknown = [
        f"region {found.id}: {found.label!r} is not among the classes"
        for _, found in regions.regions
        if found.label not in ids
    ]
    objects = tuple(
        _object(place, example, labelled, ids[labelled.label])
        for place, (example, labelled) in enumerate(known, start=1)
    )
    classes = {place: name for name, place in ids.items()}
    skipped = (*regions.skipped, *unknown)
    return Truth(regions.name, regions.examples, classes, objects, skipped=skipped)


def split_classes(truth: Truth, groups: Mapping[str, Collection[str]]) -> Truth:
    """Keeps the classes of some groups only, and names the groups.

    Args:
        truth: all classes
        groups: class names by group, such as ``{"novel": NOVEL, "base": BASE}``

    Raises:
        AlphaClipError: if a name is no class of the truth
    """
    ids = {name: place for place, name in truth.classes.items()}
    unknown = sorted({name for names in groups.values() for name in names} - set(ids))
    if unknown:
        raise AlphaClipError(f"{truth.name} has no class {', '.join(unknown)}: see its class names")
    chosen = {group: frozenset(ids[name] for name in names) for group, names in groups.items()}
    kept = frozenset().union(*chosen.values())
    return replace(
        truth,
        classes={place: name for place, name in truth.classes.items() if place in kept},
        objects=tuple(found for found in truth.objects if found["category_id"] in kept),
        groups=chosen,
    )


def first_pictures(truth: Truth, limit: int | None) -> Truth:
    """The first pictures and their objects; all where ``limit`` is None."""
    examples = truth.examples[:limit]
    kept = {example.id for example in examples}
    objects = tuple(found for found in truth.objects if found["image_id"] in kept)
    return replace(truth, examples=examples, objects=objects)


def _examples(
    instances: Instances, path_of: Callable[[Entry], Path], skipped: list[str]
) -> tuple[Example, ...]:
    """The pictures that are there."""
    pictures = Pictures(skipped)

    def example(item: tuple[int, Entry]) -> Example | None:
        place, entry = item
        path, (width, height) = path_of(entry), size_of(entry)
        is_here = pictures.has(path, width, height)
        return Example(str(place), path, width, height, ()) if is_here else None

    name = f"{instances.path.name}: images"
    found = tuple(filter(None, each(instances.images.items(), example, name, skipped)))
    pictures.report()
    return found


def _of_instances(name: str, instances: Instances, path_of: Callable[[Entry], Path]) -> Truth:
    skipped = list(instances.skipped)
    examples = _examples(instances, path_of, skipped)
    here = {example.id for example in examples}

    def of_coco(entry: Entry) -> dict[str, Any] | None:
        picture, category = str(entry["image_id"]), int(entry["category_id"])
        if category not in instances.categories:
            raise AlphaClipError(f"has the category {category}, which the file does not have")
        known = {
            "image_id": picture,
            "category_id": category,
            "bbox": [float(side) for side in entry["bbox"]],
            "area": float(entry["area"]),
            "iscrowd": int(entry.get("iscrowd", 0)),
        }
        return {**entry, **known} if picture in here else None

    entries = instances.annotations.values()
    objects = each(entries, of_coco, f"{instances.path.name}: annotations", skipped)
    kept = tuple(found for found in objects if found is not None)
    return Truth(name, examples, dict(instances.categories), kept, skipped=tuple(skipped))


def _federated(instances: Instances, path: Path) -> Federated:
    def listed(key: str) -> dict[str, frozenset[int]]:
        return {str(place): frozenset(entry[key]) for place, entry in instances.images.items()}

    try:
        return Federated(listed("neg_category_ids"), listed("not_exhaustive_category_ids"))
    except KeyError as error:
        raise AlphaClipError(
            f"{path} has pictures without {error}: average precision on LVIS needs them; take the "
            "file of LVIS v1 as it was published"
        ) from error


def _by_frequency(path: Path) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {"rare": set(), "common": set(), "frequent": set()}
    for entry in json.loads(path.read_text("utf-8"))["categories"]:
        found[_FREQUENCIES[entry["frequency"]]].add(int(entry["id"]))
    groups = {name: frozenset(ids) for name, ids in found.items()}
    base = groups["common"] | groups["frequent"]
    return {"novel": groups["rare"], "base": base, **groups}


def _object(
    place: int, example: Example, labelled: LabelledRegion, category: int
) -> dict[str, Any]:
    region, height, width = labelled.region, example.height, example.width
    mask = region.alpha_map(height, width) > 127
    if region.box is not None and region.mask is None:
        box = np.array(region.box) * (width, height, width, height)
    else:
        left, top, right, bottom = region.bounds(height, width)
        box = np.array([left, top, right - left, bottom - top], np.float64)
    return {
        "id": place,
        "image_id": example.id,
        "category_id": category,
        "bbox": box.tolist(),
        "area": labelled.area,
        "iscrowd": int(labelled.crowd),
        "segmentation": encode_rle(mask),
    }
