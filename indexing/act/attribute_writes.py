"""Sets attributes of labels where they are, remembering what was there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.act.actions import (
    MOST_ACTIONS,
    Action,
    Change,
    Undone,
    begin,
    changes_of,
    history,
    made_for,
)
from alphaclip.indexing.dataset.bulk_writes import (
    Row,
    attribute_writes,
    read_labels,
    write_labels,
)
from alphaclip.indexing.dataset.labels import LabelPath
from alphaclip.indexing.dataset.schema import check_attribute, declare, undeclare

if TYPE_CHECKING:
    import fiftyone as fo

_TOGETHER = 20_000
"""Labels that are written at once, so that a million take no gigabytes of memory."""


def set_attributes(
    dataset: fo.Dataset,
    field: str,
    kinds: Mapping[str, str],
    rows: Sequence[Row],
    left: int,
    detail: Mapping[str, Any],
    key: str | None = None,
) -> Action:
    """Sets attributes of labels, each where its first attribute is still as it was read.

    Args:
        dataset: whose
        field: that holds the labels
        kinds: name to FiftyOne's class of field, as "StringField", of each attribute; those that
            are not declared are
        rows: sample id, label id, and attributes to write and as they are, of each label
        left: hits that stay as they are
        detail: of the action; ``into`` says where it writes
        key (None): see :func:`alphaclip.indexing.act.actions.begin`

    Raises:
        FieldError: if a name cannot be used, or is declared as something else
    """
    path = LabelPath.of(dataset, field)
    missing = [
        name for name, kind in kinds.items() if not check_attribute(dataset, field, name, kind)
    ]
    changes = [
        Change(field, sample, label, json.dumps([new, {name: old.get(name) for name in new}]))
        for sample, label, new, old in rows
    ]
    made = [*missing, *made_for(dataset, detail["into"]).attributes]
    detail = {**detail, "field": field, "made": list(dict.fromkeys(made))}
    action = begin(dataset, "attribute", changes, left, detail, key=key)
    declare(dataset, {path.declared(name): kinds[name] for name in missing})
    for start in range(0, len(rows), _TOGETHER):
        write_labels(dataset, path, attribute_writes(rows[start : start + _TOGETHER]))
    return action


def last_written(dataset: fo.Dataset, into: str) -> dict[tuple[str, str], Any]:
    """Sample id and label id to what the last action on an attribute wrote there, as far as actions
    are remembered: what is there now and is another was written by somebody else."""
    values: dict[tuple[str, str], Any] = {}
    for action in history(dataset, MOST_ACTIONS):
        is_its = action.kind == "attribute" and action.detail.get("into") == into
        for change in changes_of(dataset, action) if is_its and not action.undone else ():
            new = json.loads(change.before or "[{}]")[0]
            values.setdefault((change.sample_id, change.label_id), next(iter(new.values()), None))
    return values


def undo_attributes(dataset: fo.Dataset, action: Action) -> Undone:
    """Puts the attributes back where they are as they were written; undeclares those that were
    declared for it and that no label has any more."""
    changes, field = changes_of(dataset, action), action.detail["field"]
    path = LabelPath.of(dataset, field)
    values = {
        (row.sample_id, row.label_id): json.loads(row.before or "[{}, {}]") for row in changes
    }
    names = sorted({name for new, _ in values.values() for name in new})
    rows: list[Row] = []
    for sample, label in read_labels(dataset, path, (row.sample_id for row in changes), names):
        label_id = str(label["_id"])
        new, old = values.get((sample, label_id), ({}, {}))
        if new and all(label.get(name) == value for name, value in new.items()):
            rows.append((sample, label_id, old, new))
    write_labels(dataset, path, attribute_writes(rows))
    undeclare(dataset, path, action.detail["made"])
    return Undone(len(rows), len(changes) - len(rows))
