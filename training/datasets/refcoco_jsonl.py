"""RefCOCO, RefCOCO+ and RefCOCOg as ReCLIP has them: a JSON line an object, and detections."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example
from alphaclip.training.datasets.expressions import Box, Expression, ExpressionSet, whole_picture
from alphaclip.training.datasets.files import Entry, Pictures, each, inside, pixel_box, read_json
from alphaclip.training.datasets.sources import RECLIP

SPLITS = {
    "refcoco": ("val", "testA", "testB"),
    "refcoco+": ("val", "testA", "testB"),
    "refcocog": ("val", "test"),
}
"""The eight splits of the published tables."""

Proposals = Literal["detector", "annotated"]

_COCO_NAME = re.compile(r"(COCO_[a-z]+2014_\d{12})(?:_\d+)?\.jpg", re.IGNORECASE)
"""A picture's name; refer puts the object's number behind it."""


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

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if a file has another form, or there is no such split
    """
    if split not in SPLITS.get(dataset, ()):
        known = "; ".join(f"{name}: {', '.join(splits)}" for name, splits in SPLITS.items())
        raise AlphaClipError(f"no split {dataset} {split}: there are {known}")
    folder = data / "reclip_data"
    path = RECLIP.require(folder / f"{dataset}_{split}.jsonl")
    images = RECLIP.require(data / "train2014")
    skipped: list[str] = []
    detections = None
    if proposals == "detector":
        detections = _read_detections(folder / f"{dataset}_dets_dict.json", skipped)
    read = _Reader(images, detections, Pictures(skipped))
    groups = each(_lines(path), read.expressions, f"{path.name}: line", skipped)
    expressions = tuple(expression for group in groups for expression in group)
    read.pictures.report()
    return ExpressionSet(f"{dataset}-{split}", expressions, proposals, tuple(skipped))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise AlphaClipError(f"{path} cannot be read ({error}): get the file again") from error


def _read_detections(path: Path, skipped: list[str]) -> dict[int, tuple[Box, ...]]:
    """Boxes by picture, from either form that ReCLIP's code takes."""
    content = read_json(path, RECLIP)
    found: dict[int, list[Box]] = defaultdict(list)

    def add(item: tuple[Any, Any]) -> None:
        found[int(item[0])].append(pixel_box(item[1]))

    for _ in each(_pairs(content, path), add, path.name, skipped):
        pass
    return {picture: tuple(boxes) for picture, boxes in found.items()}


def _pairs(content: Any, path: Path) -> list[tuple[Any, Any]]:
    if isinstance(content, Mapping) and all(isinstance(b, list) for b in content.values()):
        return [(picture, box) for picture, boxes in content.items() for box in boxes]
    if isinstance(content, list) and all(isinstance(entry, Mapping) for entry in content):
        return [(entry.get("image_id"), entry.get("box")) for entry in content]
    raise AlphaClipError(f"{path} holds no detections: expected boxes by picture")


@dataclass(frozen=True)
class _Reader:
    """Makes the expressions of a line."""

    folder: Path
    detections: Mapping[int, tuple[Box, ...]] | None
    pictures: Pictures

    def expressions(self, line: str) -> list[Expression]:
        entry = json.loads(line)
        example = self._example(entry)
        if example is None:
            return []
        boxes = {ann["id"]: pixel_box(ann["bbox"]) for ann in entry["anns"]}
        truth = boxes[_only(entry["ann_id"])]
        proposals = self._proposals(entry, tuple(boxes.values())) or (whole_picture(example),)
        return [
            Expression(_key(entry, sentence, place), example, _text(sentence), truth, proposals)
            for place, sentence in enumerate(entry["sentences"])
        ]

    def _example(self, entry: Entry) -> Example | None:
        path = inside(self.folder, _picture_name(entry["file_name"]))
        size = self.pictures.size(path)
        return None if size is None else Example(str(int(entry["image_id"])), path, *size, ())

    def _proposals(self, entry: Entry, annotated: tuple[Box, ...]) -> tuple[Box, ...]:
        if self.detections is None:
            return annotated
        return self.detections.get(int(entry["image_id"]), ())


def _picture_name(name: str) -> str:
    found = _COCO_NAME.fullmatch(name)
    return f"{found[1]}.jpg" if found else name


def _only(ids: Any) -> Any:
    """The one object that is meant; ReCLIP's files for RefCOCO have no expression for several."""
    if not isinstance(ids, list):
        return ids
    if len(ids) != 1:
        raise AlphaClipError(f"refers to {len(ids)} objects: expected one")
    return ids[0]


def _key(entry: Entry, sentence: Entry, place: int) -> str:
    """``sent_id`` where there is one, else the object's id and the sentence's place."""
    found = sentence.get("sent_id")
    return str(found) if found is not None else f"{_only(entry['ann_id'])}-{place}"


def _text(sentence: Entry) -> str:
    text = str(sentence["raw"]).strip()
    if not text:
        raise AlphaClipError("has an empty sentence")
    return text
