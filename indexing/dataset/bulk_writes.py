"""Reads and writes attributes of many labels at once, each write under a condition.

FiftyOne's own calls would load every label with its mask, and cannot say "only if it still is".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import LabelPath

if TYPE_CHECKING:
    import fiftyone as fo

_PICTURES = 10_000
"""Pictures whose labels are read together: a question to the database has 16 MB at most, and an id
takes some 20 bytes of it; all labels of so many pictures fit the memory."""


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


Row = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]
"""Sample id and label id of a label, attributes to set (None: to remove), and as they are."""


def read_labels(
    dataset: fo.Dataset, path: LabelPath, sample_ids: Iterable[str], names: Sequence[str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sample id and raw document of each label of some pictures; a frame's own id is its sample id.

    Args:
        dataset: whose
        path: of the field
        sample_ids: of the pictures
        names: of the attributes to read, with the id; None reads all
    """
    from bson import ObjectId

    samples = [ObjectId(sample) for sample in dict.fromkeys(sample_ids)]
    paths = [path.root] if names is None else [path.to(name) for name in ("_id", *names)]
    for start in range(0, len(samples), _PICTURES):
        here = {"_id": {"$in": samples[start : start + _PICTURES]}}
        for document in path.collection(dataset).find(here, dict.fromkeys(paths, 1)):
            for label in path.labels(document):
                yield str(document["_id"]), label


def same_writes(
    rows: Iterable[tuple[str, str]], update: Mapping[str, Any], only_if: Mapping[str, Any]
) -> list[Write]:
    """The same change to labels of many pictures, from pairs of sample id and label id."""
    ordered = sorted(set(rows))
    return [
        Write(sample, tuple(label for _, label in pairs), update, only_if)
        for sample, pairs in groupby(ordered, key=lambda row: row[0])
    ]


def attribute_writes(rows: Iterable[Row]) -> list[Write]:
    """Sets attributes of labels, each where its first attribute is still as it was read."""
    alike: dict[str, list[tuple[str, str]]] = {}
    changes = {}
    for sample, label, new, old in rows:
        first = next(iter(new))
        only_if = {first: old.get(first)}
        update = {
            "$set": {name: value for name, value in new.items() if value is not None},
            "$unset": {name: "" for name, value in new.items() if value is None},
        }
        filled = {operator: values for operator, values in update.items() if values}
        key = repr((filled, only_if))
        alike.setdefault(key, []).append((sample, label))
        changes[key] = filled, only_if
    return [write for key, same in alike.items() for write in same_writes(same, *changes[key])]


def write_labels(dataset: fo.Dataset, path: LabelPath, writes: Sequence[Write]) -> None:
    """Changes labels in one bulk write, in order; those that do not fulfil the condition stay."""
    operations = [_operation(path, write) for write in writes]
    write_samples(dataset, operations, [write.sample_id for write in writes], path.of_frames)


def write_samples(
    dataset: fo.Dataset, operations: list[Any], sample_ids: Sequence[str], of_frames: bool = False
) -> None:
    """Runs database operations on samples, or on frames, in order; those that this process holds
    are read again."""
    if operations:
        held = sample_ids if of_frames else ()
        dataset._bulk_write(operations, ids=held, frames=of_frames, ordered=True)
        if not of_frames:
            _read_held(dataset, sample_ids)


def _read_held(dataset: fo.Dataset, sample_ids: Iterable[str]) -> None:
    """Reads samples again that this process holds, many at once: FiftyOne's own way, ``ids``, puts
    a question of each to the database and compares all values, which costs several times more."""
    import fiftyone as fo
    from bson import ObjectId

    held = fo.Sample._instances.get(dataset._sample_collection_name, {})
    ids = [ObjectId(one) for one in dict.fromkeys(sample_ids) if one in held]
    for start in range(0, len(ids), _PICTURES):
        here = {"_id": {"$in": ids[start : start + _PICTURES]}}
        for document in dataset._sample_collection.find(here):
            sample = held.get(str(document["_id"]))
            if sample is not None:
                sample._doc = dataset._sample_dict_to_doc(document)


def touched() -> dict[str, datetime]:
    """What every write sets on its samples: FiftyOne caches by it."""
    return {"last_modified_at": datetime.utcnow()}


def _operation(path: LabelPath, write: Write) -> Any:
    from bson import ObjectId
    from pymongo import UpdateOne

    at = replace(path, root=f"{path.root}.$[label]", is_list=False) if path.is_list else path
    update: dict[str, dict[str, Any]] = {
        operator: {at.to(name): value for name, value in values.items()}
        for operator, values in write.update.items()
    }
    update.setdefault("$set", {}).update(touched())
    sample = {"_id": ObjectId(write.sample_id)}
    condition = dict(write.only_if)
    if path.root:
        condition["_id"] = {"$in": [ObjectId(label) for label in write.label_ids]}
    if path.is_list:
        filters: list[Mapping[str, Any]] = [{f"label.{n}": value for n, value in condition.items()}]
        return UpdateOne(sample, update, array_filters=filters)
    return UpdateOne({path.to(name): value for name, value in condition.items()} | sample, update)
