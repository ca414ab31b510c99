"""Finds the best rows for a query: through FAISS where one search gives the order, else by looking
at every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest.brute_force import Best, scan
from alphaclip.indexing.nearest.metrics import similarity
from alphaclip.indexing.retrieval.queries import NEGATIVE_WEIGHT, NO_WORDS, Aggregate, Words
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.engine import Engine

FEW = 10_000
"""More hits than these are found by looking at every row, which is then the quicker way."""


ROUNDING = 1e-6
"""A cosine differs by less than this by the way it is computed; so a hit's own score, as the lowest
score of another search, finds that hit again."""

MORE = 8
"""So many times more hits are found where only the best of each group is meant: pictures have some
that match."""

Groups = Callable[[np.ndarray], np.ndarray]
"""What is equal for rows of one group: of int64 (n,) rows, (n,)."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """An encoded query: how rows are scored, and ordered.

    Attributes:
        vectors: float32 (m + j, dim), of unit length: the m positive ones, then the j negative ones
        weights: float32 (m,), of the positive vectors in the order; not in the scores
        aggregate: how cosines to several vectors make one: the largest, or the mean
        reverse: the least similar first
        is_plain: whether the order follows the scores, best first
        probes: float32 (n, dim), vectors among whose k nearest rows the best k are; None if only a
            look at every row can tell
        words: of the query
    """

    vectors: np.ndarray
    weights: np.ndarray
    aggregate: Aggregate
    reverse: bool
    is_plain: bool
    probes: np.ndarray | None
    words: Words = NO_WORDS

    @classmethod
    def of(
        cls,
        positive: np.ndarray,
        negative: np.ndarray | None = None,
        aggregate: str = "max",
        weights: Sequence[float] | None = None,
        reverse: bool = False,
        words: Words = NO_WORDS,
    ) -> Ranking:
        """Checks the options of a query.

        Args:
            positive: float32 (m, dim), of unit length: what to look for
            negative (None): float32 (j, dim), of unit length: what to avoid
            aggregate: "max" or "mean"
            weights (None): positive numbers, one for each part; None weighs them equally
            reverse (False): the least similar first
            words: of the query

        Raises:
            AlphaClipError: if aggregate or weights are not that, or captions are to be matched
                the least similar first
        """
        if reverse and words.captions is not None:
            raise AlphaClipError("captions are matched best first: leave reverse or captions out")
        aggregate = check("aggregate", aggregate, "Aggregate", Aggregate)
        weighing = np.ones(len(positive), np.float32)
        if weights is not None:
            weighing = np.asarray(check("weights", weights, "Sequence[float]"), np.float32)
            if weighing.shape != (len(positive),) or not (weighing > 0).all():
                raise AlphaClipError(
                    f"weights are {list(weights)!r}: expected {len(positive)} positive numbers, "
                    "one for each part of the query; what to avoid goes into negative="
                )
            weighing = weighing / weighing.mean()
        against = positive[:0] if negative is None else negative
        is_plain = not len(against) and not reverse and bool((weighing == 1).all())
        probes = positive if is_plain else None
        several = max(len(positive), len(against)) > 1
        if not reverse and (aggregate == "mean" or not several):
            # A cosine is linear in the query: where cosines are only added up, one vector will do.
            direction = (weighing[:, None] * positive).mean(axis=0, keepdims=True)
            if len(against):
                direction = direction - NEGATIVE_WEIGHT * against.mean(axis=0, keepdims=True)
            if np.linalg.norm(direction) > 1e-6:
                probes = direction
        vectors = np.concatenate([positive, against])
        options = (aggregate, reverse, is_plain, probes, words)
        return cls(vectors, weighing, *options)  # type: ignore[arg-type]

    def score(self, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of n rows, and what their order follows, the largest first: float32 (n,) each.

        Args:
            cosines: float32 (m + j, n), of :attr:`vectors` with the rows
        """
        combine = np.max if self.aggregate == "max" else np.mean
        positive, negative = np.split(cosines, [len(self.weights)])
        scores = combine(positive, axis=0)
        order = combine(positive * self.weights[:, None], axis=0)
        if len(negative):
            order = order - NEGATIVE_WEIGHT * combine(negative, axis=0)
        return scores, -order if self.reverse else order


@dataclass(frozen=True, eq=False)
class Ranked:
    """Rows in order, best first.

    Attributes:
        rows: int64 (k,), in the table
        scores: float32 (k,), cosine to the positive part of the query
        rank_scores: float32 (k,), what the order follows
    """

    rows: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray

    def take(self, which: np.ndarray) -> Ranked:
        """Some of them, by position or by a mask."""
        return Ranked(self.rows[which], self.scores[which], self.rank_scores[which])


def find(
    engine: Engine,
    table: VectorTable,
    ranking: Ranking,
    k: int | None,
    only: np.ndarray | None = None,
    min_score: float | None = None,
    groups: Groups | None = None,
) -> Ranked:
    """The best k rows; None finds all.

    Args:
        engine: over the table
        table: of rows of unit length
        ranking, k: the query, and how many
        only (None): int64, ascending, the only rows that may be found
        min_score (None): leave out rows whose score is lower
        groups (None): of each group only the best row is found
    """
    probes = ranking.probes if min_score is None or ranking.is_plain else None
    if probes is None or k is None or k > FEW:
        return _scan(table, ranking, k, only, min_score, groups)
    if groups is None:
        return _nearest(engine, table, ranking, probes, k, only, min_score)
    more = min(k * MORE, FEW)
    ranked = _nearest(engine, table, ranking, probes, more, only, min_score)
    best = ranked.take(first_of_each(groups(ranked.rows))[:k])
    if len(best.rows) == k or len(ranked.rows) < more:
        return best
    return _scan(table, ranking, k, only, min_score, groups)


def _nearest(
    engine: Engine,
    table: VectorTable,
    ranking: Ranking,
    probes: np.ndarray,
    k: int,
    only: np.ndarray | None,
    min_score: float | None,
) -> Ranked:
    rows = np.unique(engine.search(probes, k, only)[1])
    vectors = table.take(rows).astype(np.float32)
    scores, keys = ranking.score(similarity(ranking.vectors, vectors, "cosine"))
    order = np.lexsort((rows, -keys))
    if min_score is not None:
        order = order[scores[order] >= min_score - ROUNDING]
    order = order[:k]
    return Ranked(rows[order], scores[order], keys[order])


def _scan(
    table: VectorTable,
    ranking: Ranking,
    k: int | None,
    only: np.ndarray | None,
    min_score: float | None,
    groups: Groups | None,
) -> Ranked:
    best = Best(k if groups is None else None, beside=1)
    for rows, cosines in scan(table, ranking.vectors, "cosine", only):
        block = Ranked(rows, *ranking.score(cosines))
        if min_score is not None:
            block = block.take(block.scores >= min_score - ROUNDING)
        best.add(block.rows, block.rank_scores[None], block.scores[None])
    rows, keys, scores = (column[0] for column in best.ranked())
    ranked = Ranked(rows, scores, keys)
    if groups is not None:
        ranked = ranked.take(first_of_each(groups(rows))[:k])
    return ranked


def first_of_each(groups: np.ndarray) -> np.ndarray:
    """The first place of each value, ascending: int64 (m,)."""
    return np.sort(np.unique(groups, return_index=True)[1])
