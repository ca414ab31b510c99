"""Exact search with the vectors in memory: FAISS for few queries, matrix products for many."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import in_order, nothing, scan_top
from alphaclip.indexing.nearest.metrics import (
    Metric,
    faiss_metric,
    from_faiss,
    prepare,
    prepare_rows,
)
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

    from alphaclip.indexing.nearest.gpu import GpuIndex

BATCH = {"float16": 32, "float32": 8}
"""From this many queries on, a matrix product over blocks is faster than FAISS (measured with
512 numbers, on two cores). FAISS's own matrix products would lose small Euclidean distances, see
:func:`alphaclip.indexing.nearest.metrics.similarity`: its threshold is no lower."""

BATCH_RESTRICTED = 8
"""The same where only some places may be found: FAISS then compares pair by pair."""


class ExactIndex:
    """All vectors of a table, every one compared.

    Attributes:
        table: that is searched
        metric: to compare by
        description: of the kind of index
        facts: the same, as JSON
    """

    description = "exact"

    def __init__(self, table: VectorTable, metric: Metric, gpu: GpuIndex | None = None) -> None:
        """Prepares a search; the index itself is made at the first one that needs it.

        Args:
            table: to search
            metric: to compare by
            gpu (None): of the same table, for all searches that are not restricted
        """
        self.table = table
        self.metric = metric
        self.facts: dict[str, Any] = {"type": self.description, "metric": metric}
        if gpu is not None:
            self.facts["device"] = "gpu"
        self._gpu = gpu

    def search(
        self, queries: np.ndarray, k: int, places: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query.

        Args:
            queries: (m, dim), finite
            k: places to find
            places (None): int64, ascending, the only places that may be found

        Returns:
            float32 (m, k') similarities and int64 (m, k') places, best first; k' is the smaller
            of k and the number of places

        Raises:
            AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
        """
        vectors = prepare(queries, self.metric, self.table.dim)
        count = min(k, len(self.table) if places is None else len(places))
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if places is None and self._gpu is not None and self._gpu.can_find(count):
            return self._gpu.search(vectors, count)
        if len(vectors) >= self._batch(places):
            return scan_top(self.table, vectors, count, self.metric, places)
        values, found = self._search(vectors, count, places)
        return in_order(from_faiss(values, self.metric), found)

    def _batch(self, places: np.ndarray | None) -> int:
        return BATCH[self.table.dtype.name] if places is None else BATCH_RESTRICTED

    def _search(
        self, vectors: np.ndarray, count: int, places: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        if places is None:
            return self._index.search(vectors, count)
        selector = select(places, len(self.table))
        parameters = faiss.SearchParameters()
        parameters.sel = selector
        return self._index.search(vectors, count, params=parameters)

    @cached_property
    def _index(self) -> faiss.Index:
        return build_exact(self.table, self.metric)


def build_exact(table: VectorTable, metric: Metric) -> faiss.Index:
    """An index whose ids are places.

    Args:
        table: float16 vectors are kept as float16, and float32 ones as float32
        metric: to compare by
    """
    import faiss

    kind = faiss_metric(metric)
    index: Any
    if table.dtype == np.float16:
        index = faiss.IndexScalarQuantizer(table.dim, faiss.ScalarQuantizer.QT_fp16, kind)
    else:
        index = faiss.IndexFlat(table.dim, kind)
    index.is_trained = True
    _fill(index, table, metric)
    return index


def select(ids: np.ndarray, total: int) -> faiss.IDSelector:
    """Lets a search find these ids only, one bit for each of ``total``."""
    import faiss

    kept = np.zeros(total, bool)
    kept[ids] = True
    bits: Any = np.packbits(kept, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]


def _fill(index: Any, table: VectorTable, metric: Metric) -> None:
    """Copies the vectors into the index's own memory: adding them would double it as it grows."""
    import faiss

    if not len(table):
        return
    index.codes.resize(len(table) * index.code_size)
    codes = faiss.rev_swig_ptr(index.codes.data(), len(table) * index.code_size)
    start = 0
    for block in table.blocks():
        rows = block if table.dtype == np.float16 else prepare_rows(block, metric)
        content = np.ascontiguousarray(rows).view(np.uint8).ravel()
        codes[start : start + len(content)] = content
        start += len(content)
    index.ntotal = len(table)
