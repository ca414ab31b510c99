"""Tags of whole pictures, which can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.act.actions import Action, Change, Undone, begin, changes_of, check_text
from alphaclip.indexing.dataset.bulk_writes import touched, write_samples
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    import fiftyone as fo

_AT_ONCE = 100_000
"""Pictures that the database is asked for together: a question has 16 MB at most."""


def tag_samples(hits: Hits, tag: str) -> Action:
    """Adds a tag to the picture of each hit.

    Pictures that have the tag stay as they are, and keep it when the action is taken back.

    Args:
        hits: of which each picture counts once
        tag: to add

    Returns:
        what was done, for :func:`alphaclip.indexing.act.acting.undo`; it counts pictures

    Raises:
        AlphaClipError: if the tag is empty
    """
    check_text("tag", tag)
    samples = list(dict.fromkeys(hits.sample_ids.tolist()))
    without = _samples(hits.dataset, samples, {"tags": {"$ne": tag}})
    changes = [Change("tags", sample, "") for sample in samples if sample in without]
    left = len(samples) - len(changes)
    action = begin(hits.dataset, "tag_samples", changes, left, {"tag": tag})
    _update(hits.dataset, changes, {"tags": None}, {"$set": {"tags": []}})
    _update(hits.dataset, changes, {"tags": {"$ne": tag}}, {"$addToSet": {"tags": tag}})
    return action


def undo_sample_tags(dataset: fo.Dataset, action: Action) -> Undone:
    """Takes a tag off the pictures that got it."""
    tag, changes = action.detail["tag"], changes_of(dataset, action)
    having = _samples(dataset, [row.sample_id for row in changes], {"tags": tag})
    still = [row for row in changes if row.sample_id in having]
    _update(dataset, still, {"tags": tag}, {"$pull": {"tags": tag}})
    return Undone(len(still), len(changes) - len(still))


def _samples(dataset: fo.Dataset, sample_ids: Sequence[str], only_if: dict[str, Any]) -> set[str]:
    """Those of some samples that are there and fulfil a condition."""
    from bson import ObjectId

    found: set[str] = set()
    for start in range(0, len(sample_ids), _AT_ONCE):
        some = [ObjectId(sample) for sample in sample_ids[start : start + _AT_ONCE]]
        those = {"_id": {"$in": some}, **only_if}
        found |= {str(one["_id"]) for one in dataset._sample_collection.find(those, {"_id": 1})}
    return found


def _update(
    dataset: fo.Dataset, rows: Sequence[Change], only_if: dict[str, Any], update: dict[str, Any]
) -> None:
    from bson import ObjectId
    from pymongo import UpdateOne

    change = {**update, "$set": {**update.get("$set", {}), **touched()}}
    operations = [UpdateOne({"_id": ObjectId(row.sample_id), **only_if}, change) for row in rows]
    write_samples(dataset, operations, [row.sample_id for row in rows])
