"""The record of what a copy of an index holds in another engine.

A copy is a run of FiftyOne's Brain, whose settings name the store of its index (``COPY_OF``) and a
store of its own. That one holds no vectors, only the record::

    copy.json             of which version, and the recall that was measured
    data/<hash>.parquet   whose the vectors are, each with the fingerprint of what it was made of

Vectors that are about to be moved lose their fingerprint there first, so what a kill leaves is
moved again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.files import read_checked, write_checked
from alphaclip.indexing.store.entries import Kinds, check_data_file, check_kinds
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, read_ids, write_data_ids
from alphaclip.indexing.store.store import StoreVersion

RECORD = "copy.json"
_KINDS: Kinds = {
    "version": int, "files": str, "dim": int, "count": int, "recall": dict, "rows": dict,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Held:
    """What a copy holds.

    Attributes:
        version: of the index, that it was brought in step with
        files: tells the files of that version from those of others
        dim: numbers in a vector
        count: of the vectors
        recall: as it was measured; empty if it was not
        read: gives the ids
    """

    version: int
    files: str
    dim: int
    count: int
    recall: dict[str, Any]
    read: Callable[[], RowIds]

    @cached_property
    def ids(self) -> RowIds:
        """Of the vectors; one without fingerprint may be there or not, and be another."""
        return self.read()

    @classmethod
    def nothing(cls, dim: int) -> Held:
        """No vector."""
        return cls(0, "", dim, 0, {}, lambda: RowIds.of([]))

    @classmethod
    def of(cls, version: StoreVersion, recall: dict[str, Any]) -> Held:
        """All of a version."""
        files, count = files_in(version), len(version)
        return cls(version.number, files, version.dim, count, recall, lambda: version.ids)

    def difference(self, version: StoreVersion) -> Difference:
        """What has to be moved for a copy to hold this version."""
        nothing = np.zeros(0, np.int64)
        if self.files == files_in(version):
            return Difference(nothing, nothing)
        before = Lookup(self.ids).find(version.ids)
        there = np.flatnonzero(before >= 0)
        now = version.ids.fingerprints[there]
        same = there[(self.ids.fingerprints[before[there]] == now) & (now != b"")]
        gone = np.delete(np.arange(len(self.ids)), before[there])
        return Difference(np.delete(np.arange(len(version)), same), gone)

    def in_doubt(self, difference: Difference, version: StoreVersion) -> Held:
        """The same, while what differs is on its way."""
        moved = version.ids.take(difference.moved)
        lookup = Lookup(moved)
        stays = lookup.find(self.ids) < 0
        stays[difference.gone] = False
        doubtful = RowIds.joined([moved, self.ids.take(difference.gone)])
        doubtful = replace(doubtful, fingerprints=np.full(len(doubtful), b"", "S1"))
        ids = RowIds.joined([self.ids.take(stays), doubtful])
        return replace(self, files="", count=len(ids), read=lambda: ids)


@dataclass(frozen=True, eq=False)
class Difference:
    """What a copy lacks of a version, as rows of the version, and what it has too much, as rows of
    what is held: int64."""

    moved: np.ndarray
    gone: np.ndarray

    def __len__(self) -> int:
        return len(self.moved) + len(self.gone)


def files_in(version: StoreVersion) -> str:
    """Tells the vectors of a version from those of others, also of an index that was built again
    under the same key."""
    entries = json.dumps([segment.entry for segment in version.segments], sort_keys=True)
    return hashlib.sha256(entries.encode()).hexdigest()


def write_held(folder: Path, held: Held) -> None:
    """Writes down what a copy holds."""
    rows = write_data_ids(folder, held.ids)
    record = {name: getattr(held, name) for name in _KINDS if name != "rows"}
    write_checked(folder / RECORD, {**record, "rows": rows})
    for path in (folder / "data").glob("*"):
        if path.name != Path(rows["file"]).name:
            with suppress(OSError):
                path.unlink()


def read_held(path: Path) -> Held | None:
    """What was written down; None if nothing was.

    Raises:
        DamagedError: if it is not what was written
    """

    def check(content: dict[str, Any], where: Path) -> None:
        check_kinds(content, _KINDS, where)
        check_data_file(content["rows"], where, "rows")

    record = read_checked(path, "indexing.sync(index, NAME) loads the copy anew", check=check)
    if record is None:
        return None
    rows = record.pop("rows")
    said = {name: record[name] for name in _KINDS if name in record}
    return Held(**said, read=partial(read_ids, path.parent, rows))
