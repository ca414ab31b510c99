"""Building the index of inverted lists of a table, and bringing it up to date."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import walk
from alphaclip.indexing.nearest.exact import select
from alphaclip.indexing.nearest.ivf import kind_name
from alphaclip.indexing.nearest.metrics import Metric, faiss_metric, prepare_rows
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.store.table import BLOCK, VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

POINTS = 256
"""Vectors to train with, for each centroid of a list, of which there are few."""

MOST_POINTS = 65_536
"""Vectors to train with at most."""

LEAST_POINTS = 16
"""Vectors in a list, at least: FAISS trains four bits on no fewer."""

ITERATIONS = 10


def build_ivf(
    table: VectorTable, metric: Metric, seed: int = 0, progress: Progress | None = None
) -> faiss.IndexIVF:
    """An index whose ids are rows, trained on a sample of the vectors.

    Args:
        table: of n > 0 vectors
        metric: to compare by
        seed: of the sample and of the clustering
        progress (None): told how many vectors are in
    """
    import faiss

    nlist = count_lists(len(table))
    index: Any = faiss.index_factory(table.dim, kind_name(nlist, table.dim), faiss_metric(metric))
    for clustering in (index.cp, index.pq.cp):
        clustering.niter, clustering.seed = ITERATIONS, seed
        clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, POINTS
    index.train(_sample(table, metric, min(nlist * POINTS, MOST_POINTS), seed))
    _add(index, table, metric, None, progress)
    return index


def extend_ivf(
    index: faiss.IndexIVF,
    table: VectorTable,
    metric: Metric,
    known_pieces: Sequence[str],
    trained_on: int,
    progress: Progress | None = None,
) -> faiss.IndexIVF | None:
    """Brings an index up to date: removes the rows that are gone, adds the new ones.

    Args:
        index: in memory, not mapped from a file: FAISS ends the process where such a one grows
        table: of the vectors now
        metric: that the index was built for
        known_pieces: names of the pieces it was built from; those that begin the table too keep
            their rows
        trained_on: number of vectors when it was trained
        progress (None): told how many of the new vectors are in

    Returns:
        the index, changed; or None, and not changed, where it is better trained again: the table
        has doubled since, or less than half of its vectors is still there
    """
    held = held_rows(index)
    known = table.rows[table.rows < _shared_rows(table, known_pieces)]
    kept = np.intersect1d(held, known, assume_unique=True)
    if len(table) >= 2 * trained_on or 2 * len(kept) < trained_on:
        return None
    gone = np.setdiff1d(held, kept, assume_unique=True)
    if len(gone):
        index.remove_ids(select(gone, int(gone[-1]) + 1))
    new = np.flatnonzero(np.isin(table.rows, kept, assume_unique=True, invert=True))
    logger.info("of the index %d rows are kept, %d removed, %d new", len(kept), len(gone), len(new))
    if len(new):
        _add(index, table, metric, new, progress)
    return index


def held_rows(index: faiss.IndexIVF) -> np.ndarray:
    """The ids in an index, int64, ascending."""
    import faiss

    lists: Any = index.invlists
    sizes = [lists.list_size(i) for i in range(index.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(i), n) for i, n in enumerate(sizes) if n]
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def count_lists(total: int) -> int:
    """Few, as most searches look into all of them: 64 for a million vectors."""
    return max(1, min(max(16, round(sqrt(total) / 16)), total // LEAST_POINTS))


def _sample(table: VectorTable, metric: Metric, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(len(table), min(count, len(table)), replace=False))
    sample = np.empty((len(places), table.dim), np.float32)
    done = 0
    for _, rows in walk(table, BLOCK, places):
        sample[done : done + len(rows)] = prepare_rows(rows, metric)
        done += len(rows)
    return sample


def _add(
    index: faiss.IndexIVF,
    table: VectorTable,
    metric: Metric,
    places: np.ndarray | None,
    progress: Progress | None,
) -> None:
    total, done = len(table) if places is None else len(places), 0
    for here, rows in walk(table, BLOCK, places):
        ids = np.ascontiguousarray(table.rows[here])
        index.add_with_ids(prepare_rows(rows, metric), ids)
        done += len(here)
        if progress is not None:
            progress("vectors indexed", done, total)


def _shared_rows(table: VectorTable, known_pieces: Sequence[str]) -> int:
    """Rows of the pieces that begin both the table and what was known."""
    shared = 0
    for piece, name, known in zip(table.pieces, table.names, known_pieces, strict=False):
        if name != known:
            break
        shared += len(piece)
    return shared
