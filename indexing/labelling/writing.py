"""Writes the answers of a run to the dataset: as copies in a field, or as attributes in place.

What a person wrote or changed is never overwritten unless that is asked for. What an earlier run
wrote, and nobody has changed since, follows the newer answer. Every run can be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import Action, Change, changes_of, find_action
from alphaclip.indexing.act.attribute_writes import set_attributes
from alphaclip.indexing.act.copying import (
    SOURCE,
    CopyField,
    check_copied,
    copies_in,
    digest,
    write_copies,
)
from alphaclip.indexing.dataset.bulk_writes import read_labels
from alphaclip.indexing.dataset.labels import FieldError, LabelPath, split_attribute
from alphaclip.indexing.dataset.schema import check_attribute, check_name
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo

DETAILS = {
    "score": "FloatField",
    "model": "StringField",
    "index_version": "IntField",
    "run": "StringField",
    "made_of": "StringField",
}
"""What each label carries beside its class; ``model`` is the encoder with the scorer, or "review".
``made_of`` is the fingerprint of picture, region and
encoder that the answer was given for: a region that was edited since has another."""


Answers = Mapping[tuple[str, str], Mapping[str, Any]]
"""Sample id and label id to the class and the details of what is to be written."""


def write(
    hits: Hits, answers: Answers, into: str, run: str, overwrite: bool = False
) -> tuple[Action, set[tuple[str, str]]]:
    """Writes answers.

    Args:
        hits: the regions
        answers: for each of them ``label``, and what :data:`DETAILS` names
        into: a field for copies, as "auto"; or ``field.attribute`` of the hits' own field
        run: the id of the action, of :func:`new_key`
        overwrite (False): also what a person wrote

    Returns:
        what was done, for :func:`alphaclip.indexing.undo`; ``left`` counts the hits whose
        label stayed, being the same, or a person's; and the sample id and label id of the others

    Raises:
        FieldError: if the field or attribute cannot take them
    """
    if "." in into:
        return _write_attributes(hits, answers, into, run, overwrite)
    field = CopyField.of(hits, into, DETAILS)
    earlier, fresh, replaced = _earlier(hits.dataset), dict(answers), []
    for sample, copy in copies_in(hits, field):
        new = fresh.get((sample, copy.get(SOURCE, "")))
        if new is None:
            continue
        change = earlier(copy.get("run"), (sample, str(copy["_id"])))
        is_ours = change is not None and change.before == digest(copy)
        if (is_ours and not _holds(copy, new)) or (overwrite and not is_ours):
            replaced.append((sample, copy))
        else:
            fresh.pop((sample, copy[SOURCE]))
    return write_copies(hits, fresh, field, {}, replaced, run), set(fresh)


def _write_attributes(
    hits: Hits, answers: Answers, into: str, run: str, overwrite: bool
) -> tuple[Action, set[tuple[str, str]]]:
    dataset, (field, attribute) = hits.dataset, split_attribute(into)
    own = {attribute: "label", **{f"{attribute}_{name}": name for name in DETAILS}}
    kinds = {name: DETAILS.get(detail, "StringField") for name, detail in own.items()}
    path, earlier, changed = LabelPath.of(dataset, field), _earlier(dataset), []
    for sample, old in read_labels(dataset, path, hits.sample_ids.tolist(), list(own)):
        region = (sample, str(old["_id"]))
        new = answers.get(region)
        if new is None:
            continue
        there = {name: old.get(where) for where, name in own.items()}
        change = earlier(old.get(f"{attribute}_run"), region)
        # What a run wrote in place is kept as JSON of the attributes, the class first.
        before = "[{}]" if change is None else change.before or "[{}]"
        is_ours = next(iter(json.loads(before)[0].values()), None) == there["label"]
        may_write = overwrite and there["label"] != new["label"]
        if there["label"] in (None, "") or (not _holds(there, new) if is_ours else may_write):
            changed.append((*region, {p: new[n] for p, n in own.items()}, old))
    left = len(set(hits.region_ids)) - len(changed)
    action = set_attributes(dataset, field, kinds, changed, left, {"into": into}, run)
    return action, {(sample, label) for sample, label, *_ in changed}


def check_into(dataset: fo.Dataset, field: str, into: str) -> None:
    """Checks where answers are to be written, before any work.

    Raises:
        FieldError: if it is neither a name for a field nor an attribute of the index's own field
    """
    if not isinstance(into, str):
        raise FieldError(f"into is {into!r:.60}: expected a field, or field.attribute")
    target, attribute = split_attribute(into)
    if "." in into and target not in ("", field):
        raise FieldError(
            f"into is {into!r}, the index is of field {field!r}: an attribute can be written to "
            f"that field only, as '{field}.auto_label'"
        )
    if "." in into:
        check_attribute(dataset, field, attribute, "StringField")
        return
    check_copied(field)
    if target == field:
        raise FieldError(
            f"into is {into!r}, the index's own field: name a new field for copies, or an "
            f"attribute, as '{field}.auto_label'"
        )
    check_name(target)


def _holds(there: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an earlier answer is the same: scores and versions alone do not make it another."""
    return all(there.get(name) == new[name] for name in ("label", "made_of"))


def _earlier(dataset: fo.Dataset) -> Callable[[Any, tuple[str, str]], Change | None]:
    """What a run did to a label; None if that is not known any more. Runs are read once."""

    @cache
    def changes(run: str) -> dict[tuple[str, str], Change]:
        try:
            action = find_action(dataset, run)
        except AlphaClipError:
            return {}
        return {(row.sample_id, row.label_id): row for row in changes_of(dataset, action)}

    return lambda run, region: changes(run).get(region) if isinstance(run, str) else None
