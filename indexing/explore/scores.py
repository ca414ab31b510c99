"""How the scores of a query are spread over an index, for choosing a threshold.

Public: :func:`distribution`, :func:`count_above`, :func:`find_and_measure` and
:class:`Distribution`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COSINE, COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest.brute_force import Best, scan
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import NO_WORDS, Query
from alphaclip.indexing.retrieval.ranking import Ranking, find
from alphaclip.indexing.retrieval.snapshot import Snapshot, sampled

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.index import SearchIndex

COUNTED = 200_000
"""Of more regions the scores are not all computed for a histogram: those of the best are, and a
sample stands for the others."""

BEST = 2000
"""So many are never estimated: a threshold lies among the best."""

CELLS = 20_000
"""Cells in which scores are counted, each 1/10,000 wide: 160 kB whatever the index holds."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """The scores of one query, counted once, for a slider to be moved over.

    Attributes:
        cells: int64 (CELLS,), how many scores lie in each cell, the lowest first
        lowest: of all scores, or of those that stand for all; NaN if there are none
        highest: of all scores; NaN if there are none
        error: so much a count may be off, in 19 of 20 queries, where a sample stands for the
            scores below the best; 0 where all were counted
    """

    cells: np.ndarray
    lowest: float
    highest: float
    error: int = 0

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Distribution:
        """Counts scores, float32 (b,) at a time."""
        cells, lowest, highest = np.zeros(CELLS, np.int64), np.inf, -np.inf
        for scores in blocks:
            if len(scores):
                cells += np.bincount(_cell(scores), minlength=CELLS)
                lowest, highest = min(lowest, scores.min()), max(highest, scores.max())
        if not cells.any():
            return cls(cells, float("nan"), float("nan"))
        return cls(cells, float(lowest), float(highest))

    @classmethod
    def joined(cls, parts: Sequence[Distribution]) -> Distribution:
        """Those of several indexes as one; at least one."""
        full = [part for part in parts if len(part)] or parts[:1]
        lowest, highest = min(part.lowest for part in full), max(part.highest for part in full)
        cells = sum((part.cells for part in full), np.zeros(CELLS, np.int64))
        return cls(cells, lowest, highest, sum(part.error for part in full))

    def standing_for(self, count: int) -> Distribution:
        """The same, as that of so many scores; ``self`` has some."""
        up_to = np.round(np.cumsum(self.cells) * (count / len(self))).astype(np.int64)
        error = ceil(1.96 * count * sqrt(0.25 / len(self)))
        return replace(self, cells=np.diff(up_to, prepend=0), error=error)

    def __len__(self) -> int:
        return int(self.cells.sum())

    def above(self, min_score: float) -> int:
        """How many scores reach a threshold, which is rounded to a cell of 1/10,000.

        :func:`count_above` counts exactly.
        """
        if not len(self) or min_score > self.highest:
            return 0
        return int(self.cells[_cell(np.array([min_score]))[0] :].sum())

    def histogram(self, bins: int = 50) -> tuple[np.ndarray, np.ndarray]:
        """The scores in equal bins from the lowest to the highest: int64 (bins,) counts, which add
        up to ``len(self)``, and float64 (bins + 1,) edges.
        """
        if bins < 1:
            raise AlphaClipError(f"bins is {bins}: expected a whole number of at least 1")
        if not len(self):
            return np.zeros(bins, np.int64), np.linspace(-1, 1, bins + 1)
        low, high = self.lowest, max(self.highest, self.lowest + 1e-6)
        edges = np.linspace(low, high, bins + 1)
        used = np.flatnonzero(self.cells)
        middles = np.clip((used + 0.5) / (CELLS / 2) - 1, low, high)
        counts, _ = np.histogram(middles, edges, weights=self.cells[used])
        return counts.round().astype(np.int64), edges


@checked(bins=COUNT)
def distribution(
    index: SearchIndex, query: Query, bins: int = 50, view: fo.SampleCollection | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The histogram of all scores of a query, or of those in a view.

    Args:
        index: to look through
        query: see :meth:`RegionIndex.search`
        bins: at least 1
        view (None): only regions of this view count

    Returns:
        int64 (bins,) counts and float64 (bins + 1,) edges, from the lowest to the highest score;
        a score less than 1/20,000 from an edge may be counted beside it
    """
    return Distribution.of(_scores_of(index, query, view)).histogram(bins)


@checked(min_score=COSINE)
def count_above(
    index: SearchIndex,
    query: Query,
    min_score: float,
    view: fo.SampleCollection | None = None,
) -> int:
    """How many regions a search with this ``min_score`` and without k would find, exactly."""
    return sum(int((scores >= min_score).sum()) for scores in _scores_of(index, query, view))


def find_and_measure(
    index: SearchIndex, ranking: Ranking, k: int | None, view: fo.SampleCollection | None = None
) -> tuple[Hits, Distribution]:
    """What :meth:`SearchIndex.find` finds, and how all scores are spread, in one look at them.

    Of a large index the best :data:`BEST` are found through FAISS, and the others are counted in a
    sample of :data:`SAMPLED`; not where what is to be avoided, or weights, make another order than
    the scores. Captions are matched for the hits alone: the scores are the cosines.
    """
    if ranking.words.captions is not None:
        by_vectors = replace(ranking, words=NO_WORDS)
        return index.find(ranking, k, view), find_and_measure(index, by_vectors, 1, view)[1]
    now = index.snapshot()
    only = None if view is None else index.rows_in(now, view)
    total = len(now) if only is None else len(only)
    if total > COUNTED and ranking.is_plain and k is not None and k <= BEST:
        top = find(now.engine(), now.version.table, ranking, BEST, only)
        others = _sampled(now, ranking, only)
        others = others[others < top.scores[-1]]
        if len(others):
            rest = Distribution.of([others]).standing_for(total - len(top.rows))
            hits = index.hits(now, top.rows[:k], top.scores[:k], top.rank_scores[:k])
            return hits, Distribution.joined([Distribution.of([top.scores]), rest])
    best = Best(k, beside=1)

    def scores_seen() -> Iterator[np.ndarray]:
        for rows, cosines in now.cosines(ranking.vectors, only):
            scores, keys = ranking.score(cosines)
            best.add(rows, keys[None], scores[None])
            yield scores

    spread = Distribution.of(scores_seen())
    rows, keys, scores = (column[0] for column in best.ranked())
    return index.hits(now, rows, scores, keys), spread


def _scores_of(
    index: SearchIndex, query: Query, view: fo.SampleCollection | None
) -> Iterator[np.ndarray]:
    """The cosines of all regions, or of a view's, to a query: float32 (b,) at a time."""
    now, ranking = index.snapshot(), index.ranking(query)
    only = None if view is None else index.rows_in(now, view)
    for _, cosines in scan(now.version.table, ranking.vectors, "cosine", only):
        yield ranking.score(cosines)[0]


def _sampled(now: Snapshot, ranking: Ranking, only: np.ndarray | None) -> np.ndarray:
    """The scores of a sample of all rows, or of some: float32 (n,)."""
    sample = now.sample if only is None else now.version.table.copied(sampled(only))
    seen = scan(sample, ranking.vectors, "cosine")
    return np.concatenate([ranking.score(cosines)[0] for _, cosines in seen])


def _cell(scores: np.ndarray) -> np.ndarray:
    """The cell of each score, rounded so that a threshold of four digits begins a cell."""
    at = np.floor((scores.astype(np.float64) + 1) * (CELLS / 2) + 1e-3).astype(np.int64)
    return np.clip(at, 0, CELLS - 1)
