"""RefCOCO, RefCOCO+ and RefCOCOg, as refer has them and as ReCLIP has them.

refer has a pickle of references, ``refs(*).p``, beside ``instances.json``; ReCLIP has a JSON line
an object, and a detector's boxes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.coco import Instances, Shape, annotated_region, read_instances
from alphaclip.training.datasets.examples import (
    Box,
    Example,
    Expression,
    ExpressionSet,
    LabelledRegion,
    RegionSet,
)
from alphaclip.training.datasets.files import (
    Entry,
    Id,
    Pictures,
    as_list,
    each,
    grouped,
    identifier,
    inside,
    pixel_box,
    read_json,
    text_of,
)
from alphaclip.training.datasets.plain_pickle import load_plain_pickle
from alphaclip.training.datasets.sources import RECLIP, REFER

SPLITS = {
    "refcoco": ("val", "testA", "testB"),
    "refcoco+": ("val", "testA", "testB"),
    "refcocog": ("val", "test"),
}
"""The eight splits of the published tables."""

SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
"""Whose splits are usual; of RefCOCOg's, ``umd`` shares no picture between splits."""

Proposals = Literal["detector", "annotated"]

_PICTURES = ("train2014", "images/mscoco/images/train2014")
"""Where the pictures may be: beside the annotations, or where refer looks for them."""

_COCO_NAME = re.compile(r"(COCO_[a-z]+2014_\d{12})(?:_\d+)?\.jpg", re.IGNORECASE)
"""A picture's name; refer puts the object's number behind it."""


def read_refs_regions(
    data: Path,
    dataset: str = "refcocog",
    split: str = "val",
    split_by: str | None = None,
    shape: Shape = "mask",
    limit: int | None = None,
) -> RegionSet:
    """Reads the described objects of a split of refer's files, each with all its descriptions.

    Args:
        data: folder with ``{dataset}/instances.json``, ``{dataset}/refs({split_by}).p`` and
            ``train2014/``
        dataset: ``refcoco``, ``refcoco+`` or ``refcocog``
        split: ``train``, ``val``, ``test``, ``testA`` or ``testB``; ``test`` has ``testA`` and
            ``testB`` in it
        split_by: whose splits; None takes the usual
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures; None takes all
    """
    refs = _Refs.read(data, dataset, split, split_by)
    instances, skipped = refs.instances, refs.instances.skipped

    def read(item: tuple[Id, list[Entry]]) -> Example | None:
        example = refs.example(item[0])
        if example is None:
            return None

        def described(ref: Entry) -> LabelledRegion:
            annotation = refs.annotation(ref)
            region = annotated_region(annotation, example, shape)
            texts = tuple(dict.fromkeys(_sentence(sentence) for sentence in ref["sentences"]))
            label = instances.categories.get(identifier(annotation["category_id"]), "")
            return replace(region, id=str(ref["ref_id"]), label=label, texts=texts)

        regions = tuple(each(item[1], described, f"picture {item[0]}: ref", skipped))
        return replace(example, regions=regions) if regions else None

    by_picture = grouped(refs.refs, lambda ref: (identifier(ref["image_id"]), ref), "refs", skipped)
    made = each(by_picture.items(), read, "pictures", skipped)
    examples = tuple(islice(filter(None, made), limit))
    instances.pictures.report()
    classes = tuple(instances.categories.values())
    return RegionSet(f"{dataset}-{split}", examples, classes, tuple(skipped))


def read_refs_expressions(
    data: Path, dataset: str = "refcoco", split: str = "val", split_by: str | None = None
) -> ExpressionSet:
    """Reads the expressions of a split, to choose among all annotated objects of the picture."""
    refs = _Refs.read(data, dataset, split, split_by)
    instances, skipped = refs.instances, refs.instances.skipped
    proposals = grouped(
        instances.annotations.values(),
        lambda entry: (identifier(entry["image_id"]), pixel_box(entry["bbox"])),
        f"{instances.path.name}: annotation",
        skipped,
    )

    def read(ref: Entry) -> list[Expression]:
        picture = identifier(ref["image_id"])
        example, truth = refs.example(picture), pixel_box(refs.annotation(ref)["bbox"])
        if example is None:
            return []
        boxes = tuple(proposals[picture])
        return [
            Expression(str(sentence["sent_id"]), example, _sentence(sentence), truth, boxes)
            for sentence in ref["sentences"]
        ]

    groups = each(refs.refs, read, f"refs of {dataset}-{split}", skipped)
    expressions = tuple(expression for group in groups for expression in group)
    instances.pictures.report()
    return ExpressionSet(f"{dataset}-{split}", expressions, "annotated", tuple(skipped))


