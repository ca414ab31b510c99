"""Acts on hits: tags, labels and saved views, each of which can be taken back.

Public: :func:`tag`, :func:`tag_samples`, :func:`label`, :func:`save_view`, :func:`export_ids`,
:func:`undo`, :func:`history`, :class:`Action` and :class:`Undone`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

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
from alphaclip.indexing.act.sample_tags import tag_samples, undo_sample_tags
from alphaclip.indexing.act.saved_views import save_view, undo_view
from alphaclip.indexing.dataset.bulk_writes import (
    LabelPath,
    Write,
    grouped,
    read_labels,
    write_labels,
)
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo

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
    check_text("tag", tag)
    found = _current(hits, "tags")
    changes = [Change(*key) for key, tags in found.items() if tag not in (tags or [])]
    action = begin(hits.dataset, "tag", changes, _left(hits, changes), {"tag": tag})
    without = {key for key, tags in found.items() if tags is None}
    for path, rows in _by_field(hits.dataset, changes):
        empty = [row for row in rows if row[:3] in without]
        writes = [*_writes(empty, {"$set": {"tags": []}}, {"tags": None})]
        writes += _writes(rows, {"$addToSet": {"tags": tag}}, {"tags": {"$ne": tag}})
        write_labels(hits.dataset, path, writes)
    return action


def label(hits: Hits, label: str, into: str | None = None, overwrite: bool = False) -> Action:
    """Gives each hit a class: its own label, or a copy in another field.

    A label that has a class keeps it unless that is asked for.

    Args:
        hits: ``len(hits)`` says how many before
        label: the class
        into (None): a field, made if need be, that gets a copy of each hit's box, mask or points
            with the class, ``source_id`` (the hit's label id) and ``score``; a hit that has a
            copy there is left. None sets the hit's own class
        overwrite (False): also where the hit's own label has a class; not for ``into``

    Returns:
        what was done, for :func:`undo`; ``left`` counts the hits that kept what they had

    Raises:
        AlphaClipError: if the class is empty, a field is gone or does not fit, or ``overwrite``
            is given with ``into``
    """
    check_text("label", label)
    if into is not None:
        if overwrite:
            raise AlphaClipError("overwrite is for the hits' own labels: leave it out with into")
        return copy_labels(hits, label, into)
    found = _current(hits, "label")
    changes = [
        Change(*key, old)
        for key, old in found.items()
        if old != label and (overwrite or old in (None, ""))
    ]
    detail = {"label": label, "overwrite": overwrite}
    action = begin(hits.dataset, "label", changes, _left(hits, changes), detail)
    for path, rows in _by_field(hits.dataset, changes):
        write_labels(hits.dataset, path, _relabelled(rows, label))
    return action


def export_ids(hits: Hits) -> str:
    """The hits as JSON text: dataset, count, and each hit's ids, field and score, best first."""
    columns = (hits.sample_ids, hits.label_ids, hits.fields, hits.scores)
    rows = [
        {"sample_id": sample, "label_id": label, "field": field, "score": round(score, 6)}
        for sample, label, field, score in zip(*(c.tolist() for c in columns), strict=True)
    ]
    listing = {"dataset": hits.dataset.name, "count": len(hits), "hits": rows}
    return json.dumps(listing, indent=1)


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
    kept = find_action(dataset, action)
    if kept.undone:
        raise AlphaClipError(f"this {kept.kind} of {kept.made_at} was taken back already")
    undone = _UNDO[kept.kind](dataset, kept)
    mark_undone(dataset, kept)
    return undone


def _undo_tag(dataset: fo.Dataset, action: Action) -> Undone:
    tag, changes = action.detail["tag"], changes_of(dataset, action)
    restored = 0
    for path, rows in _by_field(dataset, changes):
        now = _attribute(dataset, path, rows, "tags")
        still = [row for row in rows if tag in (now.get(row.label_id) or [])]
        write_labels(dataset, path, _writes(still, {"$pull": {"tags": tag}}, {"tags": tag}))
        restored += len(still)
    return Undone(restored, len(changes) - restored)


def _undo_label(dataset: fo.Dataset, action: Action) -> Undone:
    label, changes = action.detail["label"], changes_of(dataset, action)
    restored = 0
    for path, rows in _by_field(dataset, changes):
        now = _attribute(dataset, path, rows, "label")
        still = [row for row in rows if now.get(row.label_id) == label]
        write_labels(dataset, path, _relabelled(still, label, back=True))
        restored += len(still)
    return Undone(restored, len(changes) - restored)


_UNDO: dict[str, Callable[[Any, Action], Undone]] = {
    "tag": _undo_tag,
    "tag_samples": undo_sample_tags,
    "label": _undo_label,
    "copy": undo_copies,
    "attribute": undo_attributes,
    "save_view": undo_view,
}


def _current(hits: Hits, attribute: str) -> dict[tuple[str, str, str], Any]:
    """The value of an attribute of each hit that is there: field, sample id, label id to value."""
    found = {}
    columns = (hits.fields.tolist(), hits.sample_ids.tolist(), hits.label_ids.tolist())
    rows = [Change(*key) for key in zip(*columns, strict=True)]
    for path, here in _by_field(hits.dataset, rows):
        now = _attribute(hits.dataset, path, here, attribute)
        found.update({row[:3]: now[row.label_id] for row in here if row.label_id in now})
    return found


def _attribute(
    dataset: fo.Dataset, path: LabelPath, rows: Sequence[Change], attribute: str
) -> dict[str, Any]:
    """Label id to the value that an attribute has now, None for none."""
    labels = read_labels(dataset, path, (row.sample_id for row in rows), [attribute])
    return {str(label["_id"]): label.get(attribute) for _, label in labels}


def _left(hits: Hits, changes: Sequence[Change]) -> int:
    return len(set(hits.label_ids.tolist())) - len(changes)


def _by_field(
    dataset: fo.Dataset, changes: Sequence[Change]
) -> list[tuple[LabelPath, list[Change]]]:
    fields: dict[str, list[Change]] = {}
    for change in changes:
        fields.setdefault(change.field, []).append(change)
    return [(LabelPath.of(dataset, field), rows) for field, rows in fields.items()]


def _writes(
    rows: Sequence[Change], update: dict[str, dict[str, Any]], only_if: dict[str, Any]
) -> list[Write]:
    """The same change to labels of many pictures."""
    by_sample = grouped((row.sample_id, row.label_id) for row in rows)
    return [Write(sample, labels, update, only_if) for sample, labels in by_sample.items()]


def _relabelled(rows: Sequence[Change], label: str, back: bool = False) -> list[Write]:
    """Sets a class where each label has the one it had before, or the other way round."""
    writes: list[Write] = []
    for old in dict.fromkeys(row.before for row in rows):
        same = [row for row in rows if row.before == old]
        if not back:
            writes += _writes(same, {"$set": {"label": label}}, {"label": old})
        elif old is None:
            writes += _writes(same, {"$unset": {"label": ""}}, {"label": label})
        else:
            writes += _writes(same, {"$set": {"label": old}}, {"label": label})
    return writes
