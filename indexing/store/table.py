"""The vectors of one version of a store: rows of several mapped files, laid end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

BLOCK = 16384
"""Rows that are looked at together where a whole table is read: 512 numbers each are 32 MB as
float32, little beside the table, and enough for a matrix product to run at its full speed."""


TAKEN = 1024
"""Rows that are copied together: what is copied, compared with checksums and laid in its place
stays in the processor's cache, and no memory is asked of the system for a second copy of all."""


class Rows(Protocol):
    """Rows at rest, to be taken by a slice or by their numbers."""

    @property
    def dtype(self) -> np.dtype: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Vectors at rest. A *row* is the number of a vector in this version, from 0. A *slot* is
    where it lies in the files, laid end to end; the slots of dropped vectors stay empty.

    Attributes:
        segments: float16 or float32 (n_i, dim) each, of files that never change
        names: of the segments; equal names hold equal bytes
        slots: int64 (n,), the slot of each row, ascending
        dim: numbers in a vector
        dtype: float16 or float32
    """

    segments: tuple[Rows, ...]
    names: tuple[str, ...]
    slots: np.ndarray
    dim: int
    dtype: np.dtype

    def __len__(self) -> int:
        return len(self.slots)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, in that order: (m, dim) as stored."""
        taken = np.empty((len(rows), self.dim), self.dtype)
        for segment, here, inside in self.located(rows):
            for start in range(0, len(here), TAKEN):
                some = slice(start, start + TAKEN)
                taken[here[some]] = self.segments[segment][inside[some]]
        return taken

    def copied(self, rows: np.ndarray) -> VectorTable:
        """Some rows alone, in memory."""
        return VectorTable((self.take(rows),), ("",), np.arange(len(rows)), self.dim, self.dtype)

    def located(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Where some rows lie: of each segment its number, which of them are in it, as int64
        positions, and their numbers there."""
        slots = self.slots[rows]
        which = np.searchsorted(self._starts, slots, side="right") - 1
        order = np.argsort(which, kind="stable")
        ends = np.flatnonzero(np.diff(which[order], append=-1)) + 1
        for begin, end in zip([0, *ends][:-1], ends, strict=True):
            here = order[begin:end]
            segment = int(which[here[0]])
            yield segment, here, slots[here] - self._starts[segment]

    def blocks(
        self, size: int = BLOCK, rows: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Vectors, at most ``size`` at a time: int64 (b,) rows and (b, dim) vectors as stored.

        Without ``rows`` it goes through all, and copies nothing where none is dropped and all are
        in one segment; else through these, in their order.
        """
        if rows is not None:
            for start in range(0, len(rows), size):
                some = np.asarray(rows[start : start + size], np.int64)
                yield some, self.take(some)
            return
        for begin in range(0, len(self), size):
            slots = self.slots[begin : begin + size]
            first, last = np.searchsorted(self._starts, slots[[0, -1]], side="right") - 1
            some = np.arange(begin, begin + len(slots))
            if first == last:
                yield some, self._inside(first, slots - self._starts[first])
                continue
            parts = [self._inside(segment, inside) for segment, _, inside in self.located(some)]
            yield some, np.concatenate(parts)

    def _inside(self, segment: int, rows: np.ndarray) -> np.ndarray:
        """Some rows of a segment, ascending."""
        is_slice = rows[-1] - rows[0] + 1 == len(rows)
        return self.segments[segment][slice(rows[0], rows[-1] + 1) if is_slice else rows]

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.segments)])[:-1]
