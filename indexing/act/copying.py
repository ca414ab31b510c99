"""Copies the regions of hits into another label field, under classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.act.actions import (
    Action,
    Change,
    Undone,
    begin,
    changes_of,
    documents_of,
    keep_documents,
    made_for,
)
from alphaclip.indexing.dataset.bulk_writes import read_labels, touched, write_samples
from alphaclip.indexing.dataset.labels import FieldError, LabelPath, check_field, is_of_frames
from alphaclip.indexing.dataset.schema import check_name, declare, undeclare
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo

GEOMETRY = ("bounding_box", "mask", "mask_path", "points", "closed", "filled")
SOURCE = "source_id"


@dataclass(frozen=True)
class CopyField:
    """A field for copies, as it is before anything is written.

    Attributes:
        name: of the field
        kind: FiftyOne's class of its values
        attributes: of the copies: name to FiftyOne's class of field
        is_new: whether the dataset has it not
        missing: those of the attributes that are not declared
    """

    name: str
    kind: str
    attributes: Mapping[str, str]
    is_new: bool
    missing: tuple[str, ...]

    @classmethod
    def of(cls, hits: Hits, into: str, details: Mapping[str, str]) -> CopyField:
        """Checks a field; changes nothing.

        Args:
            hits: to be copied; of none, every field will do
            into: the field
            details: further attributes of the copies: name to FiftyOne's class of field

        Raises:
            FieldError: if the field cannot hold the copies
        """
        dataset, sources = hits.dataset, set(map(str, hits.fields))
        for source in sources:
            check_copied(source)
        check_name(into)
        kinds = {check_field(dataset, source).rstrip("s") + "s" for source in sources}
        if len(kinds) > 1:
            raise FieldError(
                f"the hits are boxes and polylines (fields {', '.join(sorted(sources))}): one "
                "field cannot hold both; label the hits of each field by themselves"
            )
        if into in sources:
            raise FieldError(
                f"into is {into!r}, the hits' own field: name another, or leave it out"
            )
        kind = next(iter(kinds), "Detections")
        is_new = dataset.get_field(into) is None
        if not is_new and kinds and check_field(dataset, into) != kind:
            raise FieldError(
                f"field {into!r} holds {check_field(dataset, into)}, the copies are {kind}: choose "
                "another field"
            )
        own = {SOURCE: "StringField", "score": "FloatField", **details}
        paths = {name: f"{into}.{kind.lower()}.{name}" for name in own}
        missing = [name for name, path in paths.items() if is_new or not dataset.has_field(path)]
        return cls(into, kind, own, is_new, tuple(missing))

    def declare(self, dataset: fo.Dataset) -> None:
        """Makes the field, and declares what is missing."""
        import fiftyone as fo

        if self.is_new:
            cls = getattr(fo, self.kind)
            dataset.add_sample_field(self.name, fo.EmbeddedDocumentField, embedded_doc_type=cls)
        stem = f"{self.name}.{self.kind.lower()}"
        declare(dataset, {f"{stem}.{name}": field for name, field in self.attributes.items()})


def check_copied(field: str) -> None:
    """Checks that labels of a field can be copied.

    Raises:
        FieldError: if they are in frames of videos
    """
    if is_of_frames(field):
        raise FieldError(
            f"labels of frames are not copied: write where they are, as '{field}.auto_label', or "
            "make a dataset of the frames by dataset.to_frames(sample_frames=True).clone()"
        )


def copy_labels(hits: Hits, label: str, into: str) -> Action:
    """Copies the region of each hit that has no copy there; see
    :func:`alphaclip.indexing.act.acting.label`.

    Raises:
        FieldError: if the field cannot hold the copies
    """
    field = CopyField.of(hits, into, {})
    copied = {(sample, copy.get(SOURCE)) for sample, copy in copies_in(hits, field)}
    scores = zip(hits.region_ids, hits.scores.tolist(), strict=True)
    new = {
        region: {"label": label, "score": score} for region, score in scores if region not in copied
    }
    return write_copies(hits, new, field, {"label": label})


def write_copies(
    hits: Hits,
    new: Mapping[tuple[str, str], Mapping[str, Any]],
    into: CopyField,
    detail: Mapping[str, Any],
    replaced: Sequence[tuple[str, dict[str, Any]]] = (),
    key: str | None = None,
) -> Action:
    """Writes copies of hits, and takes others away, in one action.

    Of a region that another process has copied there in the meantime, no second copy is made.

    Args:
        hits: whose regions
        new: the sample id and label id of each hit to copy, to the attributes of the copy
        into: the field
        detail: of the action: what is worth keeping beside the field
        replaced: sample id and document of each copy that goes
        key (None): see :func:`alphaclip.indexing.act.actions.begin`
    """
    dataset, made = hits.dataset, made_for(hits.dataset, into.name)
    copies = list(_copies(hits, new)) if new else []
    changes = [Change(into.name, sample, str(copy["_id"]), digest(copy)) for sample, copy in copies]
    hit_count = len(set(zip(hits.fields.tolist(), hits.region_ids, strict=True)))
    detail = {
        **detail,
        "into": into.name,
        "made_field": into.is_new or made.field,
        "made": list(dict.fromkeys([*into.missing, *made.attributes])),
    }
    action = begin(dataset, "copy", changes, hit_count - len(copies), detail, key=key)
    keep_documents(dataset, action, replaced)
    if not copies and not replaced:
        return action
    into.declare(dataset)
    path = LabelPath.of(dataset, into.name)
    _swap(dataset, path, replaced, copies)
    there = read_labels(dataset, path, (sample for sample, _ in copies), ())
    ids = {str(label["_id"]) for _, label in there}
    written = [change for change in changes if change.label_id in ids]
    if len(written) == len(changes):
        return action
    return begin(dataset, "copy", written, hit_count - len(written), detail, key=action.id)


def copies_in(hits: Hits, into: CopyField) -> list[tuple[str, dict[str, Any]]]:
    """Sample id and raw document of each copy that is in a field, in the pictures of hits."""
    if into.is_new or not len(hits):
        return []
    path = LabelPath.of(hits.dataset, into.name)
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
    else:
        undeclare(dataset, path, action.detail.get("made", ()))
    return Undone(len(still), len(changes) - len(still))


def digest(label: Mapping[str, Any]) -> str:
    """Of all that a label holds but nothing, in whatever order it is written."""
    content = hashlib.sha256()
    for name in sorted(label):
        if label[name] not in (None, []):
            content.update(repr((name, label[name])).encode("utf-8", "surrogatepass"))
    return content.hexdigest()[:32]


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
    """Takes labels away, as far as they still have their class, and adds copies of regions that
    have none there."""
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
    kind = path.root.rpartition(".")[2].capitalize()
    # Where there is null in place of a list, it is a list from now on
    there = {"$ifNull": [f"${path.root}", []]}
    copied = {"$ifNull": [f"${path.root}.{SOURCE}", []]}
    for sample, labels in coming.items():
        is_new = {"$not": {"$in": [f"$$this.{SOURCE}", copied]}}
        added = {"$filter": {"input": {"$literal": labels}, "cond": is_new}}
        both = {"$concatArrays": [there, added]}
        changed = {f"{path.field}._cls": kind, path.root: both, **touched()}
        operations.append(UpdateOne({"_id": ObjectId(sample)}, [{"$set": changed}]))
    write_samples(dataset, operations, [*(sample for sample, _ in going), *coming])
