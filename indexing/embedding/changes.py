"""What has changed since an index was made, told quickly: only pictures that FiftyOne says were
modified are looked at, some at a time.

A picture whose file was replaced is not among them: `building.freshness` looks at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.dataset.labels import active_slice, is_of_frames
from alphaclip.indexing.embedding.inventory import Inventory
from alphaclip.indexing.embedding.label_reader import READ_AT, labelled_pictures, samples_of
from alphaclip.indexing.retrieval.view_rows import state_of
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.manifests import check_settings, manifest_path

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.snapshot import Snapshot

AT_ONCE = 500
"""Pictures that are looked at each time: under half a second."""

MOST_PICTURES = 200_000
"""Of an index in which deleted pictures are looked for: a second or two, after a deletion only."""

_MARGIN = timedelta(seconds=5)
"""The clocks of those who write to a dataset may differ; looking twice costs little."""


@dataclass(frozen=True)
class Changes:
    """What an update would do, as far as it is known.

    Attributes:
        edited: regions that were edited since they were embedded
        new: regions that have no vector yet
        removed: vectors of regions that are gone
        unread: pictures that were modified and are not looked at yet
    """

    edited: int = 0
    new: int = 0
    removed: int = 0
    unread: int = 0

    def __str__(self) -> str:
        counts = [f"{n:,} {name}" for name, n in asdict(self).items() if n and name != "unread"]
        if self.unread:
            counts.append(f"{self.unread:,} modified pictures not looked at yet")
        return ", ".join(counts)


class ChangeWatch:
    """Remembers what it has looked at, of one index; safe to use from several threads."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._state: str | None = None
        self._stale: dict[bytes, Changes] = {}
        self._waiting: dict[bytes, None] = {}
        self._since = self._deleted_at = datetime.min
        self._lock = Lock()

    def look(self, dataset: fo.Dataset, snapshot: Snapshot) -> Changes:
        """What has changed since a version was made.

        The first look after something was modified reads the labels of :data:`AT_ONCE` pictures at
        most, the next one goes on; where nothing was, it takes two questions to the database.
        """
        with self._lock:
            if snapshot is not self._snapshot:
                self._begin(snapshot)
            state = state_of(dataset)
            if state is None or state != self._state:
                self._notice(dataset, snapshot)
            some = list(self._waiting)[:AT_ONCE]
            if some:
                self._compare(dataset, snapshot, some)
            self._state = state
            stale = self._stale.values()
            return Changes(
                edited=sum(one.edited for one in stale),
                new=sum(one.new for one in stale),
                removed=sum(one.removed for one in stale),
                unread=len(self._waiting),
            )

    def _begin(self, snapshot: Snapshot) -> None:
        self._snapshot, self._state = snapshot, None
        self._stale, self._waiting = {}, {}
        self._since = self._deleted_at = _read_at(snapshot)

    def _notice(self, dataset: fo.Dataset, snapshot: Snapshot) -> None:
        """Notes which pictures were modified, and which are gone."""
        import fiftyone.core.odm as foo

        now = datetime.now(timezone.utc)
        of_frames = is_of_frames(snapshot.version.info["field"])
        collection = dataset._frame_collection if of_frames else dataset._sample_collection
        modified = {"last_modified_at": {"$gt": self._since - _MARGIN}}
        for document in collection.find(modified, {"_id": 1}):
            self._waiting[str(document["_id"]).encode()] = None
        self._since = now
        column = {"last_deletion_at": 1}
        doc = foo.get_db_conn()["datasets"].find_one({"_id": dataset._doc.id}, column) or {}
        deleted_at = doc.get("last_deletion_at")
        if deleted_at is not None and _in_utc(deleted_at) > self._deleted_at - _MARGIN:
            self._waiting |= dict.fromkeys([*self._stale, *_gone(collection, snapshot)])
            self._deleted_at = now

    def _compare(self, dataset: fo.Dataset, snapshot: Snapshot, some: list[bytes]) -> None:
        """Compares some pictures, as they are now, with the rows of an index."""
        settings = snapshot.version.info
        check_settings(settings, snapshot.version.folder)
        held = snapshot.version.ids.take(_rows_of(snapshot, some))
        lookup, seen = Lookup(held), np.zeros(len(held), bool)
        inventory = Inventory(settings["field"], [held], listing=False)
        found: dict[bytes, Changes] = {}
        samples, only = active_slice(samples_of(dataset, settings)), [id_.decode() for id_ in some]
        for picture in labelled_pictures(samples, settings, {}, lambda *_: None, only=only):
            ids, lacking = inventory.add(picture)
            rows = lookup.find(ids)
            seen[rows[rows >= 0]] = True
            edited, new = int((lacking & (rows >= 0)).sum()), int((lacking & (rows < 0)).sum())
            found[picture.sample_id.encode()] = Changes(edited, new)
        for name, count in zip(*np.unique(held.sample_ids[~seen], return_counts=True), strict=True):
            before = found.get(bytes(name), Changes())
            found[bytes(name)] = Changes(before.edited, before.new, int(count))
        for name in some:
            self._waiting.pop(name)
            self._stale.pop(name, None)
        self._stale |= {name: one for name, one in found.items() if one != Changes()}


def _gone(collection: Any, snapshot: Snapshot) -> list[bytes]:
    """The pictures of an index that are not there any more."""
    from bson import ObjectId

    names, there = np.unique(snapshot.version.ids.sample_ids).tolist(), set()
    if len(names) > MOST_PICTURES:
        return []
    for start in range(0, len(names), 10_000):
        some = [ObjectId(name.decode()) for name in names[start : start + 10_000]]
        found = collection.find({"_id": {"$in": some}}, {"_id": 1})
        there |= {str(document["_id"]).encode() for document in found}
    return [name for name in names if name not in there]


def _rows_of(snapshot: Snapshot, samples: list[bytes]) -> np.ndarray:
    """The rows of some pictures: int64 (n,), ascending."""
    names, order = snapshot.by_sample
    asked = np.array(samples, names.dtype)
    starts, ends = (np.searchsorted(names, asked, side) for side in ("left", "right"))
    runs = [order[start:end] for start, end in zip(starts, ends, strict=True)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *runs]))


def _read_at(snapshot: Snapshot) -> datetime:
    """When the labels that a version is of began to be read; earlier versions do not say so."""
    version, report = snapshot.version, snapshot.version.info.get("report") or {}
    try:
        return _in_utc(datetime.fromisoformat(report[READ_AT]))
    except (KeyError, TypeError, ValueError):
        published = manifest_path(version.folder, version.number).stat().st_mtime
        return datetime.fromtimestamp(published - (report.get("seconds") or 0), timezone.utc)


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time
