"""RefCOCO, RefCOCO+ and RefCOCOg as refer has them: ``refs(*).p`` and ``instances.json``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.expressions import Box, Expression, ExpressionSet
from alphaclip.training.datasets.files import (
    Entry,
    Pictures,
    as_list,
    each,
    inside,
    pixel_box,
    size_of,
)
from alphaclip.training.datasets.instances import Instances, Shape, annotated_region, read_instances
from alphaclip.training.datasets.plain_pickle import load_plain_pickle
from alphaclip.training.datasets.sources import REFER

SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
"""Whose splits are usual; of RefCOCOg's, ``umd`` shares no picture between splits."""

_PICTURES = ("train2014", "images/mscoco/images/train2014")
"""Where the pictures may be: beside the annotations, or where refer looks for them."""


def read_refs_regions(
    data: Path,
    dataset: str = "refcocog",
    split: str = "val",
    split_by: str | None = None,
    shape: Shape = "mask",
    limit: int | None = None,
) -> RegionSet:
    """Reads the described objects of a split, each with all its descriptions.

    Args:
        data: folder with ``{dataset}/instances.json``, ``{dataset}/refs({split_by}).p`` and
            ``train2014/``
        dataset: ``refcoco``, ``refcoco+`` or ``refcocog``
        split: ``train``, ``val``, ``test``, ``testA`` or ``testB``; ``test`` has ``testA`` and
            ``testB`` in it
        split_by: whose splits; None takes the usual
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures; None takes all

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if a file has another form, or there is no such split
    """
    refs = _read(data, dataset, split, split_by)

    def read(item: tuple[int, list[Entry]]) -> Example | None:
        example = refs.example(item[0])
        if example is None:
            return None
        name = f"picture {item[0]}: ref"
        regions = tuple(each(item[1], lambda r: refs.region(r, example, shape), name, refs.skipped))
        return replace(example, regions=regions) if regions else None

    made = each(refs.by_picture().items(), read, "pictures", refs.skipped)
    examples = tuple(islice(filter(None, made), limit))
    refs.pictures.report()
    classes = tuple(refs.instances.categories.values())
    return RegionSet(f"{dataset}-{split}", examples, classes, tuple(refs.skipped))


def read_refs_expressions(
    data: Path, dataset: str = "refcoco", split: str = "val", split_by: str | None = None
) -> ExpressionSet:
    """Reads the expressions of a split, to choose among all annotated objects of the picture.

    Args:
        data: as in :func:`read_refs_regions`
        dataset: as in :func:`read_refs_regions`
        split: as in :func:`read_refs_regions`
        split_by: as in :func:`read_refs_regions`

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if a file has another form, or there is no such split
    """
    refs = _read(data, dataset, split, split_by)
    proposals = _boxes_by_picture(refs.instances)
    name = f"refs of {dataset}-{split}"
    found = each(refs.refs, lambda ref: list(refs.expressions(ref, proposals)), name, refs.skipped)
    expressions = tuple(expression for group in found for expression in group)
    refs.pictures.report()
    return ExpressionSet(f"{dataset}-{split}", expressions, "annotated", tuple(refs.skipped))


@dataclass(frozen=True)
class _Refs:
    """The references of a split, and what they refer to."""

    instances: Instances
    refs: list[Entry]
    folder: Path
    pictures: Pictures
    skipped: list[str]

    def by_picture(self) -> dict[int, list[Entry]]:
        groups: dict[int, list[Entry]] = defaultdict(list)

        def add(ref: Entry) -> None:
            groups[int(ref["image_id"])].append(ref)

        for _ in each(self.refs, add, "refs", self.skipped):
            pass
        return groups

    def example(self, picture: int) -> Example | None:
        entry = self.instances.images.get(picture)
        if entry is None:
            raise AlphaClipError(f"is of picture {picture}, which instances.json does not have")
        path, (width, height) = inside(self.folder, entry["file_name"]), size_of(entry)
        if not self.pictures.has(path, width, height):
            return None
        return Example(str(picture), path, width, height, ())

    def region(self, ref: Entry, example: Example, shape: Shape) -> LabelledRegion:
        annotation = self.annotation(ref)
        region = annotated_region(annotation, example.width, example.height, shape)
        texts = tuple(dict.fromkeys(_text(sentence) for sentence in ref["sentences"]))
        label = self.instances.categories.get(int(annotation["category_id"]), "")
        return replace(region, id=str(ref["ref_id"]), label=label, texts=texts)

    def expressions(
        self, ref: Entry, proposals: dict[int, tuple[Box, ...]]
    ) -> Iterator[Expression]:
        picture = int(ref["image_id"])
        example, truth = self.example(picture), pixel_box(self.annotation(ref)["bbox"])
        if example is None:
            return
        for sentence in ref["sentences"]:
            key, text = str(sentence["sent_id"]), _text(sentence)
            yield Expression(key, example, text, truth, proposals[picture])

    def annotation(self, ref: Entry) -> Entry:
        key = int(ref["ann_id"])
        if key not in self.instances.annotations:
            raise AlphaClipError(f"refers to object {key}, which instances.json does not have")
        return self.instances.annotations[key]


def _read(data: Path, dataset: str, split: str, split_by: str | None) -> _Refs:
    if dataset not in SPLIT_BY:
        raise AlphaClipError(f"no data set {dataset!r}: expected one of {', '.join(SPLIT_BY)}")
    folder = data / dataset
    path = REFER.require(folder / f"refs({split_by or SPLIT_BY[dataset]}).p")
    instances = read_instances(folder / "instances.json", REFER)
    skipped = instances.skipped
    refs = _of_split(as_list(load_plain_pickle(path), path), split, path, skipped)
    return _Refs(instances, refs, _picture_folder(data), Pictures(skipped), skipped)


def _of_split(refs: list[Any], split: str, path: Path, skipped: list[str]) -> list[Entry]:
    found = list(each(refs, lambda ref: (str(ref["split"]), ref), path.name, skipped))
    names = sorted({name for name, _ in found})
    wanted = [name for name in names if name == split or (split == "test" and name[:4] == "test")]
    if not wanted:
        raise AlphaClipError(f"{path} has no split {split!r}: it has {', '.join(names)[:200]}")
    return [ref for name, ref in found if name in wanted]


def _picture_folder(data: Path) -> Path:
    found = [data / name for name in _PICTURES if (data / name).is_dir()]
    return found[0] if found else REFER.require(data / _PICTURES[0])


def _boxes_by_picture(instances: Instances) -> dict[int, tuple[Box, ...]]:
    groups: dict[int, list[Box]] = defaultdict(list)

    def add(entry: Entry) -> None:
        groups[int(entry["image_id"])].append(pixel_box(entry["bbox"]))

    name = f"{instances.path.name}: annotation"
    for _ in each(instances.annotations.values(), add, name, instances.skipped):
        pass
    return {picture: tuple(boxes) for picture, boxes in groups.items()}


def _text(sentence: Entry) -> str:
    text = str(sentence["raw"]).strip()
    if not text:
        raise AlphaClipError("has an empty sentence")
    return text
