"""Rows of a store, by their ids."""

from __future__ import annotations

import numpy as np

from alphaclip.indexing.store.segments import RowIds


class Lookup:
    """Finds rows by key, in sorted arrays: a dictionary would take five times the memory."""

    def __init__(self, ids: RowIds) -> None:
        self._keys = ids.keys
        self._order = np.argsort(self._keys, kind="stable")
        self._sorted = self._keys[self._order]

    @property
    def repeated(self) -> np.ndarray:
        """The rows whose key an earlier row has: int64 (n,)."""
        return self._order[1:][self._sorted[1:] == self._sorted[:-1]]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The row of each key, -1 where there is none; of several rows the first: int64 (n,)."""
        if not len(self._sorted) or not len(keys):
            return np.full(len(keys), -1)
        # Of one type, or NumPy copies all keys each time; one that is cut is equal to none below.
        at = np.searchsorted(self._sorted, keys.astype(self._sorted.dtype))
        at[at == len(self._sorted)] = 0
        return np.where(self._sorted[at] == keys, self._order[at], -1)
