"""Exact search that reads the table block by block: needs memory for one block, and no index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaclip.indexing.nearest.metrics import Metric, prepare, prepare_rows, similarity
from alphaclip.indexing.store.table import BLOCK, VectorTable

QUERIES = 256
"""For more queries than these, blocks are smaller, so that the scores of one stay small."""


def scan_top(
    table: VectorTable,
    queries: np.ndarray,
    k: int,
    metric: Metric,
    places: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to each query.

    Args:
        table: of n vectors
        queries: (m, dim), finite
        k: places to find
        metric: to compare by
        places (None): int64, the only places that may be found, each once

    Returns:
        float32 (m, k') similarities and int64 (m, k') places, best first and equals in order of
        place; k' is the smaller of k and the number of places

    Raises:
        AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
    """
    return _scan_best(table, queries, k, metric, places, 1)


def scan_least(
    table: VectorTable,
    queries: np.ndarray,
    k: int,
    metric: Metric,
    places: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors least similar to each query, the least first; else as :func:`scan_top`."""
    return _scan_best(table, queries, k, metric, places, -1)


def scan(
    table: VectorTable, queries: np.ndarray, metric: Metric, places: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All similarities, a block at a time.

    Args:
        table: of n vectors
        queries: (m, dim), finite
        metric: to compare by
        places (None): int64, the only places to compare

    Yields:
        int64 (b,) places and float32 (m, b) similarities

    Raises:
        AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
    """
    vectors = prepare(queries, metric, table.dim)
    size = max(1, min(BLOCK, BLOCK * QUERIES // max(1, len(vectors))))
    decoded = np.empty((min(size, len(table)), table.dim), np.float32)
    for here, rows in walk(table, size, places):
        block = prepare_rows(rows, metric, decoded[: len(rows)])
        yield here, similarity(vectors, block, metric)


def rescore(
    table: VectorTable, queries: np.ndarray, candidates: np.ndarray, k: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """The best of some candidates, by their exact similarity.

    Args:
        table: of n vectors
        queries: from :func:`alphaclip.indexing.nearest.metrics.prepare`, (m, dim)
        candidates: int64 (m, c) places, each once in a line; -1 stands for none
        k: places to keep of each line
        metric: to compare by

    Returns:
        float32 (m, k) similarities and int64 (m, k) places, best first; -inf and -1 where a line
        has fewer candidates
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    places = np.full((len(queries), k), -1, np.int64)
    for line, query in enumerate(queries):
        # In order of place the table is read in order, and equals come out in order.
        given = np.sort(candidates[line][candidates[line] >= 0])
        rows = prepare_rows(table.take(given), metric)
        exact = similarity(query[None], rows, metric)[0]
        best = np.argsort(-exact, kind="stable")[:k]
        scores[line, : len(best)], places[line, : len(best)] = exact[best], given[best]
    return scores, places


def walk(
    table: VectorTable, size: int, places: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All vectors, or those at some places: int64 (b,) places and (b, dim) as stored, b <= size."""
    if places is not None:
        for start in range(0, len(places), size):
            here = np.asarray(places[start : start + size], np.int64)
            yield here, table.take(here)
        return
    start = 0
    for rows in table.blocks(size):
        yield np.arange(start, start + len(rows)), rows
        start += len(rows)


def in_order(scores: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts each line, (m, k): best first, and equals in order of place."""
    order = np.lexsort((places, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)


def nothing(queries: int, k: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What a search finds where there are no queries, or k places are to be found and k <= 0."""
    shape = (queries, max(k, 0))
    return np.zeros(shape, np.float32), np.zeros(shape, np.int64)


def _scan_best(
    table: VectorTable,
    queries: np.ndarray,
    k: int,
    metric: Metric,
    places: np.ndarray | None,
    sign: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of sign * similarity."""
    scores, found = nothing(len(queries))
    prepare(queries, metric, table.dim)
    if k <= 0:
        return scores, found
    for here, values in scan(table, queries, metric, places):
        scores, found = _merge(scores, found, sign * values, here, k)
    scores, found = in_order(scores, found)
    return sign * scores, found


def _merge(
    scores: np.ndarray, found: np.ndarray, values: np.ndarray, here: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best k so far and of one more block, in no order."""
    if scores.shape[1] == k:
        # After a few blocks hardly any vector is still among the best of any query.
        better = (values > scores.min(axis=1, keepdims=True)).any(axis=0)
        values, here = values[:, better], here[better]
    places = np.broadcast_to(here, values.shape)
    scores, found = np.hstack([scores, values]), np.hstack([found, places])
    if scores.shape[1] <= k:
        return scores, found
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
