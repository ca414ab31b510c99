"""Rows of a store, by the sample and the label that they are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphaclip.indexing.store.segments import RowIds, as_bytes, as_text

_BETWEEN = b"\x1f"
"""Stands between label and sample in one array of bytes; below whatever ids are made of, so that it
is in the order of both."""


class Lookup:
    """Finds rows by an order of theirs, 8 bytes a row: a dictionary would take twenty times the
    memory, and a sorted copy of the ids four times, for half of the time at best.

    Labels that were copied to another sample keep their ids. So what a row is of is the sample and
    the label. In text, a label id alone is the region of the oldest sample that has it; its
    *copies* are ``<sample id>-<label id>``.
    """

    def __init__(self, ids: RowIds) -> None:
        self._ids = ids
        self._order = ids.order
        sorted_keys = ids.keys[self._order]
        # Ids of samples begin with the time they were made at.
        self._copies = self._order[1:][sorted_keys[1:] == sorted_keys[:-1]]
        self._of_copies = _joined(ids.take(self._copies))

    def find(self, ids: RowIds) -> np.ndarray:
        """The row of each region, -1 where there is none: int64 (n,)."""
        rows = self.find_keys(ids.keys)
        there = np.flatnonzero(rows >= 0)
        other = there[self._ids.sample_ids[rows[there]] != ids.sample_ids[there]]
        if len(other):
            in_order = np.arange(len(self._copies))
            found = _search(self._of_copies, in_order, _joined(ids.take(other)))
            rows[other] = np.append(self._copies, -1)[found]
        return rows

    def find_keys(self, keys: np.ndarray, turns: np.ndarray | int = 0) -> np.ndarray:
        """The row of each label id, in an index of samples of each sample id, -1 where there is
        none: int64 (n,).

        Args:
            keys: bytes (n,)
            turns (0): int64 (n,), 0 for the oldest sample that has the label, 1 for the next
        """
        return _search(self._ids.keys, self._order, keys, turns)

    def find_named(self, names: Sequence[str]) -> np.ndarray:
        """The row of each region by its name, see :meth:`names`, -1 where there is none: int64
        (n,)."""
        rows = self.find_keys(as_bytes(list(names)))
        pairs = {i: names[i].partition("-") for i in np.flatnonzero(rows < 0).tolist()}
        if pairs:
            samples, _, labels = zip(*pairs.values(), strict=True)
            rows[list(pairs)] = self.find(RowIds.of(samples, labels))
        return rows

    def names(self, rows: np.ndarray) -> np.ndarray:
        """What tells some rows apart in text: str (n,)."""
        names = as_text(self._ids.keys[rows])
        copies = np.isin(rows, self._copies)
        if not copies.any():
            return names
        samples = as_text(self._ids.sample_ids[rows])
        return np.where(copies, np.char.add(np.char.add(samples, "-"), names), names)


def _search(
    within: np.ndarray, order: np.ndarray, keys: np.ndarray, turns: np.ndarray | int = 0
) -> np.ndarray:
    """The rows of keys in ``within``, which ``order`` sorts; -1 where one is not there."""
    if not len(within) or not len(keys):
        return np.full(len(keys), -1)
    # Of one type, or NumPy copies all keys each time; one that is cut is equal to none below.
    at = np.searchsorted(within, keys.astype(within.dtype), sorter=order) + turns
    inside = at < len(within)
    at[~inside] = 0
    rows = order[at]
    return np.where(inside & (within[rows] == keys), rows, -1)


def _joined(ids: RowIds) -> np.ndarray:
    return np.char.add(np.char.add(ids.keys, _BETWEEN), ids.sample_ids)
