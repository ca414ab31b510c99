"""Building the index of inverted lists of a table, and bringing it up to date."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from alphaclip.indexing.exact import select
from alphaclip.indexing.ivf import kind_name
from alphaclip.indexing.metrics import Metric, faiss_metric, prepare_rows
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.scan import walk
from alphaclip.indexing.table import BLOCK, VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

POINTS = 40
"""Vectors to train with, for each centroid; training is most of the time of building."""

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
    index: Any = faiss.index_factory(table.dim, kind_name(nlist), faiss_metric(metric))
    clustering = index.cp
    clustering.niter, clustering.seed = ITERATIONS, seed
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, POINTS
    index.train(_sample(table, metric, nlist * POINTS, seed))
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
    """FAISS's guideline is 4 to 16 times the root of the number of vectors."""
    return max(1, min(max(16, round(4 * sqrt(total))), total))


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
    """Adds vectors in two passes, so that each list is allocated once: growing would double it."""
    import faiss

    lists = _assign(index, table, metric, places)
    _reserve(index, lists)
    done = 0
    for here, rows in walk(table, BLOCK, places):
        vectors, ids = prepare_rows(rows, metric), np.ascontiguousarray(table.rows[here])
        own = np.ascontiguousarray(lists[done : done + len(here)])
        pointers = map(faiss.swig_ptr, (vectors, ids, own))
        index.add_core(len(here), *pointers)
        done += len(here)
        if progress is not None:
            progress("vectors indexed", done, len(lists))


def _assign(
    index: faiss.IndexIVF, table: VectorTable, metric: Metric, places: np.ndarray | None
) -> np.ndarray:
    """The list of each vector, int64 (n,)."""
    lists = np.empty(len(table) if places is None else len(places), np.int64)
    done = 0
    for here, rows in walk(table, BLOCK, places):
        nearest = index.quantizer.search(prepare_rows(rows, metric), 1)[1]
        lists[done : done + len(here)] = nearest[:, 0]
        done += len(here)
    return lists


def _reserve(index: faiss.IndexIVF, lists: np.ndarray) -> None:
    """Lets each list hold what is to come; a list that shrinks keeps its memory."""
    stored: Any = index.invlists
    for i, coming in enumerate(np.bincount(lists, minlength=index.nlist)):
        size = stored.list_size(i)
        stored.resize(i, size + int(coming))
        stored.resize(i, size)


def _shared_rows(table: VectorTable, known_pieces: Sequence[str]) -> int:
    """Rows of the pieces that begin both the table and what was known."""
    shared = 0
    for piece, name, known in zip(table.pieces, table.names, known_pieces, strict=False):
        if name != known:
            break
        shared += len(piece)
    return shared
