"""The vectors of one version of a store: rows of several mapped files, laid end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BLOCK = 16384
"""Rows that are looked at together where a whole table is read."""


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Vectors at rest. A *row* is a number among all the rows of the files, laid end to end; some
    of these are dropped. A *place* is a number among the rows that are left, from 0.

    Attributes:
        pieces: float16 or float32 (n_i, dim) each, mapped from files that never change
        names: of the pieces; equal names hold equal bytes
        rows: int64 (n,), the rows that are left, ascending
        dim: numbers in a vector
        dtype: float16 or float32
    """

    pieces: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    rows: np.ndarray
    dim: int
    dtype: np.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The vectors at some places, in that order: (m, dim) as stored."""
        rows = self.rows[places]
        taken = np.empty((len(rows), self.dim), self.dtype)
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for piece in np.unique(which):
            here = which == piece
            taken[here] = self.pieces[piece][rows[here] - self._starts[piece]]
        return taken

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """All vectors in order of place, at most ``size`` at a time: (m, dim) as stored."""
        for piece, start in zip(self.pieces, self._starts, strict=True):
            first, last = np.searchsorted(self.rows, [start, start + len(piece)])
            for begin in range(first, last, size):
                here = self.rows[begin : min(begin + size, last)] - start
                whole = here[-1] - here[0] + 1 == len(here)
                yield piece[here[0] : here[-1] + 1] if whole else piece[here]

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.pieces)])[:-1]
