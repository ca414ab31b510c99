"""Which vectors are left when near-duplicates are taken out, without all distances at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alphaclip.indexing.brain.vectors import Vectors
from alphaclip.indexing.nearest.metrics import Metric, similarity

ROWS = 1024
"""Vectors that are compared at a time with all after them."""

LATER = 4096
"""Of which so many at a time."""

MOST_PAIRS = 4_000_000
"""Pairs that are remembered, 12 bytes each."""

MOST_BYTES = 2**28
"""Vectors of at most this size are read once, larger ones for each comparison."""


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The closest pairs of positions, in order of the first.

    Attributes:
        starts: for each position, where its pairs begin; one more number is the end
        later: the second positions, which are later ones
        scores: similarities
        limit: all pairs that are at least so similar are there
    """

    starts: np.ndarray
    later: np.ndarray
    scores: np.ndarray
    limit: float


class Thinning:
    """Takes near-duplicates out of the same vectors, at one threshold after the other."""

    def __init__(self, vectors: Vectors, places: np.ndarray) -> None:
        """Reads the vectors, if they are not too many.

        Args:
            vectors: some of which are compared
            places: of these, in order
        """
        self._vectors, self._places = vectors, places
        self._metric: Metric = vectors.metric
        small = len(places) * vectors.version.dim * 4 <= MOST_BYTES
        self._rows = vectors.prepared(places) if small else None
        self._pairs: _Pairs | None = None

    def keep(self, thresh: float, again: bool = False) -> np.ndarray:
        """Goes through the vectors in order; each that is left takes out all later ones near it.

        Args:
            thresh: distance up to which two are near
            again (False): whether other thresholds will follow; the closest pairs are found once
                for all then

        Returns:
            a mask of the places that are left
        """
        limit = _similarity_at(thresh, self._metric)
        if again and self._pairs is None:
            self._pairs = self._closest_pairs()
        if self._pairs is not None and limit >= self._pairs.limit:
            return _thinned(self._pairs, limit)
        return self._stream(limit)

    def _stream(self, limit: float) -> np.ndarray:
        left = np.ones(len(self._places), bool)
        for start in range(0, len(left), ROWS):
            here = start + np.flatnonzero(left[start : start + ROWS])
            rows = self._at(here)
            apart = _first_of_each(similarity(rows, rows, self._metric) >= limit)
            left[here[~apart]] = False
            later = start + ROWS + np.flatnonzero(left[start + ROWS :])
            for block, scores in self._compare(rows[apart], later):
                left[block[(scores >= limit).any(axis=0)]] = False
        return left

    def _closest_pairs(self) -> _Pairs:
        """At most twice :data:`MOST_PAIRS`, and all that are as close as the last of them."""
        count, limit = len(self._places), -np.inf
        held = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
        parts, total = [held], 0
        for start in range(0, count, ROWS):
            here = np.arange(start, min(start + ROWS, count))
            for block, scores in self._compare(self._at(here), np.arange(start, count)):
                near = (scores >= limit) & (block > here[:, None])
                first, later = (axis.astype(np.int32) for axis in np.nonzero(near))
                parts.append((first + np.int32(start), block[later].astype(np.int32), scores[near]))
                total += len(first)
                if total > 2 * MOST_PAIRS:
                    held, limit = _closest(_joined(parts))
                    parts, total = [held], len(held[0])
        first, later, scores = _joined(parts)
        order = np.argsort(first, kind="stable")
        starts = np.searchsorted(first[order], np.arange(count + 1))
        return _Pairs(starts, later[order], scores[order], limit)

    def _compare(
        self, rows: np.ndarray, positions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(positions) if len(rows) else 0, LATER):
            block = positions[start : start + LATER]
            yield block, similarity(rows, self._at(block), self._metric)

    def _at(self, positions: np.ndarray) -> np.ndarray:
        if self._rows is not None:
            return self._rows[positions]
        return self._vectors.prepared(self._places[positions])


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _closest(pairs: tuple) -> tuple[tuple, float]:
    """At most so many pairs, and the similarity from which on none is missing."""
    scores = pairs[2]
    last = np.partition(scores, -MOST_PAIRS - 1)[-MOST_PAIRS - 1]
    kept = scores > last
    return tuple(column[kept] for column in pairs), float(np.nextafter(last, np.float32(np.inf)))


def _thinned(pairs: _Pairs, limit: float) -> np.ndarray:
    left = np.ones(len(pairs.starts) - 1, bool)
    for row in np.flatnonzero(np.diff(pairs.starts)):
        if left[row]:
            own = slice(pairs.starts[row], pairs.starts[row + 1])
            left[pairs.later[own][pairs.scores[own] >= limit]] = False
    return left


def _first_of_each(near: np.ndarray) -> np.ndarray:
    left = np.ones(len(near), bool)
    for row in range(len(near)):
        if left[row]:
            left[row + 1 :] &= ~near[row, row + 1 :]
    return left


def _similarity_at(thresh: float, metric: Metric) -> float:
    return -thresh if metric == "euclidean" else 1 - thresh
