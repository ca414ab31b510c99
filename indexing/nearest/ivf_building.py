"""Building the index of inverted lists of a table, and bringing it up to date."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.exact import select
from alphaclip.indexing.nearest.ivf import kind_name
from alphaclip.indexing.nearest.metrics import Metric, faiss_metric, prepare_rows
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.store.table import BLOCK, VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

RESIDUAL_FROM = 1_000_000
"""From so many vectors on, many lists of residual codes pay. They take twice as long to build, of
ten million four times; a search like those of texts reads a fourth of them, in two thirds of the
time, a third. Where all lists have to be read, it takes a sixth longer (`benchmarks/large.py`)."""

POINTS = 256
"""Vectors to train with, for each centroid of a list: FAISS itself takes no more than so many."""

MOST_POINTS = 65_536
"""Vectors to train with at most, unless that were fewer than ENOUGH_POINTS for each list."""

ENOUGH_POINTS = 32
"""With half as many for each list, vectors lie farther from their centroids."""

LEAST_POINTS = 16
"""Vectors in a list, at least: FAISS trains four bits on no fewer."""

ITERATIONS, CODE_ITERATIONS = 5, 10
"""Of k-means, for lists and for codes: the best candidates are scored exactly in the end, and ten
for the lists take twice as long to leave vectors as far from their centroids."""


def build_ivf(
    table: VectorTable,
    metric: Metric,
    seed: int = 0,
    progress: Progress | None = None,
    residual: bool | None = None,
) -> faiss.IndexIVF:
    """An index whose ids are slots, trained on a sample of the vectors.

    Args:
        table: of some vectors
        metric: to compare by
        seed: of the sample and of the clustering
        progress (None): told how many vectors are in
        residual (None): many lists of residual codes, or few of codes of the vectors themselves;
            by default what suits the number of vectors, and for distances the second, as FAISS
            makes each list's own table of them
    """
    import faiss

    if residual is None:
        residual = len(table) >= RESIDUAL_FROM and metric != "euclidean"
    nlist = count_lists(len(table), residual)
    kind = kind_name(nlist, table.dim, residual)
    index: Any = faiss.index_factory(table.dim, kind, faiss_metric(metric))
    for clustering, iterations in ((index.cp, ITERATIONS), (index.pq.cp, CODE_ITERATIONS)):
        clustering.niter, clustering.seed = iterations, seed
        clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, POINTS
    points = min(nlist * POINTS, max(MOST_POINTS, nlist * ENOUGH_POINTS))
    index.train(_sample(table, metric, points, seed))
    _add(index, table, metric, None, progress)
    return index


def extend_ivf(
    index: faiss.IndexIVF,
    table: VectorTable,
    metric: Metric,
    built_from: Sequence[str],
    trained_on: int,
    progress: Progress | None = None,
) -> faiss.IndexIVF | None:
    """Brings an index up to date: removes the vectors that are gone, adds the new ones.

    Args:
        index: in memory, not mapped from a file: FAISS ends the process where such a one grows
        table, metric: of the vectors now
        built_from: names of the segments it was built from; those that begin the table too keep
            their slots
        trained_on: number of vectors when it was trained
        progress (None): told how many of the new vectors are in

    Returns:
        the index, changed; or None, and not changed, where it is better trained again: the table
        has doubled since, or less than half of its vectors is still there
    """
    shared = 0
    for segment, name, before in zip(table.segments, table.names, built_from, strict=False):
        if name != before:
            break
        shared += len(segment)
    held = held_slots(index)
    same = np.intersect1d(held, table.slots[table.slots < shared], assume_unique=True)
    if len(table) >= 2 * trained_on or 2 * len(same) < trained_on:
        return None
    gone = np.setdiff1d(held, same, assume_unique=True)
    if len(gone):
        index.remove_ids(select(gone, int(gone[-1]) + 1))
    new = np.flatnonzero(np.isin(table.slots, same, assume_unique=True, invert=True))
    logger.info("of the index %d rows are kept, %d removed, %d new", len(same), len(gone), len(new))
    if len(new):
        _add(index, table, metric, new, progress)
    return index


def held_slots(index: faiss.IndexIVF) -> np.ndarray:
    """The ids in an index, int64, ascending."""
    import faiss

    lists: Any = index.invlists
    sizes = [lists.list_size(i) for i in range(index.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(i), n) for i, n in enumerate(sizes) if n]
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def count_lists(total: int, residual: bool) -> int:
    """Few where most searches look into all of them: 62 for a million vectors. Of those with
    residual codes 1000: twice as many would cost half as much again to build, and save a search a
    tenth."""
    number = round(sqrt(total) / (1 if residual else 16))
    return max(1, min(max(16, number), total // LEAST_POINTS))


def _sample(table: VectorTable, metric: Metric, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(table), min(count, len(table)), replace=False))
    return np.concatenate([prepare_rows(some, metric) for _, some in table.blocks(BLOCK, rows)])


def _add(
    index: faiss.IndexIVF,
    table: VectorTable,
    metric: Metric,
    rows: np.ndarray | None,
    progress: Progress | None,
) -> None:
    total, done = len(table) if rows is None else len(rows), 0
    for here, vectors in table.blocks(BLOCK, rows):
        ids = np.ascontiguousarray(table.slots[here])
        index.add_with_ids(prepare_rows(vectors, metric), ids)
        done += len(here)
        if progress is not None:
            progress("vectors indexed", done, total)