def read_reclip(
    data: Path, dataset: str, split: str, proposals: Proposals = "detector"
) -> ExpressionSet:
    """Reads a split of ReCLIP's files.

    A line has ``image_id``, ``file_name``, ``ann_id``, ``anns`` (all annotated objects with ``id``
    and ``bbox``) and ``sentences`` with ``raw``. Detections are MAttNet's, boxes by picture; where
    there is none, the whole picture is the only proposal, as in the reference code.

    Args:
        data: folder with ``reclip_data/`` and ``train2014/``
        dataset: ``refcoco``, ``refcoco+`` or ``refcocog``; the detections are those of the same
        split: one of :data:`SPLITS`
        proposals: ``detector``, or ``annotated`` for all annotated objects
    """
    if split not in SPLITS.get(dataset, ()):
        splits = "; ".join(f"{name}: {', '.join(own)}" for name, own in SPLITS.items())
        raise AlphaClipError(f"no split {dataset} {split}: there are {splits}")
    folder = data / "reclip_data"
    path = RECLIP.require(folder / f"{dataset}_{split}.jsonl")
    images = RECLIP.require(data / "train2014")
    skipped: list[str] = []
    detections = None
    if proposals == "detector":
        detections = _read_detections(folder / f"{dataset}_dets_dict.json", skipped)
    pictures = Pictures(skipped)

    def read(line: str) -> list[Expression]:
        entry = json.loads(line)
        name = _COCO_NAME.fullmatch(entry["file_name"])
        file = inside(images, f"{name[1]}.jpg" if name else entry["file_name"])
        size = pictures.size(file)
        if size is None:
            return []
        example = Example(str(int(entry["image_id"])), file, *size, ())
        annotated = {ann["id"]: pixel_box(ann["bbox"]) for ann in entry["anns"]}
        meant = _only(entry["ann_id"])
        truth, boxes = annotated[meant], tuple(annotated.values())
        if detections is not None:
            boxes = tuple(detections.get(int(entry["image_id"]), ()))
        boxes = boxes or ((0.0, 0.0, float(size[0]), float(size[1])),)
        expressions = []
        for number, sentence in enumerate(entry["sentences"]):
            key = sentence.get("sent_id")
            key = f"{meant}-{number}" if key is None else str(key)
            expressions.append(Expression(key, example, _sentence(sentence), truth, boxes))
        return expressions

    groups = each(_lines(path), read, f"{path.name}: line", skipped)
    expressions = tuple(expression for group in groups for expression in group)
    pictures.report()
    return ExpressionSet(f"{dataset}-{split}", expressions, proposals, tuple(skipped))


@dataclass(frozen=True)
class _Refs:
    """The references of a split, and what they refer to."""

    instances: Instances
    refs: list[Entry]

    @classmethod
    def read(cls, data: Path, dataset: str, split: str, split_by: str | None) -> _Refs:
        if dataset not in SPLIT_BY:
            raise AlphaClipError(f"no data set {dataset!r}: expected one of {', '.join(SPLIT_BY)}")
        path = REFER.require(data / dataset / f"refs({split_by or SPLIT_BY[dataset]}).p")
        folders = [data / name for name in _PICTURES]
        folder = next((folder for folder in folders if folder.is_dir()), folders[0])
        instances = read_instances(
            data / dataset / "instances.json",
            REFER,
            lambda entry: inside(folder, entry["file_name"]),
        )
        refs = as_list(load_plain_pickle(path), path)
        pairs = list(each(refs, lambda ref: (str(ref["split"]), ref), path.name, instances.skipped))
        names = sorted({name for name, _ in pairs})
        fitting = [n for n in names if n == split or (split == "test" and n[:4] == "test")]
        if not fitting:
            listed = ", ".join(names)[:200]
            raise AlphaClipError(f"{path} has no split {split!r}: it has {listed}")
        REFER.require(folder)
        return cls(instances, [ref for name, ref in pairs if name in fitting])

    def example(self, picture: Id) -> Example | None:
        if picture not in self.instances.images:
            raise AlphaClipError(f"is of picture {picture}, which instances.json does not have")
        return self.instances.example(picture)

    def annotation(self, ref: Entry) -> Entry:
        key = identifier(ref["ann_id"])
        if key not in self.instances.annotations:
            raise AlphaClipError(f"refers to object {key}, which instances.json does not have")
        return self.instances.annotations[key]


def _sentence(sentence: Entry) -> str:
    return text_of(sentence, "raw", "sentence")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8-sig").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise AlphaClipError(f"{path} cannot be read ({error}): get the file again") from error


def _read_detections(path: Path, skipped: list[str]) -> dict[int, list[Box]]:
    """Boxes by picture, from either form that ReCLIP's code takes."""
    content = read_json(path, RECLIP)
    if isinstance(content, Mapping) and all(isinstance(b, list) for b in content.values()):
        pairs = [(picture, box) for picture, boxes in content.items() for box in boxes]
    elif isinstance(content, list) and all(isinstance(entry, Mapping) for entry in content):
        pairs = [(entry.get("image_id"), entry.get("box")) for entry in content]
    else:
        raise AlphaClipError(f"{path} holds no detections: expected boxes by picture")
    return grouped(pairs, lambda item: (int(item[0]), pixel_box(item[1])), path.name, skipped)


def _only(ids: Any) -> Any:
    """The one object that is meant; ReCLIP's files for RefCOCO have no expression for several."""
    if not isinstance(ids, list):
        return ids
    if len(ids) != 1:
        raise AlphaClipError(f"refers to {len(ids)} objects: expected one")
    return ids[0]
