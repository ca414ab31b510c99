"""The rows of FiftyOne views, remembered: asking the database takes longer than a search."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import fiftyone as fo

MOST_ROWS = 4_000_000
"""Rows that are remembered, of all views together: 32 MB. Those of the newest view are, however
many they are."""


class ViewRows:
    """The rows of the views of one version of a store; safe to use from several threads."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = RLock()

    def get(self, state: str | None, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The rows of a view: int64 (n,), not to be changed.

        Args:
            state: of the view, see :func:`state_of`; None is not remembered
            compute: finds the rows
        """
        if state is None:
            return compute()
        with self._lock:
            if state in self._rows:
                self._rows.move_to_end(state)
                return self._rows[state]
        rows = compute()
        rows.flags.writeable = False
        with self._lock:
            self._rows[state] = rows
            while len(self._rows) > 1 and sum(map(len, self._rows.values())) > MOST_ROWS:
                self._rows.popitem(last=False)
        return rows


def state_of(samples: fo.SampleCollection) -> str | None:
    """Tells a view, and when its dataset was last modified, from all others.

    It is what the view asks of the database, so a view of random samples is another each time.
    FiftyOne notes the time of every edit, also in other processes; edits that go past it straight
    to the database, and do not set ``last_modified_at``, are not seen.

    Returns:
        None where that cannot be told: the frames of videos have times of their own
    """
    import fiftyone.core.odm as foo

    dataset = samples._dataset
    if dataset._contains_videos(any_slice=True):
        return None
    # Of the database: what is loaded in this process does not see what others delete.
    columns = {"last_modified_at": 1, "last_deletion_at": 1, "_id": 0}
    doc = foo.get_db_conn()["datasets"].find_one({"_id": dataset._doc.id}, columns) or {}
    times = (sorted(doc.items()), dataset._max("last_modified_at"))
    group = getattr(samples, "group_slice", None)
    what = ((str(dataset._doc.id), times, samples.media_type, group), samples._pipeline())
    return hashlib.sha256(repr(what).encode()).hexdigest()
