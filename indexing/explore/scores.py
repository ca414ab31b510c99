"""How the scores of a query are spread over an index, for choosing a threshold.

Public: :func:`distribution`, :func:`count_above`, :func:`measure`, :func:`find_and_measure` and
:class:`Distribution`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import Query, make_ranking
from alphaclip.indexing.retrieval.ranking import Found
from alphaclip.indexing.retrieval.rows import cosines_of, scores_of

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.index import SearchIndex

CELLS = 20_000
"""Cells in which scores are counted, each 1/10,000 wide: 160 kB whatever the index holds."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """The scores of one query, counted once, for a slider to be moved over.

    Attributes:
        cells: int64 (CELLS,), how many scores lie in each cell, the lowest first
        lowest: of all scores; NaN if there are none
        highest: of all scores; NaN if there are none
    """

    cells: np.ndarray
    lowest: float
    highest: float

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
        return cls(sum((part.cells for part in full), np.zeros(CELLS, np.int64)), lowest, highest)

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
        """The scores in equal bins from the lowest to the highest.

        Args:
            bins: at least 1

        Returns:
            int64 (bins,) counts, whose sum is ``len(self)``, and float64 (bins + 1,) edges
        """
        if bins < 1:
            raise AlphaClipError(f"bins is {bins}: expected a whole number of at least 1")
        if not len(self):
            return np.zeros(bins, np.int64), np.linspace(-1, 1, bins + 1)
        low, high = self.lowest, max(self.highest, self.lowest + 1e-6)
        edges = np.linspace(low, high, bins + 1)
        used = np.flatnonzero(self.cells)
        middles = np.clip(_middles()[used], low, high)
        counts, _ = np.histogram(middles, edges, weights=self.cells[used])
        return counts.round().astype(np.int64), edges


def distribution(
    index: SearchIndex, query: Query, bins: int = 50, view: fo.SampleCollection | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The histogram of all scores of a query.

    Args:
        index: to look through
        query: see :meth:`RegionIndex.search`
        bins: at least 1
        view (None): only regions of this view count

    Returns:
        int64 (bins,) counts and float64 (bins + 1,) edges, from the lowest to the highest score;
        a score less than 1/20,000 from an edge may be counted beside it
    """
    return measure(index, query, view).histogram(bins)


def count_above(
    index: SearchIndex,
    query: Query,
    min_score: float,
    view: fo.SampleCollection | None = None,
) -> int:
    """How many regions a search with this ``min_score`` and without k would find, exactly."""
    return sum(int((scores >= min_score).sum()) for scores in scores_of(index, query, view))


def measure(
    index: SearchIndex,
    query: Query,
    view: fo.SampleCollection | None = None,
    aggregate: str = "max",
) -> Distribution:
    """Counts the scores of all regions, in one scan; what is returned answers the rest.

    Args:
        index: to look through
        query: see :meth:`RegionIndex.search`
        view (None): only regions of this view count
        aggregate: how several parts make one score, see :meth:`RegionIndex.search`
    """
    return Distribution.of(scores_of(index, query, view, aggregate))


def find_and_measure(
    index: SearchIndex,
    query: Query,
    k: int | None = 50,
    view: fo.SampleCollection | None = None,
    negative: Query | None = None,
) -> tuple[Hits, Distribution]:
    """What :meth:`RegionIndex.search` finds and :func:`measure` counts, in one look at all regions.

    Args:
        index: to search; a large one is looked through in full, too, not through FAISS
        query: see :meth:`RegionIndex.search`
        k: regions to find; None finds all
        view (None): only regions of this view are found and count
        negative (None): what to avoid; it changes the order, not the scores
    """
    now = index.snapshot()
    ranking = make_ranking(index.encode, query, negative, "max", None, False)
    only = None if view is None else index.places_in(now, view)
    best = _Best(k)

    def scores_seen() -> Iterator[np.ndarray]:
        for places, cosines in cosines_of(now, ranking.vectors, only):
            block = Found(places, *ranking.score(cosines))
            best.add(block)
            yield block.scores

    spread = Distribution.of(scores_seen())
    found = best.found
    return index.hits(now, found.places, found.scores, found.rank_scores), spread


class _Best:
    """The best k of several blocks of rows; None keeps all.

    Attributes:
        found: so far, best first, and equals in order of place
    """

    def __init__(self, k: int | None) -> None:
        self._k = k
        nothing = np.zeros(0, np.float32)
        self.found = Found(np.zeros(0, np.int64), nothing, nothing)

    def add(self, block: Found) -> None:
        names = ("places", "scores", "rank_scores")
        both = ((getattr(self.found, name), getattr(block, name)) for name in names)
        rows = Found(*map(np.concatenate, both))
        if self._k is not None and self._k < len(rows.places):
            least = np.partition(rows.rank_scores, -self._k)[-self._k]
            rows = rows.take(rows.rank_scores >= least)
        self.found = rows.take(np.lexsort((rows.places, -rows.rank_scores))[: self._k])


def _cell(scores: np.ndarray) -> np.ndarray:
    """The cell of each score, rounded so that a threshold of four digits begins a cell."""
    at = np.floor((scores.astype(np.float64) + 1) * (CELLS / 2) + 1e-3).astype(np.int64)
    return np.clip(at, 0, CELLS - 1)


def _middles() -> np.ndarray:
    return (np.arange(CELLS) + 0.5) / (CELLS / 2) - 1
