"""Exact ranks of what is right among everything else, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

TIE = 1e-6
"""Scores this near are a tie: float32 products of equal vectors may differ by as much."""

_BLOCK_BYTES = 128 * 1024**2
"""Of the scores that are in memory at once: some hundred queries of a few 100,000 regions."""


@dataclass(frozen=True)
class Ranking:
    """Where the right answers to one query stand.

    Attributes:
        ranks: int (r,), ascending, from 1; one for each right answer
        items: int (r,), which right answer has each rank
        first: the best item of all, right or wrong
        score: of ``first``
    """

    ranks: np.ndarray
    items: np.ndarray
    first: int
    score: float

    def among(self, some: np.ndarray) -> np.ndarray:
        """Ranks of some right answers, bool (r,), when the others are taken out of the list."""
        ahead = np.cumsum(~some)
        return (self.ranks - ahead)[some]


def rank(
    queries: np.ndarray, gallery: np.ndarray, right: Sequence[np.ndarray]
) -> Iterator[Ranking]:
    """Ranks every right answer to every query by the inner product, exactly.

    Ties go against the encoder: a wrong item with the score of a right one stands before it. So an
    encoder that gives all items one vector is right by luck nowhere.

    Args:
        queries: float32 (q, dim)
        gallery: float32 (n, dim)
        right: for each query the rows of its right answers in the gallery, at least one

    Yields:
        a ranking for each query, in order
    """
    block = max(1, _BLOCK_BYTES // (4 * max(1, len(gallery))))
    for start in range(0, len(queries), block):
        scores = queries[start : start + block] @ gallery.T
        for row, answers in zip(scores, right[start : start + block], strict=True):
            yield _rank_row(row, np.asarray(answers))


def average_precision(ranks: np.ndarray) -> float:
    """Mean of the precision at the rank of each right answer, int (r,), ascending, from 1."""
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def _rank_row(scores: np.ndarray, answers: np.ndarray) -> Ranking:
    order = answers[np.argsort(-scores[answers], kind="stable")]
    wrong = np.sort(np.delete(scores, answers))
    before = len(wrong) - np.searchsorted(wrong, scores[order] - np.float32(TIE), side="left")
    ranks = before + np.arange(1, len(order) + 1)
    first = int(scores.argmax())
    return Ranking(ranks, order, first, float(scores[first]))
