"""Pairs from data sets as they are published: COCO, RefCOCO and Visual Genome.

The readers of the evaluation harness read the files; here each picture becomes an item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from alphaclip.training.datasets.coco import Shape, read_coco
from alphaclip.training.datasets.examples import (
    Example,
    ExpressionSet,
    LabelledRegion,
    RegionSet,
    take_first,
)
from alphaclip.training.datasets.files import each, identifier, read_json, section
from alphaclip.training.datasets.masks import boxed_region
from alphaclip.training.datasets.refcoco import read_reclip, read_refs_regions
from alphaclip.training.datasets.sources import COCO
from alphaclip.training.datasets.visual_genome import read_visual_genome
from alphaclip.training.pairs.format.pictures import read_picture
from alphaclip.training.pairs.format.records import PairPicture, PairRegion, Skipped, to_key
from alphaclip.training.pairs.format.reports import PairsReport
from alphaclip.training.pairs.format.texts import PLAIN, label_texts
from alphaclip.training.pairs.format.writing import PairSettings, Progress, write_pairs

Item: TypeAlias = Example | Skipped


@dataclass(frozen=True)
class ImportedSet:
    """The items of a published data set.

    Attributes:
        name: of the set, such as ``coco-val2017``
        items: pictures, then what the reader left out
        captions: of whole pictures, by the id of the example
        templates: that class names are put into where a region has no description
    """

    name: str
    items: tuple[Item, ...]
    captions: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = PLAIN

    def __post_init__(self) -> None:
        label_texts(self.name, self.templates)

    def make(self, item: Item) -> PairPicture | Skipped:
        """Makes a picture of an item, for `write_pairs`; groups of objects are left out.

        Raises:
            ImageError: if the picture is missing or no picture
        """
        if isinstance(item, Skipped):
            return item
        content, suffix = read_picture(item.path)
        key = to_key(f"{self.name}-{item.id}")
        return PairPicture(
            key,
            content,
            suffix,
            tuple(self._region(region) for region in item.regions if not region.crowd),
            self.captions.get(item.id),
            f"{self.name}/{item.path.name}",
            left_out=tuple(
                Skipped("group of objects", f"{key}: region {region.id!r}")
                for region in item.regions
                if region.crowd
            ),
        )

    def _region(self, region: LabelledRegion) -> PairRegion:
        texts = region.texts or label_texts(region.label, self.templates)
        return PairRegion(region.region, texts, region.label or None, id=region.id)


def write_imported(
    imported: ImportedSet,
    folder: Path,
    settings: PairSettings | None = None,
    progress: Progress | None = None,
) -> PairsReport:
    """Writes the pairs of a published data set, see :func:`write_pairs`."""
    settings = settings or PairSettings()
    made = {**settings.made, "set": imported.name, "templates": list(imported.templates)}
    settings = replace(settings, made=made)
    return write_pairs(imported.items, imported.make, folder, settings, progress, _identity)


def import_coco(
    data: Path,
    split: str = "train2017",
    shape: Shape = "mask",
    limit: int | None = None,
    templates: Sequence[str] = PLAIN,
) -> ImportedSet:
    """COCO's objects; the texts are class names in templates.

    Whole pictures have their first caption where ``annotations/captions_SPLIT.json`` is there.

    Args:
        data, split, shape, limit: as :func:`read_coco` takes them, whose errors are raised
        templates: each with one ``{}``
    """
    regions = read_coco(data, split, shape, limit)
    skipped: list[str] = []
    captions = _read_captions(data / "annotations" / f"captions_{split}.json", skipped)
    regions = replace(regions, skipped=(*regions.skipped, *skipped))
    return ImportedSet(regions.name, _items(regions), captions, tuple(templates))


def import_refcoco(
    data: Path,
    dataset: str = "refcocog",
    split: str = "train",
    split_by: str | None = None,
    shape: Shape = "mask",
    limit: int | None = None,
) -> ImportedSet:
    """Described objects of RefCOCO, RefCOCO+ or RefCOCOg as refer has them (``refs(*).p``).

    Arguments and errors are those of :func:`read_refs_regions`.
    """
    regions = read_refs_regions(data, dataset, split, split_by, shape, limit)
    return ImportedSet(regions.name, _items(regions))


def import_reclip(
    data: Path, dataset: str = "refcocog", split: str = "val", limit: int | None = None
) -> ImportedSet:
    """Described boxes of RefCOCO, RefCOCO+ or RefCOCOg as ReCLIP has them (``jsonl``).

    Arguments and errors are those of :func:`read_reclip`; it has no split ``train``.
    """
    expressions = read_reclip(data, dataset, split, "annotated")
    regions = take_first(_described_boxes(expressions), limit)
    return ImportedSet(regions.name, _items(regions))


def import_visual_genome(data: Path, limit: int | None = None) -> ImportedSet:
    """Visual Genome's described boxes; arguments and errors are :func:`read_visual_genome`'s."""
    regions = read_visual_genome(data, limit)
    return ImportedSet(regions.name, _items(regions))


def _items(regions: RegionSet) -> tuple[Item, ...]:
    return *regions.examples, *(Skipped("not readable", line) for line in regions.skipped)


def _identity(item: Item) -> str:
    if isinstance(item, Skipped):
        return repr(item)
    digest = hashlib.sha256()
    for region in item.regions:
        parts = region.id, region.label, region.texts, region.crowd, region.region.digest()
        digest.update(repr(parts).encode())
    return f"{item.id} {item.path.name} {digest.hexdigest()}"


def _read_captions(path: Path, skipped: list[str]) -> dict[str, str]:
    if not path.exists():
        return {}

    def read(entry: Mapping[str, Any]) -> tuple[str, str]:
        return str(identifier(entry["image_id"])), str(entry["caption"])

    entries = section(read_json(path, COCO), "annotations", path)
    captions: dict[str, str] = {}
    for picture, caption in each(entries, read, path.name, skipped):
        captions.setdefault(picture, caption)
    return captions


def _described_boxes(expressions: ExpressionSet) -> RegionSet:
    """The objects that expressions are about, each with all its texts."""
    ordered = sorted(expressions, key=lambda e: (int(e.example.id), e.truth))
    examples = []
    for _, of_picture in groupby(ordered, key=lambda e: e.example.id):
        regions = []
        for box, group in groupby(of_picture, key=lambda e: e.truth):
            said = list(group)
            example = said[0].example
            region = boxed_region(box, example.width, example.height)
            texts = tuple(dict.fromkeys(expression.text for expression in said))
            regions.append(LabelledRegion(said[0].id, region, box[2] * box[3], texts=texts))
        examples.append(replace(example, regions=tuple(regions)))
    return RegionSet(expressions.name, tuple(examples), (), expressions.skipped)
