"""Finds the best rows for a query: through FAISS where one search gives the order, else by looking
at every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.nearest.brute_force import scan
from alphaclip.indexing.nearest.metrics import prepare, similarity
from alphaclip.indexing.retrieval.queries import Ranking
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.engine import Engine

FEW = 10_000
"""More hits than these are found by looking at every row, which is then the quicker way."""


@dataclass(frozen=True, eq=False)
class Found:
    """Rows in order, best first.

    Attributes:
        places: int64 (k,), in the table
        scores: float32 (k,), cosine to the positive part of the query
        rank_scores: float32 (k,), what the order follows
    """

    places: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray

    def take(self, which: np.ndarray) -> Found:
        """Some of them, by position or by a mask."""
        return Found(self.places[which], self.scores[which], self.rank_scores[which])


def find(
    engine: Engine,
    table: VectorTable,
    ranking: Ranking,
    k: int | None,
    only: np.ndarray | None = None,
    min_score: float | None = None,
    groups: np.ndarray | None = None,
) -> Found:
    """The best rows.

    Args:
        engine: over the table
        table: of rows of unit length
        ranking: the query
        k: rows to find; None finds all
        only (None): int64, the only places that may be found
        min_score (None): leave out rows whose score is lower
        groups (None): int64 (n,); of each group only the best row is found
    """
    prepare(ranking.positive, "cosine", table.dim)
    if groups is None and k is not None and k <= FEW and (min_score is None or ranking.is_plain):
        candidates = _candidates(engine, ranking, k, only)
        if candidates is not None:
            found = _scored(table, ranking, candidates)
            return _cut(found, k, min_score)
    found = _scan(table, ranking, only, None if groups is not None else k, min_score)
    if groups is not None:
        _, first = np.unique(groups[found.places], return_index=True)
        found = found.take(np.sort(first))
    return _cut(found, k, min_score)


def _candidates(
    engine: Engine, ranking: Ranking, k: int, only: np.ndarray | None
) -> np.ndarray | None:
    """Places among which the best k are; None if FAISS cannot tell."""
    direction = ranking.direction
    if direction is not None:
        return np.unique(engine.search(direction, k, only)[1])
    if ranking.is_plain:
        return np.unique(engine.search(ranking.positive, k, only)[1])
    return None


def _scored(table: VectorTable, ranking: Ranking, places: np.ndarray) -> Found:
    rows = table.take(places).astype(np.float32)
    return _ordered(Found(places, *ranking.score(similarity(ranking.vectors, rows, "cosine"))))


def _scan(
    table: VectorTable,
    ranking: Ranking,
    only: np.ndarray | None,
    k: int | None,
    min_score: float | None,
) -> Found:
    nothing = np.zeros(0, np.float32)
    best = Found(np.zeros(0, np.int64), nothing, nothing)
    for places, cosines in scan(table, ranking.vectors, "cosine", only):
        block = Found(places, *ranking.score(cosines))
        if min_score is not None:
            block = block.take(block.scores >= min_score)
        best = _joined(best, block)
        if k is not None and len(best.places) > 4 * max(k, FEW):
            best = _cut(_ordered(best), k, None)
    return _ordered(best)


def _joined(first: Found, second: Found) -> Found:
    names = ("places", "scores", "rank_scores")
    return Found(*(np.concatenate([getattr(f, n) for f in (first, second)]) for n in names))


def _ordered(found: Found) -> Found:
    return found.take(np.lexsort((found.places, -found.rank_scores)))


def _cut(found: Found, k: int | None, min_score: float | None) -> Found:
    if min_score is not None:
        found = found.take(found.scores >= min_score)
    return found.take(np.arange(len(found.places))[:k])
