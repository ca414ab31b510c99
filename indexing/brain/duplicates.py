"""Which vectors are left when near-duplicates are taken out, without all distances at once.

Public: :func:`find_duplicates` and :class:`Duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COSINE, checked
from alphaclip.indexing.brain.queries import prepared
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.nearest.metrics import similarity
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.snapshot import Snapshot

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex

ROWS = 1024
"""Vectors that are compared at a time with all after them."""

LATER = 4096
"""Of which so many at a time."""

MOST_PAIRS = 4_000_000
"""Pairs that are remembered, 12 bytes each."""

MOST_BYTES = 2**28
"""Vectors of at most this size are read once, larger ones for each comparison."""

ALIKE = 0.98
"""From this cosine on a region is a near-duplicate."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Regions that are nearly the same as another, the most alike first.

    Attributes:
        hits: the duplicates; ``scores`` are their cosines to what they repeat
        originals: str (k,), the name of what each repeats, see :class:`Example`
    """

    hits: Hits
    originals: np.ndarray

    def __len__(self) -> int:
        return len(self.hits)


@checked(min_score=COSINE)
def find_duplicates(
    index: SearchIndex, min_score: float = ALIKE, skip_decided: bool = True
) -> Duplicates:
    """Finds the regions that repeat another; of those that are alike, the first is no duplicate.

    Args:
        index: whose regions
        min_score (0.98): the cosine from which on regions are alike
        skip_decided (True): leave out what :func:`decide` was told about
    """
    now = index.snapshot()
    is_left = Thinning(now, np.arange(len(now))).keep(1 - min_score)
    left, repeated = np.flatnonzero(is_left), np.flatnonzero(~is_left)
    if skip_decided:
        decided = decided_rows(index.dataset, "duplicates", now.lookup)
        repeated = repeated[~np.isin(repeated, decided)]
    if not len(repeated):
        nothing = np.zeros(0, np.float32)
        return Duplicates(index.hits(now, repeated, nothing, nothing), np.zeros(0, "U24"))
    scores, nearest = (some[:, 0] for some in now.engine().search(now.vectors(repeated), 1, left))
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    hits = index.hits(now, repeated[order], scores, scores)
    return Duplicates(hits, now.lookup.names(nearest[order]))


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

    def __init__(self, now: Snapshot, rows: np.ndarray) -> None:
        """Reads the vectors of some rows, if they are not too many."""
        self._now, self._rows, self._metric = now, rows, now.metric
        small = len(rows) * now.version.dim * 4 <= MOST_BYTES
        self._vectors = prepared(now, rows) if small else None
        self._pairs: _Pairs | None = None

    def keep(self, thresh: float, again: bool = False) -> np.ndarray:
        """Goes through the vectors in order; each that is left takes out all later ones near it.

        Args:
            thresh: distance up to which two are near
            again (False): whether other thresholds will follow: the closest pairs are then found
                once for all

        Returns:
            a mask of the vectors that are left
        """
        limit = -thresh if self._metric == "euclidean" else 1 - thresh
        if again and self._pairs is None:
            self._pairs = self._closest_pairs()
        if self._pairs is None or limit < self._pairs.limit:
            return self._stream(limit)
        pairs, left = self._pairs, np.ones(len(self._rows), bool)
        for one in np.flatnonzero(np.diff(pairs.starts)):
            if left[one]:
                own = slice(pairs.starts[one], pairs.starts[one + 1])
                left[pairs.later[own][pairs.scores[own] >= limit]] = False
        return left

    def _stream(self, limit: float) -> np.ndarray:
        left = np.ones(len(self._rows), bool)
        for start in range(0, len(left), ROWS):
            here = start + np.flatnonzero(left[start : start + ROWS])
            vectors = self._at(here)
            near = similarity(vectors, vectors, self._metric) >= limit
            first = np.ones(len(near), bool)
            for one in range(len(near)):
                if first[one]:
                    first[one + 1 :] &= ~near[one, one + 1 :]
            left[here[~first]] = False
            later = start + ROWS + np.flatnonzero(left[start + ROWS :])
            for block, scores in self._compare(vectors[first], later):
                left[block[(scores >= limit).any(axis=0)]] = False
        return left

    def _closest_pairs(self) -> _Pairs:
        """At most twice :data:`MOST_PAIRS`, and all that are as close as the last of them."""
        count, limit = len(self._rows), -np.inf
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
        self, vectors: np.ndarray, positions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(positions) if len(vectors) else 0, LATER):
            block = positions[start : start + LATER]
            yield block, similarity(vectors, self._at(block), self._metric)

    def _at(self, positions: np.ndarray) -> np.ndarray:
        if self._vectors is not None:
            return self._vectors[positions]
        return prepared(self._now, self._rows[positions])


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _closest(pairs: tuple) -> tuple[tuple, float]:
    """At most so many pairs, and the similarity from which on none is missing."""
    scores = pairs[2]
    last = np.partition(scores, -MOST_PAIRS - 1)[-MOST_PAIRS - 1]
    closer = scores > last
    return tuple(column[closer] for column in pairs), float(np.nextafter(last, np.float32(np.inf)))
