"""Reads and writes attributes of many labels at once, each write under a condition.

FiftyOne's own calls would load every label with its mask, and cannot say "only if it still is".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import PATCHABLE, check_field

if TYPE_CHECKING:
    import fiftyone as fo

_PICTURES = 10_000
"""Pictures whose labels are read together."""


@dataclass(frozen=True)
class LabelPath:
    """Where a field's labels are in the documents of the database.

    Attributes:
        field: of the dataset
        root: the path of the list, or of the single label
        is_list: whether it is a list
    """

    field: str
    root: str
    is_list: bool

    @classmethod
    def of(cls, dataset: fo.Dataset, field: str) -> LabelPath:
        """The path of a field.

        Raises:
            FieldError: if the field is gone or holds no regions
        """
        kind = check_field(dataset, field)
        if kind in PATCHABLE:
            return cls(field, f"{field}.{kind.lower()}", True)
        return cls(field, field, False)

    def labels(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The labels in a sample's document."""
        value: Any = document
        for name in self.root.split("."):
            value = (value or {}).get(name)
        if value is None:
            return []
        return list(value) if self.is_list else [value]


def read_labels(
    dataset: fo.Dataset, path: LabelPath, sample_ids: Iterable[str], names: Sequence[str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sample id and raw document of each label of some pictures.

    Args:
        dataset: whose
        path: of the field
        sample_ids: of the pictures
        names: of the attributes to read, with the id; None reads all
    """
    from bson import ObjectId

    wanted = [ObjectId(sample) for sample in dict.fromkeys(sample_ids)]
    shown = [path.root] if names is None else [f"{path.root}.{name}" for name in ("_id", *names)]
    for start in range(0, len(wanted), _PICTURES):
        here = {"_id": {"$in": wanted[start : start + _PICTURES]}}
        for document in dataset._sample_collection.find(here, dict.fromkeys(shown, 1)):
            for label in path.labels(document):
                yield str(document["_id"]), label


@dataclass(frozen=True)
class Write:
    """One change to some labels of one picture.

    Attributes:
        sample_id: of the picture
        label_ids: of the labels
        update: database operators, as ``{"$set": {"label": "cat"}}``; names are of attributes
        only_if: what must hold of a label: attribute to value or database expression
    """

    sample_id: str
    label_ids: tuple[str, ...]
    update: Mapping[str, Mapping[str, Any]]
    only_if: Mapping[str, Any]


def write_labels(dataset: fo.Dataset, path: LabelPath, writes: Sequence[Write]) -> None:
    """Changes labels in one bulk write, in order; those that do not fulfil the condition stay."""
    if writes:
        operations = [_operation(path, write) for write in writes]
        write_samples(dataset, operations, [write.sample_id for write in writes])


def write_samples(dataset: fo.Dataset, operations: list[Any], sample_ids: Sequence[str]) -> None:
    """Runs database operations in order; samples that this process holds are read again."""
    if operations:
        dataset._bulk_write(operations, ids=list(dict.fromkeys(sample_ids)), ordered=True)


def grouped(rows: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Label ids by sample id, from pairs of sample id and label id."""
    ordered = sorted(set(rows))
    return {
        sample: tuple(label for _, label in pairs)
        for sample, pairs in groupby(ordered, key=lambda row: row[0])
    }


def touched() -> dict[str, datetime]:
    """What every write sets on its samples: FiftyOne caches by it."""
    return {"last_modified_at": datetime.utcnow()}


def _operation(path: LabelPath, write: Write) -> Any:
    from bson import ObjectId
    from pymongo import UpdateOne

    among = {"$in": [ObjectId(label) for label in write.label_ids]}
    stem = f"{path.root}.$[label]" if path.is_list else path.root
    update: dict[str, dict[str, Any]] = {
        operator: {f"{stem}.{name}": value for name, value in values.items()}
        for operator, values in write.update.items()
    }
    update.setdefault("$set", {}).update(touched())
    sample = {"_id": ObjectId(write.sample_id)}
    if path.is_list:
        wanted = {f"label.{name}": value for name, value in write.only_if.items()}
        filters: list[Mapping[str, Any]] = [{"label._id": among, **wanted}]
        return UpdateOne(sample, update, array_filters=filters)
    wanted = {f"{path.root}.{name}": value for name, value in write.only_if.items()}
    return UpdateOne({**sample, f"{path.root}._id": among, **wanted}, update)
