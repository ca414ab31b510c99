"""The places of views' regions, remembered: asking the database takes longer than a search."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import fiftyone as fo

KEPT = 4_000_000
"""Places, of all views together: 32 MB. Those of the newest view are kept however many."""


class ViewPlaces:
    """The places of the views of one version of a store; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = RLock()

    def get(self, state: str | None, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The places of a view: int64 (n,), not to be changed.

        Args:
            state: of the view; None is not remembered
            compute: finds the places
        """
        if state is None:
            return compute()
        with self._lock:
            if state in self._known:
                self._known.move_to_end(state)
                return self._known[state]
        places = compute()
        places.flags.writeable = False
        with self._lock:
            self._known[state] = places
            while len(self._known) > 1 and sum(map(len, self._known.values())) > KEPT:
                self._known.popitem(last=False)
        return places


def state_of(view: fo.SampleCollection) -> str | None:
    """Tells a view, and when its dataset was last modified, from all others.

    It is what the view asks of the database, so a view of random samples is another each time.
    FiftyOne notes the time of every edit, also in other processes; edits that go past it straight
    to the database, and do not set ``last_modified_at``, are not seen.

    Returns:
        None where that cannot be told: the frames of videos have times of their own
    """
    dataset = view._dataset
    if dataset._contains_videos(any_slice=True):
        return None
    # Of the database: what is loaded in this process does not see what others delete.
    times = _times(dataset)
    asked = (str(dataset._doc.id), times, view.media_type, getattr(view, "group_slice", None))
    return hashlib.sha256(repr((asked, view._pipeline())).encode()).hexdigest()


def _times(dataset: fo.Dataset) -> tuple[object, ...]:
    import fiftyone.core.odm as foo

    wanted = {"last_modified_at": 1, "last_deletion_at": 1, "_id": 0}
    doc = foo.get_db_conn()["datasets"].find_one({"_id": dataset._doc.id}, wanted) or {}
    return (sorted(doc.items()), dataset._max("last_modified_at"))
