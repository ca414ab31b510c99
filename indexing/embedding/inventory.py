"""Which rows an index is to hold, and which of them have a vector already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.embedding.fingerprints import HALF, region_half
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, write_ids

if TYPE_CHECKING:
    from alphaclip.indexing.embedding.label_reader import PlannedPicture

_CHUNK = 65536
"""Rows of the list of all regions that are written together."""


class Available:
    """The rows whose vectors exist.

    Attributes:
        unreachable: how many regions settled so far are held though their picture is out of reach
    """

    def __init__(self, held: Sequence[RowIds]) -> None:
        self._rows = [rows for rows in held if len(rows)]
        self._lookups = [Lookup(rows) for rows in self._rows]
        self.unreachable = 0

    def settle(self, picture: PlannedPicture, field: str) -> tuple[RowIds, np.ndarray]:
        """The rows a picture should have, and which of them have no vector.

        Where the picture is out of reach, a vector of the same region and encoder still counts.

        Returns:
            the rows with their fingerprints, and a mask (n,)
        """
        own = [(picture.stamp or "-" * HALF) + stamp for stamp in picture.stamps]
        samples = [picture.sample_id] * len(own)
        ids = RowIds.of(samples, picture.label_ids, field, own)
        missing = np.ones(len(ids), bool)
        fingerprints = ids.fingerprints.copy()
        for rows, lookup in zip(self._rows, self._lookups, strict=True):
            at = lookup.find(ids.keys)
            there = rows.fingerprints[at]
            if picture.stamp is None:
                same = region_half(there) == region_half(fingerprints)
            else:
                same = there == fingerprints
            found = missing & (at >= 0) & same & _of_same_place(rows, at, ids)
            fingerprints[found] = there[found]
            missing &= ~found
        if picture.stamp is None:
            self.unreachable += int((~missing).sum())
        return RowIds(ids.sample_ids, ids.label_ids, ids.fields, fingerprints), missing


class WantedWriter:
    """Writes the list of all regions, a chunk at a time."""

    def __init__(self, folder: Path, name: str, field: str) -> None:
        self.count = 0
        self._folder, self._name, self._field = folder, name, field
        self._done: list[RowIds] = []
        self._waiting: list[RowIds] = []
        self._room = _CHUNK

    def add(self, ids: RowIds) -> None:
        """Takes the regions of one picture."""
        self._waiting.append(ids)
        self.count += len(ids)
        self._room -= len(ids)
        if self._room <= 0:
            self._join()

    def close(self) -> dict[str, Any]:
        """Writes the file; returns its name, SHA-256 and size."""
        self._join()
        return write_ids(self._folder, self._name, RowIds.joined(self._done))

    def _join(self) -> None:
        self._done.append(RowIds.joined([RowIds.of([], [], self._field, []), *self._waiting]))
        self._waiting, self._room = [], _CHUNK


def matching(wanted: RowIds, rows: RowIds, taken: np.ndarray, lookup: Lookup) -> np.ndarray:
    """Which rows of a piece are wanted as they are, and not yet taken from another piece.

    Args:
        wanted: all regions
        rows: of the piece
        taken: bool, of the wanted regions; those found here are set
        lookup: over ``wanted``

    Returns:
        a mask over the piece's rows
    """
    if not len(wanted):
        return np.zeros(len(rows), bool)
    at = lookup.find(rows.keys)
    same = wanted.fingerprints[at] == rows.fingerprints
    kept: np.ndarray = (at >= 0) & same & _of_same_place(wanted, at, rows) & ~taken[at]
    taken[at[kept]] = True
    return kept


def _of_same_place(found: RowIds, at: np.ndarray, rows: RowIds) -> np.ndarray:
    """Whether rows that were found by their ids are of the same sample and field: a mask (n,)."""
    same: np.ndarray = found.sample_ids[at] == rows.sample_ids
    return same & (found.fields[at] == rows.fields)
