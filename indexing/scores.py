"""How the scores of a query are spread over an index, for choosing a threshold.

Public: :func:`distribution`, :func:`count_above`, :func:`measure` and :class:`Distribution`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from alphaclip.indexing.queries import Query
from alphaclip.indexing.rows import scores_of

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo
    from alphaclip.indexing.region_index import RegionIndex

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
    index: RegionIndex, query: Query, bins: int = 50, view: fo.SampleCollection | None = None
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
    index: RegionIndex,
    query: Query,
    min_score: float,
    view: fo.SampleCollection | None = None,
) -> int:
    """How many regions a search with this ``min_score`` and without k would find, exactly."""
    return sum(int((scores >= min_score).sum()) for scores in scores_of(index, query, view))


def measure(
    index: RegionIndex,
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
    cells, lowest, highest = np.zeros(CELLS, np.int64), np.inf, -np.inf
    for scores in scores_of(index, query, view, aggregate):
        if len(scores):
            cells += np.bincount(_cell(scores), minlength=CELLS)
            lowest, highest = min(lowest, scores.min()), max(highest, scores.max())
    if not cells.any():
        return Distribution(cells, float("nan"), float("nan"))
    return Distribution(cells, float(lowest), float(highest))


def _cell(scores: np.ndarray) -> np.ndarray:
    """The cell of each score, rounded so that a threshold of four digits begins a cell."""
    at = np.floor((scores.astype(np.float64) + 1) * (CELLS / 2) + 1e-3).astype(np.int64)
    return np.clip(at, 0, CELLS - 1)


def _middles() -> np.ndarray:
    return (np.arange(CELLS) + 0.5) / (CELLS / 2) - 1
