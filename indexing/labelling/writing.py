"""Writes the answers of a run to the dataset: as copies in a field, or as attributes in place.

What a person wrote or changed is never overwritten unless that is asked for. What an earlier run
wrote, and nobody has changed since, follows the newer answer. Every run can be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import Action, Change, changes_of, find_action
from alphaclip.indexing.act.attribute_writes import declare_attributes, set_attributes
from alphaclip.indexing.act.copying import SOURCE, copies_in, digest, prepare_field, write_copies
from alphaclip.indexing.dataset.bulk_writes import LabelPath, read_labels
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.records import new_key
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
"""What each label carries beside its class. ``made_of`` is the fingerprint of picture, region and
encoder that the answer was given for: a region that was edited since has another."""


@dataclass(frozen=True, eq=False)
class Written:
    """What is to be written of each hit.

    Attributes:
        hits: the regions; ``scores`` are written
        labels: the class of each
        models: what gave each answer: the encoder's name, with the probe; or "review"
        made_of: the fingerprint of each, see :data:`DETAILS`
        index_version: of the index
    """

    hits: Hits
    labels: Sequence[str]
    models: Sequence[str]
    made_of: Sequence[str]
    index_version: int

    def rows(self, run: str) -> dict[str, dict[str, Any]]:
        """Label id to the class and the details of each hit."""
        columns = (self.labels, self.hits.scores.tolist(), self.models, self.made_of)
        return {
            label_id: {
                "label": label,
                "score": score,
                "model": model,
                "index_version": self.index_version,
                "run": run,
                "made_of": made_of,
            }
            for label_id, label, score, model, made_of in zip(
                self.hits.label_ids.tolist(), *columns, strict=True
            )
        }


def write(written: Written, into: str, overwrite: bool = False) -> Action:
    """Writes answers.

    Args:
        written: what
        into: a field for copies, as "auto"; or ``field.attribute`` of the hits' own field
        overwrite (False): also what a person wrote

    Returns:
        what was done, for :func:`alphaclip.indexing.undo`; ``left`` counts the hits whose
        label stayed, being the same, or a person's

    Raises:
        FieldError: if the field or attribute cannot take them
    """
    field, _, attribute = into.partition(".")
    if attribute:
        return _write_attributes(written, field, attribute, overwrite)
    return _write_copies(written, into, overwrite)


def check_into(dataset: fo.Dataset, field: str, into: str) -> None:
    """Checks where answers are to be written, before any work.

    Raises:
        FieldError: if it is neither a name for a field nor an attribute of the index's own field
    """
    from alphaclip.indexing.dataset.schema import check_name

    if not isinstance(into, str):
        raise FieldError(f"into is {into!r:.60}: expected a field, or field.attribute")
    target, _, attribute = into.partition(".")
    check_name(attribute or target)
    if attribute and target != field:
        raise FieldError(
            f"into is {into!r}, the index is of field {field!r}: an attribute can be written to "
            f"that field only, as '{field}.{attribute}'"
        )
    if not attribute and target == field:
        raise FieldError(
            f"into is {into!r}, the index's own field: name a new field for copies, or an "
            f"attribute, as '{field}.auto_label'"
        )


def _write_copies(written: Written, into: str, overwrite: bool) -> Action:
    run, dataset = new_key(), written.hits.dataset
    made_field = bool(len(written.hits)) and prepare_field(written.hits, into, DETAILS)
    wanted, replaced, known = written.rows(run), [], _Runs(dataset)
    for sample, copy in copies_in(written.hits, into):
        new = wanted.get(copy.get(SOURCE, ""))
        if new is None:
            continue
        is_ours = known.made(copy.get("run"), str(copy["_id"])) == digest(copy)
        if (is_ours and not _holds(copy, new)) or (overwrite and not is_ours):
            replaced.append((sample, copy))
        else:
            wanted.pop(copy[SOURCE])
    detail = {"into": into, "made_field": made_field}
    return write_copies(written.hits, wanted, into, detail, replaced, run)


def _write_attributes(written: Written, field: str, attribute: str, overwrite: bool) -> Action:
    run, dataset = new_key(), written.hits.dataset
    names = {name: f"{attribute}_{name}" for name in DETAILS}
    kinds = {names[name]: kind for name, kind in DETAILS.items()}
    made = declare_attributes(dataset, field, {attribute: "StringField", **kinds})
    wanted, known, rows = written.rows(run), _Runs(dataset), []
    own = {attribute: "label", **{path: name for name, path in names.items()}}
    for sample, old in _current(written.hits, field, list(own)):
        new = wanted.get(str(old["_id"]))
        if new is not None:
            value = known.wrote(old.get(names["run"]), str(old["_id"]))
            there = {name: old.get(path) for path, name in own.items()}
            if _may_write(there, new, value == there["label"], overwrite):
                rows.append((sample, str(old["_id"]), {p: new[n] for p, n in own.items()}, old))
    left = len(set(written.hits.label_ids.tolist())) - len(rows)
    detail = {"into": f"{field}.{attribute}", "field": field, "made": made}
    return set_attributes(dataset, field, rows, left, detail, run)


def _may_write(
    there: Mapping[str, Any], new: Mapping[str, Any], is_ours: bool, overwrite: bool
) -> bool:
    if there["label"] in (None, ""):
        return True
    return not _holds(there, new) if is_ours else overwrite and there["label"] != new["label"]


def _holds(there: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an earlier answer is the same: scores and versions alone do not make it another."""
    return all(there.get(name) == new[name] for name in ("label", "made_of"))


def _current(hits: Hits, field: str, names: Sequence[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    if not len(hits):
        return []
    path = LabelPath.of(hits.dataset, field)
    return read_labels(hits.dataset, path, hits.sample_ids.tolist(), names)


class _Runs:
    """What earlier runs wrote, by label id; read when first asked for."""

    def __init__(self, dataset: fo.Dataset) -> None:
        self._dataset = dataset
        self._known: dict[str, dict[str, Change]] = {}

    def made(self, run: Any, label_id: str) -> str | None:
        """The digest of a copy as a run made it; None if that is not known."""
        change = self._changes(run).get(label_id)
        return None if change is None else change.before

    def wrote(self, run: Any, label_id: str) -> Any:
        """The class that a run wrote in place; None if that is not known."""
        change = self._changes(run).get(label_id)
        if change is None or change.before is None:
            return None
        return next(iter(json.loads(change.before)[0].values()))

    def _changes(self, run: Any) -> dict[str, Change]:
        if not isinstance(run, str):
            return {}
        if run not in self._known:
            self._known[run] = self._read(run)
        return self._known[run]

    def _read(self, run: str) -> dict[str, Change]:
        try:
            action = find_action(self._dataset, run)
        except AlphaClipError:
            return {}
        return {row.label_id: row for row in changes_of(self._dataset, action)}
