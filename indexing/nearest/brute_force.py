"""Exact search that reads the table block by block: needs memory for one block, and no index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaclip.indexing.nearest.metrics import (
    HalfSimilarity,
    Metric,
    prepare,
    prepare_rows,
    similarity,
)
from alphaclip.indexing.store.table import BLOCK, VectorTable

QUERIES = 256
"""For more queries than these, blocks are smaller, so that the scores of one stay small: 16 MB."""


FEW = 3
"""For so few queries float16 rows are compared as they are: to convert them takes three times as
long as one query."""


class Best:
    """The best k rows of each query, found block by block; equals count in order of row.

    Args:
        k: rows to find; None finds all
        queries (1): how many there are
        beside (0): how many more numbers come with each row
    """

    def __init__(self, k: int | None, queries: int = 1, beside: int = 0) -> None:
        self._k = k
        self._least: np.ndarray | None = None
        empty = np.zeros((queries, 0), np.float32)
        self._blocks: list[tuple[np.ndarray, ...]] = [
            (np.zeros((queries, 0), np.int64), empty, *[empty] * beside)
        ]

    def add(self, rows: np.ndarray, keys: np.ndarray, *beside: np.ndarray) -> None:
        """Looks at a block.

        Args:
            rows: int64 (b,), ascending, and after those of the blocks before
            keys: float32 (m, b), that the order follows, the largest first
            beside: (m, b) each, more numbers of each row
        """
        columns: tuple[np.ndarray, ...] = (np.broadcast_to(rows, keys.shape), keys, *beside)
        if self._least is not None:
            # After a few blocks hardly any row is still among the best of any query.
            better = (keys > self._least).any(axis=0)
            columns = tuple(column[:, better] for column in columns)
        self._blocks.append(columns)
        if self._k is not None and sum(block[0].shape[1] for block in self._blocks) > self._k:
            self._cut(self._k)

    def ranked(self) -> tuple[np.ndarray, ...]:
        """The best first: int64 (m, k') rows, float32 (m, k') keys, and what came beside."""
        columns = self._joined()
        order = _descending(columns[1])
        return tuple(np.take_along_axis(column, order, 1) for column in columns)

    def _joined(self) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*self._blocks, strict=True))

    def _cut(self, k: int) -> None:
        columns = self._joined()
        keys = np.fmax(columns[1], -np.inf)  # no number, as of sums that overflow, is the worst
        least = np.partition(keys, keys.shape[1] - k, axis=1)[:, -k, None]
        best = keys >= least
        if best.sum() > k * len(keys):
            # Of those that are equal to the last of the best, the first rows.
            equal = keys == least
            room = k - (keys > least).sum(axis=1, keepdims=True)
            best &= ~equal | (np.cumsum(equal, axis=1) <= room)
        self._blocks = [tuple(column[best].reshape(len(keys), k) for column in columns)]
        self._least = least


def _descending(keys: np.ndarray) -> np.ndarray:
    """The order of float32 keys along the last axis, the largest first, equals by their place.

    Place and key are sorted as one number, a fifth of the time of a stable argsort.
    """
    bits = (0 - np.fmax(keys, -np.inf)).view(np.uint32)
    # With the sign flipped, and negative numbers inverted, bits have the order of their numbers.
    ascending = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    places = np.arange(keys.shape[-1], dtype=np.uint64)
    both = np.sort((ascending.astype(np.uint64) << np.uint64(32)) | places, axis=-1)
    return (both & np.uint64(0xFFFFFFFF)).astype(np.int64)


def scan_top(
    table: VectorTable,
    queries: np.ndarray,
    k: int,
    metric: Metric,
    rows: np.ndarray | None = None,
    least: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to each query, equals in order of row; see :meth:`Engine.search`.

    Args:
        table, queries, k, metric, rows: see there
        least (False): the least similar instead, the least first
    """
    prepare(queries, metric, table.dim)
    if k <= 0:
        return nothing(len(queries))
    best = Best(k, len(queries))
    for here, scores in scan(table, queries, metric, rows):
        best.add(here, -scores if least else scores)
    top, keys = best.ranked()
    return -keys if least else keys, top


def scan(
    table: VectorTable, queries: np.ndarray, metric: Metric, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All similarities, or those to some rows, a block at a time.

    Yields:
        int64 (b,) rows and float32 (m, b) similarities

    Raises:
        AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
    """
    vectors = prepare(queries, metric, table.dim)
    if 0 < len(vectors) <= FEW and table.dtype == np.float16 and metric != "euclidean":
        compare = HalfSimilarity(table.dim)
        for here, stored in table.blocks(BLOCK, rows):
            yield here, compare(vectors, stored)
        return
    size = max(1, min(BLOCK, BLOCK * QUERIES // max(1, len(vectors))))
    decoded = np.empty((min(size, len(table)), table.dim), np.float32)
    for here, stored in table.blocks(size, rows):
        block = prepare_rows(stored, metric, decoded[: len(stored)])
        yield here, similarity(vectors, block, metric)


def rescore(
    table: VectorTable, queries: np.ndarray, candidates: np.ndarray, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """The best k of some candidates, by their exact similarity.

    Args:
        table, metric: of the vectors
        queries: from :func:`alphaclip.indexing.nearest.metrics.prepare`, (m, dim)
        candidates: int64 (m, c) rows, each once in a line; -1 stands for none

    Returns:
        float32 (m, k) similarities and int64 (m, k) rows, best first; -inf and -1 where a line has
        fewer candidates
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for line, query in enumerate(queries):
        # In order of row the table is read in order, and equals come out in order.
        some = np.sort(candidates[line][candidates[line] >= 0])
        exact = similarity(query[None], prepare_rows(table.take(some), metric), metric)[0]
        best = np.argsort(-exact, kind="stable")[:k]
        scores[line, : len(best)], rows[line, : len(best)] = exact[best], some[best]
    return scores, rows


def nothing(queries: int, k: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What a search finds where there are no queries, or k rows are to be found and k <= 0."""
    shape = (queries, max(k, 0))
    return np.zeros(shape, np.float32), np.zeros(shape, np.int64)
