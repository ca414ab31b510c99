"""Acts on hits: tags, labels and saved views, each of which can be taken back.

Public: :func:`tag`, :func:`tag_samples`, :func:`label`, :func:`save_view`, :func:`export_ids`,
:func:`undo`, :func:`history`, :class:`Action` and :class:`Undone`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import (
    Action,
    Change,
    Undone,
    begin,
    changes_of,
    check_text,
    find_action,
    history,
    mark_undone,
)
from alphaclip.indexing.act.attribute_writes import undo_attributes
from alphaclip.indexing.act.copying import copy_labels, undo_copies
from alphaclip.indexing.act.saved_views import save_view, undo_view
from alphaclip.indexing.dataset.attributes import check_attribute
from alphaclip.indexing.dataset.bulk_writes import (
    attribute_writes,
    read_labels,
    same_writes,
    write_labels,
)
from alphaclip.indexing.dataset.labels import TAGS, LabelPath, images_of
from alphaclip.indexing.dataset.schema import check_attribute as check_writable
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np

__all__ = [
    "Action",
    "Undone",
    "export_ids",
    "history",
    "label",
    "save_view",
    "tag",
    "tag_samples",
    "undo",
]


@checked()
def tag(hits: Hits, tag: str) -> Action:
    """Adds a tag to the label of each hit, in one bulk write for each field.

    Labels that have the tag stay as they are, and keep it when the action is taken back.

    Args:
        hits: ``len(hits)`` says how many before
        tag: to add

    Returns:
        what was done, for :func:`undo`

    Raises:
        AlphaClipError: if the tag is empty, or a field is gone
    """
    return _add_tag(hits.dataset, "tag", _rows(hits), tag)


class OfPictures(Protocol):
    """Hits that are regions, or pictures as a whole."""

    @property
    def sample_ids(self) -> np.ndarray: ...
    @property
    def dataset(self) -> fo.Dataset: ...


@checked()
def tag_samples(hits: OfPictures, tag: str) -> Action:
    """Adds a tag to the picture of each hit; see :func:`tag`. It counts pictures.

    Args:
        hits: of which each picture counts once
        tag: to add

    Raises:
        AlphaClipError: if the tag is empty, or they are of videos
    """
    images_of(hits.dataset)  # Frames of videos have no tags
    rows = [Change(TAGS, sample, "") for sample in dict.fromkeys(hits.sample_ids.tolist())]
    return _add_tag(hits.dataset, "tag_samples", rows, tag)


@checked()
def label(
    hits: Hits,
    label: str,
    into: str | None = None,
    overwrite: bool = False,
    attribute: str = "label",
) -> Action:
    """Gives each hit a class: its own label, or a copy in another field.

    A label that has a class keeps it unless that is asked for.

    Args:
        hits: ``len(hits)`` says how many before
        label: the class
        into (None): a field, made if need be, that gets a copy of each hit's box, mask or points
            with the class, ``source_id`` (the hit's label id) and ``score``; a hit that has a
            copy there is left. None sets the hit's own class
        overwrite (False): also where the hit's own label has a class; not for ``into``
        attribute ("label"): of the hits' own labels, that holds the class; not for ``into``

    Returns:
        what was done, for :func:`undo`; ``left`` counts the hits that kept what they had

    Raises:
        AlphaClipError: if the class is empty, a field or attribute is gone or does not fit, or
            ``overwrite`` or ``attribute`` is given with ``into``
    """
    check_text("label", label)
    if into is not None:
        if overwrite or attribute != "label":
            name = "overwrite" if overwrite else "attribute"
            raise AlphaClipError(f"{name} is for the hits' own labels: leave it out with into")
        return copy_labels(hits, label, into)
    rows = _rows(hits)
    if attribute != "label":
        for field in {row.field for row in rows}:
            check_attribute(hits.dataset, field, attribute)
            check_writable(hits.dataset, field, attribute, "StringField")
    changes = [
        row._replace(before=old)
        for row, old in _values(hits.dataset, rows, attribute).items()
        if old != label and (overwrite or old in (None, ""))
    ]
    detail = {"label": label, "overwrite": overwrite, "attribute": attribute}
    action = begin(hits.dataset, "label", changes, len(rows) - len(changes), detail)
    for path, here in _by_field(hits.dataset, changes):
        writes = attribute_writes(
            (row.sample_id, row.label_id, {attribute: label}, {attribute: row.before})
            for row in here
        )
        write_labels(hits.dataset, path, writes)
    return action


@checked()
def export_ids(hits: Hits) -> str:
    """The hits as JSON text: dataset, count, and each hit's ids, field and score, best first."""
    columns = (hits.sample_ids, hits.label_ids, hits.fields, hits.scores)
    rows = [
        {"sample_id": sample, "label_id": label, "field": field, "score": round(score, 6)}
        for sample, label, field, score in zip(*(c.tolist() for c in columns), strict=True)
    ]
    listing = {"dataset": hits.dataset.name, "count": len(hits), "hits": rows}
    return json.dumps(listing, indent=1)


@checked()
def undo(dataset: fo.Dataset, action: Action | str) -> Undone:
    """Takes back what an action changed, and nothing else.

    What somebody has edited since stays as it is and is counted. An undo that was cut off goes on
    when it is run again.

    Args:
        dataset: on which it was done
        action: or its id

    Raises:
        AlphaClipError: if the dataset has no such action, it was taken back already, or the field
            is gone
    """
    done = find_action(dataset, action)
    if done.undone:
        raise AlphaClipError(f"this {done.kind} of {done.made_at} was taken back already")
    undone = _UNDO[done.kind](dataset, done)
    mark_undone(dataset, done)
    return undone


def _add_tag(
    dataset: fo.Dataset, kind: Literal["tag", "tag_samples"], rows: Sequence[Change], tag: str
) -> Action:
    """Tags labels or pictures that are there and have it not."""
    check_text("tag", tag)
    tags = _values(dataset, rows, "tags")
    changes = [row for row, having in tags.items() if tag not in (having or [])]
    action = begin(dataset, kind, changes, len(rows) - len(changes), {"tag": tag})
    for path, here in _by_field(dataset, changes):
        # $addToSet fails where there is null in place of a list
        empty = [row[1:3] for row in here if tags[row] is None]
        writes = same_writes(empty, {"$set": {"tags": []}}, {"tags": None})
        tagged = {"$addToSet": {"tags": tag}}
        writes += same_writes((row[1:3] for row in here), tagged, {"tags": {"$ne": tag}})
        write_labels(dataset, path, writes)
    return action


def _undo_tag(dataset: fo.Dataset, action: Action) -> Undone:
    tag, changes = action.detail["tag"], changes_of(dataset, action)
    tags = _values(dataset, changes, "tags")
    still = [row for row in changes if tag in (tags.get(row) or [])]
    for path, here in _by_field(dataset, still):
        pulled = {"$pull": {"tags": tag}}
        write_labels(dataset, path, same_writes((row[1:3] for row in here), pulled, {"tags": tag}))
    return Undone(len(still), len(changes) - len(still))


def _undo_label(dataset: fo.Dataset, action: Action) -> Undone:
    label, changes = action.detail["label"], changes_of(dataset, action)
    # Earlier versions only wrote classes
    attribute = action.detail.get("attribute", "label")
    classes = _values(dataset, changes, attribute)
    still = [row for row in changes if classes.get(row) == label]
    for path, here in _by_field(dataset, still):
        writes = attribute_writes(
            (row.sample_id, row.label_id, {attribute: row.before}, {attribute: label})
            for row in here
        )
        write_labels(dataset, path, writes)
    return Undone(len(still), len(changes) - len(still))


_UNDO: dict[str, Callable[[Any, Action], Undone]] = {
    "tag": _undo_tag,
    "tag_samples": _undo_tag,
    "label": _undo_label,
    "copy": undo_copies,
    "attribute": undo_attributes,
    "save_view": undo_view,
}


def _rows(hits: Hits) -> list[Change]:
    """Each label of some hits once."""
    columns = (hits.fields.tolist(), hits.sample_ids.tolist(), hits.label_ids.tolist())
    return [Change(*key) for key in dict.fromkeys(zip(*columns, strict=True))]


def _values(dataset: fo.Dataset, rows: Sequence[Change], attribute: str) -> dict[Change, Any]:
    """The value that an attribute has now of each label or picture that is there; None for none."""
    values = {}
    for path, here in _by_field(dataset, rows):
        labels = read_labels(dataset, path, (row.sample_id for row in here), [attribute])
        now = {(sample, str(label["_id"])): label.get(attribute) for sample, label in labels}
        keys = ((row, (row.sample_id, row.label_id or row.sample_id)) for row in here)
        values.update({row: now[key] for row, key in keys if key in now})
    return values


def _by_field(
    dataset: fo.Dataset, changes: Sequence[Change]
) -> list[tuple[LabelPath, list[Change]]]:
    fields: dict[str, list[Change]] = {}
    for change in changes:
        fields.setdefault(change.field, []).append(change)
    return [(LabelPath.of(dataset, field), rows) for field, rows in fields.items()]
