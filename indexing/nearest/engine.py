"""Which search a table gets: exact up to a size, beyond it through short codes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphaclip.files import StoreError
from alphaclip.indexing.nearest.cache import Cached, describe, load_cache, load_relative, save_cache
from alphaclip.indexing.nearest.exact import BATCH, ExactIndex, open_gpu
from alphaclip.indexing.nearest.ivf import IvfIndex, kind_name
from alphaclip.indexing.nearest.ivf_building import build_ivf, extend_ivf, held_slots
from alphaclip.indexing.nearest.metrics import check_metric
from alphaclip.indexing.nearest.tuning import make_queries, tune
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.metrics import Metric

logger = logging.getLogger(__name__)

EXACT_LIMIT = 200_000
"""Vectors that one exact search still compares in tens of milliseconds on a CPU."""

GPU_FROM = 20_000
"""Fewer vectors are compared on a CPU in a millisecond, and leave the GPU's memory to others."""

LEAST = 256
"""So few vectors are not enough to train an index with."""

MOST = 0.9
"""So many of an index's vectors must still be there, for the dropped ones to be only left out: a
search still reads their codes."""

SEED = 0

Texts = Callable[[], np.ndarray]


class Engine(Protocol):
    """A search over one table."""

    @property
    def facts(self) -> dict[str, Any]: ...

    def search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query.

        Args:
            queries: (m, dim), finite
            k: rows to find
            rows (None): int64, ascending, the only rows that may be found

        Returns:
            float32 (m, k') similarities and int64 (m, k') rows, best first; k' is the smaller of k
            and the number of rows

        Raises:
            AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
        """
        ...


def open_engine(
    table: VectorTable,
    metric: str,
    cache: Path | None = None,
    text_queries: Texts | None = None,
    exact_limit: int = EXACT_LIMIT,
    progress: Progress | None = None,
) -> Engine:
    """The search that suits a table. May build an index, which takes minutes for millions.

    Args:
        table: of n vectors
        metric: "cosine", "dotproduct" or "euclidean"
        cache (None): a folder for built indexes; None keeps them in memory only
        text_queries (None): returns (m, dim) encoded texts to tune with, asked only if needed
        exact_limit: for up to so many vectors, or on a GPU that holds them, all are compared
        progress (None): told how many vectors are in the index

    Raises:
        AlphaClipError: if there is no such metric
    """
    checked = check_metric(metric)
    _prefer_blas(table.dim)
    gpu = open_gpu(table, checked) if len(table) >= GPU_FROM else None
    if gpu is not None or len(table) <= max(exact_limit, LEAST):
        return ExactIndex(table, checked, gpu)
    ready = _cached(table, checked, cache)
    if ready is None:
        ready = _made(table, checked, cache, text_queries, progress)
    facts = ready.facts
    said = {name: facts[name] for name in ("recall", "trained_on")}
    return IvfIndex(table, checked, ready.index, facts["nprobe"], facts["oversample"], said)


def move_cache(folder: Path, before: VectorTable, after: VectorTable, metric: str) -> None:
    """Lets the cache of a table serve another one, of the same rows in other files."""
    import faiss

    checked = check_metric(metric)
    cached = load_cache(folder, before, checked)
    if cached is None:
        return
    lists: Any = cached.index.invlists
    for number in range(cached.index.nlist):
        if size := lists.list_size(number):
            slots = faiss.rev_swig_ptr(lists.get_ids(number), size)
            slots[:] = after.slots[np.searchsorted(before.slots, slots)]
    save_cache(folder, cached.index, {**cached.facts, **describe(after, checked)})


def _cached(table: VectorTable, metric: Metric, cache: Path | None) -> Cached | None:
    """A cache that can be used as it is: of these rows, or of these and a few dropped ones."""
    if cache is None:
        return None
    fitting = load_cache(cache, table, metric)
    if fitting is not None:
        return fitting
    larger = load_relative(cache, table, metric, whole=True)
    if larger is None or len(table) < MOST * larger.index.ntotal:
        return None
    held = held_slots(larger.index)
    return larger if np.isin(table.slots, held, assume_unique=True).all() else None


def _made(
    table: VectorTable,
    metric: Metric,
    cache: Path | None,
    texts: Texts | None,
    progress: Progress | None,
) -> Cached:
    """Extends or builds, tunes and saves."""
    relative = None if cache is None else load_relative(cache, table, metric)
    index, trained_on = None, len(table)
    if relative is not None:
        before = relative.facts
        trained_on = int(before["trained_on"])
        index = extend_ivf(relative.index, table, metric, before["pieces"], trained_on, progress)
    if index is None:
        index, trained_on = build_ivf(table, metric, SEED, progress), len(table)
    queries = make_queries(table, metric, SEED, texts)
    tuned = tune(IvfIndex(table, metric, index, index.nlist), table, metric, queries)
    facts = {
        **describe(table, metric),
        "kind": kind_name(index.nlist, table.dim, index.by_residual),
        "nlist": index.nlist,
        "nprobe": tuned.nprobe,
        "oversample": tuned.oversample,
        "recall": {"k": tuned.k, "queries": tuned.queries, **tuned.recalls},
        "trained_on": trained_on,
    }
    if cache is not None:
        try:
            save_cache(cache, index, facts)
        except StoreError as error:
            logger.warning("The index is kept in memory, and built again next time: %s", error)
    return Cached(index, facts)


def _prefer_blas(dim: int) -> None:
    """Lets FAISS find the lists of several queries by a matrix product, which is faster; it would
    do so for hundreds only. The setting is one for the process."""
    import faiss

    faiss.cvar.distance_compute_blas_threshold = BATCH["float32"] * dim
