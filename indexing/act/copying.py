"""Copies the regions of hits into another label field, under classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.act.actions import (
    Action,
    Change,
    Undone,
    begin,
    changes_of,
    documents_of,
    keep_documents,
)
from alphaclip.indexing.dataset.bulk_writes import LabelPath, read_labels, touched, write_samples
from alphaclip.indexing.dataset.labels import FieldError, check_field
from alphaclip.indexing.dataset.schema import check_name, declare
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo

GEOMETRY = ("bounding_box", "mask", "mask_path", "points", "closed", "filled")
SOURCE = "source_id"


def copy_labels(hits: Hits, label: str, into: str) -> Action:
    """Copies the region of each hit that has no copy there; see
    :func:`alphaclip.indexing.act.acting.label`.

    Raises:
        FieldError: if the field cannot hold the copies
    """
    made_field = prepare_field(hits, into, {})
    copied = {(sample, copy.get(SOURCE)) for sample, copy in copies_in(hits, into)}
    scores = zip(hits.region_ids, hits.scores.tolist(), strict=True)
    new = {
        region: {"label": label, "score": score} for region, score in scores if region not in copied
    }
    detail = {"label": label, "into": into, "made_field": made_field}
    return write_copies(hits, new, into, detail)


def write_copies(
    hits: Hits,
    new: Mapping[tuple[str, str], Mapping[str, Any]],
    into: str,
    detail: Mapping[str, Any],
    replaced: Sequence[tuple[str, dict[str, Any]]] = (),
    key: str | None = None,
) -> Action:
    """Writes copies of hits, and takes others away, in one action.

    Args:
        hits: whose regions
        new: the sample id and label id of each hit to copy, to the attributes of the copy
        into: a field, from :func:`prepare_field`; where there are no hits, it may be missing
        detail: of the action: ``into`` and ``made_field``, and what else is worth keeping
        replaced: sample id and document of each copy that goes
        key (None): see :func:`alphaclip.indexing.act.actions.begin`
    """
    dataset = hits.dataset
    copies = list(_copies(hits, new)) if new else []
    changes = [Change(into, sample, str(copy["_id"]), digest(copy)) for sample, copy in copies]
    left = len(set(zip(hits.fields.tolist(), hits.region_ids, strict=True))) - len(copies)
    action = begin(dataset, "copy", changes, left, detail, key=key)
    keep_documents(dataset, action, replaced)
    if copies or replaced:
        _swap(dataset, LabelPath.of(dataset, into), replaced, copies)
    return action


def copies_in(hits: Hits, into: str) -> list[tuple[str, dict[str, Any]]]:
    """Sample id and raw document of each copy that is in a field, in the pictures of hits."""
    if not len(hits):
        return []
    path = LabelPath.of(hits.dataset, into)
    return list(read_labels(hits.dataset, path, hits.sample_ids.tolist(), None))


def undo_copies(dataset: fo.Dataset, action: Action) -> Undone:
    """Removes the copies that are as they were made, and puts back those that they replaced; the
    field goes too, if it was made for them."""
    into, changes = action.detail["into"], changes_of(dataset, action)
    if into not in dataset.get_field_schema():
        return Undone(0, len(changes))
    path = LabelPath.of(dataset, into)
    made = {(row.sample_id, row.label_id): row.before for row in changes}
    labels = list(read_labels(dataset, path, (row.sample_id for row in changes), None))
    still = [(s, label) for s, label in labels if made.get((s, str(label["_id"]))) == digest(label)]
    edited = {(s, one.get(SOURCE)) for s, one in labels}
    edited -= {(s, one.get(SOURCE)) for s, one in still}
    there = {(s, one["_id"]) for s, one in labels}
    back = [
        (s, one)
        for s, one in documents_of(dataset, action)
        if (s, one.get(SOURCE)) not in edited and (s, one["_id"]) not in there
    ]
    _swap(dataset, path, still, back)
    if action.detail["made_field"] and not dataset.count(path.root):
        dataset.delete_sample_field(into)
    return Undone(len(still), len(changes) - len(still))


def digest(label: Mapping[str, Any]) -> str:
    """Of all that a label holds but nothing, in whatever order it is written."""
    content = hashlib.sha256()
    for name in sorted(label):
        if label[name] not in (None, []):
            content.update(repr((name, label[name])).encode("utf-8", "surrogatepass"))
    return content.hexdigest()[:32]


def prepare_field(hits: Hits, into: str, details: Mapping[str, str]) -> bool:
    """Makes the field for the copies if need be; says whether it did.

    Args:
        hits: to be copied
        into: the field
        details: further attributes of the copies: name to FiftyOne's class of field

    Raises:
        FieldError: if the field cannot hold the copies
    """
    import fiftyone as fo

    dataset, sources = hits.dataset, set(map(str, hits.fields))
    check_name(into)
    kinds = {check_field(dataset, source).rstrip("s") + "s" for source in sources}
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
    own = {SOURCE: "StringField", "score": "FloatField", **details}
    declare(dataset, {f"{into}.{kind.lower()}.{name}": field for name, field in own.items()})
    return is_new


def _copies(
    hits: Hits, new: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """Sample id and document of each copy to make, in the order of the hits."""
    from bson import ObjectId

    samples, sources = hits.sample_ids.tolist(), {}
    for field in dict.fromkeys(map(str, hits.fields)):
        path = LabelPath.of(hits.dataset, field)
        for sample, source in read_labels(hits.dataset, path, samples, None):
            sources[field, (sample, str(source["_id"]))] = source
    for where in dict.fromkeys(zip(hits.fields.tolist(), hits.region_ids, strict=True)):
        region = where[1]
        if where in sources and region in new:
            source = sources[where]
            shape = {name: source[name] for name in GEOMETRY if name in source}
            own = {"_id": ObjectId(), "_cls": source["_cls"], "tags": [], SOURCE: region[1]}
            yield region[0], {**own, **new[region], **shape}


def _swap(
    dataset: fo.Dataset,
    path: LabelPath,
    old: Sequence[tuple[str, dict[str, Any]]],
    new: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    """Takes labels away, as far as they still have their class, and adds others."""
    from bson import ObjectId
    from pymongo import UpdateOne

    operations: list[Any] = []
    going: dict[tuple[str, str | None], list[Any]] = {}
    for sample, label in old:
        going.setdefault((sample, label.get("label")), []).append(label["_id"])
    for (sample, name), ids in going.items():
        those = {path.root: {"_id": {"$in": ids}, "label": name}}
        update = {"$pull": those, "$set": touched()}
        operations.append(UpdateOne({"_id": ObjectId(sample)}, update))
    coming: dict[str, list[dict[str, Any]]] = {}
    for sample, label in new:
        coming.setdefault(sample, []).append(label)
    name = path.root.rpartition(".")[2]
    empty = {"$set": {path.field: {"_cls": name.capitalize(), name: []}}}
    for sample, labels in coming.items():
        # $push fails where there is null in place of a list
        operations.append(UpdateOne({"_id": ObjectId(sample), path.field: None}, empty))
        update = {"$push": {path.root: {"$each": labels}}, "$set": touched()}
        operations.append(UpdateOne({"_id": ObjectId(sample)}, update))
    write_samples(dataset, operations, [*(sample for sample, _ in going), *coming])
