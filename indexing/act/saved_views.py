"""Saves hits as a view of the dataset, or adds them to one that was saved here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import (
    Action,
    Change,
    Undone,
    begin,
    changes_of,
    forget,
    history,
    keep_replaced,
    replaced_by,
)
from alphaclip.indexing.dataset.stages import view_of
from alphaclip.indexing.retrieval.hits import TOO_MANY, Hits

if TYPE_CHECKING:
    import fiftyone as fo

_MOST_CHARACTERS = 12_000_000
"""Of a view's stages in JSON: the database keeps 16 MB in one document, and what a view replaces is
kept once more, as JSON in JSON."""

_ID_CHARACTERS = 28
"""Of them, what one id takes at least."""


@checked()
def save_view(hits: Hits, name: str, add: bool = False) -> Action:
    """Saves hits as a view, in rank order.

    Args:
        hits: ``len(hits)`` says how many before
        name: of the view, in the dataset
        add (False): add the hits to the view of this name, behind those that are in it; it must
            be one that was saved by this function and not been edited since

    Returns:
        what was done, for :func:`alphaclip.indexing.act.acting.undo`

    Raises:
        AlphaClipError: if there are no hits or too many, or the name is taken or cannot be used
    """
    from bson import json_util

    dataset = hits.dataset
    if not len(hits):
        raise AlphaClipError(f"there are no hits to save as view {name!r}: lower the threshold")
    _check_size(len(hits), _ID_CHARACTERS * len(hits))
    before = _stages(dataset, name)
    if before is not None and not add:
        raise AlphaClipError(
            f"dataset {dataset.name!r} has a saved view {name!r}: choose another name, or add=True"
        )
    earlier = [] if before is None else _saved_here(dataset, name, before)
    there = {row[:3] for row in earlier}
    columns = (hits.fields, hits.sample_ids, hits.label_ids)
    fresh = [Change(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    fresh = [row for row in dict.fromkeys(fresh) if row[:3] not in there]
    rows = [*earlier, *fresh]
    fields, samples, labels = (np.array(column) for column in list(zip(*rows, strict=True))[:3])
    _check_size(len(rows), _ID_CHARACTERS * (len(rows) + len(set(samples.tolist()))))
    nothing = np.zeros(len(rows), np.float32)
    view = Hits(samples, labels, fields, nothing, nothing, dataset).view()
    stages = [json_util.dumps(stage) for stage in view._serialize(include_uuids=False)]
    _check_size(len(rows), sum(map(len, stages)))
    detail = {"name": name, "stages": _digest(stages), "replaced": before is not None}
    action = begin(dataset, "save_view", rows, len(hits) - len(fresh), detail, len(fresh))
    try:
        if before is not None:
            keep_replaced(dataset, action, before)
        _save(dataset, name, view)
    except AlphaClipError:
        forget(dataset, action.id)
        raise
    return action


def undo_view(dataset: fo.Dataset, action: Action) -> Undone:
    """Deletes the view, or brings back the one that it replaced, if nobody edited it since."""
    name, stages = action.detail["name"], _stages(dataset, action.detail["name"])
    if stages is None or _digest(stages) != action.detail["stages"]:
        return Undone(0, action.count)
    before = replaced_by(dataset, action)
    if not action.detail["replaced"]:
        dataset.delete_saved_view(name)
    elif before is not None:
        _save(dataset, name, view_of(dataset, [json.loads(stage) for stage in before]))
    return Undone(action.count, 0)


def _check_size(count: int, size: int) -> None:
    if size > _MOST_CHARACTERS:
        raise AlphaClipError(
            f"{count:,} hits take {size / 1e6:.0f} MB as a saved view, and the database keeps "
            f"{_MOST_CHARACTERS / 1e6:.0f} MB at most: {TOO_MANY}, which can be saved by "
            "dataset.save_view"
        )


def _save(dataset: fo.Dataset, name: str, view: fo.DatasetView) -> None:
    try:
        dataset.save_view(name, view, overwrite=True)
    except (ValueError, TypeError) as error:
        raise AlphaClipError(f"view cannot be saved as {name!r:.120}: {error}") from error


def _stages(dataset: fo.Dataset, name: str) -> list[str] | None:
    """The stages of a saved view, as the database has them now; None if there is none."""
    dataset._doc.reload("saved_views")
    if not dataset.has_saved_view(name):
        return None
    return list(dataset._get_saved_view_doc(name).view_stages)


def _digest(stages: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(stages).encode()).hexdigest()[:32]


def _saved_here(dataset: fo.Dataset, name: str, stages: Sequence[str]) -> list[Change]:
    """The regions of a view that was saved here."""
    digest = _digest(stages)
    for action in history(dataset, 1000):
        is_view = action.kind == "save_view" and not action.undone
        if is_view and action.detail["name"] == name and action.detail["stages"] == digest:
            return changes_of(dataset, action)
    raise AlphaClipError(
        f"the saved view {name!r} was made or edited elsewhere: hits can only be added to a view "
        "that was saved from hits; choose another name"
    )
