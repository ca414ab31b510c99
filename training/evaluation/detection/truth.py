"""What is really in the pictures, for average precision: objects, classes, what is not known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.coco import Instances, open_coco, open_lvis
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import Entry, each

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
    """COCO's objects, with all 80 classes; ``data`` is as in
    :func:`~alphaclip.training.datasets.coco.read_coco`."""
    return _of_instances(f"coco-{split}", open_coco(data, split))


def lvis_truth(data: Path, split: str = "val") -> Truth:
    """LVIS's objects, with its federated rules; rare classes are the novel ones, as in ViLD. See
    :func:`alphaclip.training.datasets.coco.read_lvis`.
    """
    instances = open_lvis(data, split)
    truth = _of_instances(f"lvis-{split}", instances)
    groups = _by_frequency(instances.path)
    return replace(truth, groups=groups, federated=_federated(instances))


def truth_of(regions: RegionSet) -> Truth:
    """The objects of any set of labelled regions, such as a FiftyOne field's.

    Boxes are kept exactly; a mask's box is the smallest round it. Every object of every class is
    taken to be annotated.

    Args:
        regions: those whose label is not among ``classes`` are left out, and reported
    """
    ids = {name: number for number, name in enumerate(regions.classes, start=1)}
    objects: list[dict[str, Any]] = []
    skipped = list(regions.skipped)
    for example, labelled in regions.regions:
        if labelled.label in ids:
            number = len(objects) + 1
            objects.append(_object(number, example, labelled, ids[labelled.label]))
        else:
            skipped.append(f"region {labelled.id}: {labelled.label!r} is not among the classes")
    classes = {number: name for name, number in ids.items()}
    return Truth(regions.name, regions.examples, classes, tuple(objects), skipped=tuple(skipped))


def split_classes(truth: Truth, groups: Mapping[str, Collection[str]]) -> Truth:
    """Keeps the classes of some groups only, and names the groups, such as
    ``{"novel": NOVEL, "base": BASE}``.

    Raises:
        AlphaClipError: if a name is no class of the truth
    """
    ids = {name: key for key, name in truth.classes.items()}
    unknown = sorted({name for names in groups.values() for name in names} - set(ids))
    if unknown:
        raise AlphaClipError(f"{truth.name} has no class {', '.join(unknown)}: see its class names")
    chosen = {group: frozenset(ids[name] for name in names) for group, names in groups.items()}
    left = frozenset().union(*chosen.values())
    return replace(
        truth,
        classes={key: name for key, name in truth.classes.items() if key in left},
        objects=tuple(one for one in truth.objects if one["category_id"] in left),
        groups=chosen,
    )


def first_pictures(truth: Truth, limit: int | None) -> Truth:
    """The first pictures and their objects; all where ``limit`` is None."""
    examples = truth.examples[:limit]
    ids = {example.id for example in examples}
    objects = tuple(one for one in truth.objects if one["image_id"] in ids)
    return replace(truth, examples=examples, objects=objects)


def _of_instances(name: str, instances: Instances) -> Truth:
    """The pictures that are there, those without objects as well, and their annotations."""
    file, skipped = instances.path.name, instances.skipped
    examples = each(instances.images, instances.example, f"{file}: images", skipped)
    here = {example.id: example for example in examples if example is not None}
    instances.pictures.report()

    def of_coco(entry: Entry) -> dict[str, Any] | None:
        picture = str(entry["image_id"])
        checked = {
            "image_id": picture,
            "category_id": instances.category_of(entry),
            "bbox": [float(side) for side in entry["bbox"]],
            "area": float(entry["area"]),
            "iscrowd": int(entry.get("iscrowd", 0)),
        }
        return {**entry, **checked} if picture in here else None

    objects = each(instances.annotations.values(), of_coco, f"{file}: annotations", skipped)
    ours = tuple(one for one in objects if one is not None)
    classes = dict(instances.categories)
    return Truth(name, tuple(here.values()), classes, ours, skipped=tuple(skipped))


def _federated(instances: Instances) -> Federated:
    def listed(key: str) -> dict[str, frozenset[int]]:
        return {str(picture): frozenset(entry[key]) for picture, entry in instances.images.items()}

    try:
        return Federated(listed("neg_category_ids"), listed("not_exhaustive_category_ids"))
    except KeyError as error:
        raise AlphaClipError(
            f"{instances.path} has pictures without {error}: average precision on LVIS needs "
            "them; take the file of LVIS v1 as it was published"
        ) from error


def _by_frequency(path: Path) -> dict[str, frozenset[int]]:
    frequencies = {"r": "rare", "c": "common", "f": "frequent"}
    ids: dict[str, set[int]] = {name: set() for name in frequencies.values()}
    for entry in read_json(path, largest=None)["categories"]:
        ids[frequencies[entry["frequency"]]].add(int(entry["id"]))
    groups = {name: frozenset(own) for name, own in ids.items()}
    base = groups["common"] | groups["frequent"]
    return {"novel": groups["rare"], "base": base, **groups}


def _object(
    number: int, example: Example, labelled: LabelledRegion, category: int
) -> dict[str, Any]:
    region, height, width = labelled.region, example.height, example.width
    mask = region.alpha_map(height, width) > 127
    if region.box is not None and region.mask is None:
        box = np.array(region.box) * (width, height, width, height)
    else:
        left, top, right, bottom = region.bounds(height, width)
        box = np.array([left, top, right - left, bottom - top], np.float64)
    return {
        "id": number,
        "image_id": example.id,
        "category_id": category,
        "bbox": box.tolist(),
        "area": labelled.area,
        "iscrowd": int(labelled.crowd),
        "segmentation": encode_rle(mask),
    }
