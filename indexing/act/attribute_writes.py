"""Sets attributes of labels where they are, remembering what was there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.act.actions import Action, Change, Undone, begin, changes_of
from alphaclip.indexing.dataset.bulk_writes import (
    LabelPath,
    Row,
    attribute_writes,
    read_labels,
    write_labels,
)
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.schema import check_name, declare

if TYPE_CHECKING:
    import fiftyone as fo


def declare_attributes(dataset: fo.Dataset, field: str, attributes: Mapping[str, str]) -> list[str]:
    """Declares attributes of a field's labels; returns those that were not declared.

    Args:
        dataset: whose
        field: that holds the labels
        attributes: name to FiftyOne's class of field, as "StringField"

    Raises:
        FieldError: if a name cannot be used, or is declared as something else
    """
    import fiftyone as fo

    path, made = LabelPath.of(dataset, field), []
    for name, kind in attributes.items():
        check_name(name)
        there = dataset.get_field(path.to(name))
        if there is not None and not isinstance(there, getattr(fo, kind)):
            raise FieldError(
                f"{field}.{name} is a {type(there).__name__}, to be written is a {kind}: choose "
                "another attribute"
            )
        made += [name] if there is None else []
    declare(dataset, {path.to(name): attributes[name] for name in made})
    return made


def set_attributes(
    dataset: fo.Dataset,
    field: str,
    rows: Sequence[Row],
    left: int,
    detail: Mapping[str, Any],
    key: str | None = None,
) -> Action:
    """Sets attributes of labels, each where its first attribute is still as it was read.

    Args:
        dataset: whose
        field: that holds the labels
        rows: sample id, label id, and attributes to write and as they are, of each label
        left: hits that stay as they are
        detail: of the action
        key (None): see :func:`alphaclip.indexing.act.actions.begin`
    """
    changes = [
        Change(field, sample, label, json.dumps([new, {name: old.get(name) for name in new}]))
        for sample, label, new, old in rows
    ]
    action = begin(dataset, "attribute", changes, left, detail, key=key)
    write_labels(dataset, LabelPath.of(dataset, field), attribute_writes(rows))
    return action


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
    for name in action.detail["made"]:
        if not dataset.count(path.to(name)):
            dataset.delete_sample_field(path.to(name))
    return Undone(len(rows), len(changes) - len(rows))
