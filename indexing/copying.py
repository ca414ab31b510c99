"""Copies the regions of hits into another label field, under a class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.actions import Action, Change, Undone, begin, changes_of
from alphaclip.indexing.hits import Hits
from alphaclip.indexing.label_writes import LabelPath, grouped, read_labels, touched, write_samples
from alphaclip.indexing.labels import FieldError, check_field
from alphaclip.indexing.mask_fields import check_name

if TYPE_CHECKING:
    import fiftyone as fo

LISTS = {
    "Detections": "Detections",
    "Detection": "Detections",
    "Polylines": "Polylines",
    "Polyline": "Polylines",
}
"""The class of a field that can hold copies of a field's labels."""

GEOMETRY = ("bounding_box", "mask", "mask_path", "points", "closed", "filled")
SOURCE = "source_id"


def copy_labels(hits: Hits, label: str, into: str) -> Action:
    """Copies the region of each hit that has no copy there; see
    :func:`alphaclip.indexing.acting.label`.

    Raises:
        FieldError: if the field cannot hold the copies
    """
    dataset = hits.dataset
    made_field = _prepare(dataset, into, set(map(str, hits.fields)))
    path = LabelPath.of(dataset, into)
    copies = [] if not len(hits) else list(_copies(hits, label, path))
    changes = [Change(into, sample, str(copy["_id"]), _digest(copy)) for sample, copy in copies]
    left = len(set(hits.label_ids.tolist())) - len(copies)
    detail = {"label": label, "into": into, "made_field": made_field}
    action = begin(dataset, "copy", changes, left, detail)
    by_sample: dict[str, list[dict[str, Any]]] = {}
    for sample, copy in copies:
        by_sample.setdefault(sample, []).append(copy)
    operations = [op for sample, docs in by_sample.items() for op in _push(path, sample, docs)]
    write_samples(dataset, operations, list(by_sample))
    return action


def undo_copies(dataset: fo.Dataset, action: Action) -> Undone:
    """Removes the copies that are as they were made; the field too, if it was made for them."""
    into, changes = action.detail["into"], changes_of(dataset, action)
    if into not in dataset.get_field_schema():
        return Undone(0, len(changes))
    path = LabelPath.of(dataset, into)
    made = {row.label_id: row.before for row in changes}
    labels = read_labels(dataset, path, (row.sample_id for row in changes), None)
    still = {
        str(label["_id"])
        for _, label in labels
        if str(label["_id"]) in made and made[str(label["_id"])] == _digest(label)
    }
    pairs = grouped((row.sample_id, row.label_id) for row in changes if row.label_id in still)
    label = action.detail["label"]
    operations = [op for sample, ids in pairs.items() for op in _pull(path, sample, ids, label)]
    write_samples(dataset, operations, list(pairs))
    if action.detail["made_field"] and not dataset.count(path.root):
        dataset.delete_sample_field(into)
    return Undone(len(still), len(changes) - len(still))


def _prepare(dataset: fo.Dataset, into: str, sources: set[str]) -> bool:
    """Makes the field for the copies if need be; says whether it did."""
    import fiftyone as fo

    check_name(into)
    kinds = {LISTS[check_field(dataset, source)] for source in sources}
    if len(kinds) > 1:
        raise FieldError(
            f"the hits are boxes and polylines (fields {', '.join(sorted(sources))}): one field "
            "cannot hold both; label the hits of each field by themselves"
        )
    if into in sources:
        raise FieldError(f"into is {into!r}, the hits' own field: name another, or leave it out")
    is_new = dataset.get_field(into) is None
    kind = next(iter(kinds), "Detections")
    if is_new:
        cls = getattr(fo, kind)
        dataset.add_sample_field(into, fo.EmbeddedDocumentField, embedded_doc_type=cls)
    elif check_field(dataset, into) != kind:
        raise FieldError(
            f"field {into!r} holds {check_field(dataset, into)}, the copies are {kind}: choose "
            "another field"
        )
    dataset.add_sample_field(f"{into}.{kind.lower()}.{SOURCE}", fo.StringField)
    dataset.add_sample_field(f"{into}.{kind.lower()}.score", fo.FloatField)
    return is_new


def _copies(hits: Hits, label: str, path: LabelPath) -> Iterable[tuple[str, dict[str, Any]]]:
    """Sample id and document of each copy to make, in the order of the hits."""
    dataset, samples = hits.dataset, hits.sample_ids.tolist()
    there = read_labels(dataset, path, samples, [SOURCE])
    taken = {copy.get(SOURCE) for _, copy in there}
    sources = {}
    for field in dict.fromkeys(map(str, hits.fields)):
        for sample, source in read_labels(dataset, LabelPath.of(dataset, field), samples, None):
            sources[str(source["_id"])] = (sample, source)
    for label_id, score in zip(hits.label_ids.tolist(), hits.scores.tolist(), strict=True):
        if label_id in sources and label_id not in taken:
            taken.add(label_id)
            sample, source = sources[label_id]
            yield sample, _document(source, label, label_id, score)


def _document(source: dict[str, Any], label: str, label_id: str, score: float) -> dict[str, Any]:
    from bson import ObjectId

    shape = {name: source[name] for name in GEOMETRY if name in source}
    named = {"label": label, "tags": [], SOURCE: label_id, "score": score}
    return {"_id": ObjectId(), "_cls": source["_cls"], **named, **shape}


def _digest(label: dict[str, Any]) -> str:
    """Of all that a label holds but nothing, in whatever order it is written."""
    content = hashlib.sha256()
    for name in sorted(label):
        if label[name] not in (None, []):
            content.update(repr((name, label[name])).encode("utf-8", "surrogatepass"))
    return content.hexdigest()[:32]


def _push(path: LabelPath, sample: str, copies: Sequence[dict[str, Any]]) -> list[Any]:
    """Adds copies to a picture, whether or not it has a list of labels."""
    from bson import ObjectId
    from pymongo import UpdateOne

    this, name = {"_id": ObjectId(sample)}, path.root.rpartition(".")[2]
    empty = {"_cls": name.capitalize(), name: []}
    return [
        UpdateOne({**this, path.field: None}, {"$set": {path.field: empty}}),
        UpdateOne(this, {"$push": {path.root: {"$each": list(copies)}}, "$set": touched()}),
    ]


def _pull(path: LabelPath, sample: str, label_ids: Sequence[str], label: str) -> list[Any]:
    from bson import ObjectId
    from pymongo import UpdateOne

    those = {"_id": {"$in": [ObjectId(label_id) for label_id in label_ids]}, "label": label}
    this = {"_id": ObjectId(sample)}
    return [UpdateOne(this, {"$pull": {path.root: those}, "$set": touched()})]
