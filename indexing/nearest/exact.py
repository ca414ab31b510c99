"""Exact search with the vectors in memory: FAISS for few queries, matrix products for many; and on
a GPU, where FAISS sees one that holds the whole table.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import nothing, rescore, scan_top
from alphaclip.indexing.nearest.metrics import Metric, faiss_metric, prepare, prepare_rows
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

BATCH = {"float16": 32, "float32": 8}
"""From this many queries on, a matrix product over blocks is faster than FAISS (measured with
512 numbers, on two cores). FAISS's own matrix products would lose small Euclidean distances, see
:func:`alphaclip.indexing.nearest.metrics.similarity`: its threshold is no lower."""

BATCH_RESTRICTED = 8
"""The same where only some rows may be found: FAISS then compares pair by pair."""

LARGEST_GPU_K = 2048
"""FAISS finds no more rows than this on a GPU."""

GPU_MARGIN = 32
"""Rows found beyond k: the GPU rounds queries to float16, so the last few may change order."""


class ExactIndex:
    """All vectors of a table, every one compared.

    Attributes:
        table: that is searched
        metric: to compare by
        facts: the kind of index, as JSON
    """

    def __init__(self, table: VectorTable, metric: Metric, gpu: faiss.Index | None = None) -> None:
        """Prepares a search; the index itself is made at the first one that needs it.

        Args:
            table, metric: see above
            gpu (None): from :func:`open_gpu`, for all searches that are not restricted
        """
        self.table = table
        self.metric = metric
        self.facts: dict[str, Any] = {"type": "exact", "metric": metric}
        if gpu is not None:
            self.facts["device"] = "gpu"
        self._gpu = gpu

    def search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query; see :meth:`Engine.search`."""
        import faiss

        vectors = prepare(queries, self.metric, self.table.dim)
        count = min(k, len(self.table) if rows is None else len(rows))
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if rows is None and self._gpu is not None and count + GPU_MARGIN <= LARGEST_GPU_K:
            more = min(count + GPU_MARGIN, len(self.table))
            candidates = self._gpu.search(vectors, more)[1]
            return rescore(self.table, vectors, candidates, count, self.metric)
        if len(vectors) >= (BATCH[self.table.dtype.name] if rows is None else BATCH_RESTRICTED):
            return scan_top(self.table, vectors, count, self.metric, rows)
        parameters = None
        if rows is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = select(rows, len(self.table))
        values, top = self._index.search(vectors, count, params=parameters)
        if self.metric == "euclidean":
            # FAISS's matrix product loses the small distances, which matter most
            return rescore(self.table, vectors, top, count, self.metric)
        order = np.lexsort((top, -values), axis=1)
        return np.take_along_axis(values, order, 1), np.take_along_axis(top, order, 1)

    @cached_property
    def _index(self) -> faiss.Index:
        return build_exact(self.table, self.metric)


def search_few(
    table: VectorTable, queries: np.ndarray, k: int, metric: Metric, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of some rows, which are copied from the table: quicker than to convert and
    multiply them; see :meth:`Engine.search`."""
    scores, top = ExactIndex(table.copied(rows), metric).search(queries, k)
    return scores, rows[top]


def build_exact(table: VectorTable, metric: Metric) -> faiss.Index:
    """An index whose ids are rows: float16 vectors as float16, and float32 ones as float32."""
    import faiss

    kind = faiss_metric(metric)
    index: Any
    if table.dtype == np.float16:
        index = faiss.IndexScalarQuantizer(table.dim, faiss.ScalarQuantizer.QT_fp16, kind)
    else:
        index = faiss.IndexFlat(table.dim, kind)
    index.is_trained = True
    if not len(table):
        return index
    # Written into the index's own memory: adding block by block would double it as it grows.
    index.codes.resize(len(table) * index.code_size)
    codes = faiss.rev_swig_ptr(index.codes.data(), len(table) * index.code_size)
    start = 0
    for _, block in table.blocks():
        vectors = block if table.dtype == np.float16 else prepare_rows(block, metric)
        content = np.ascontiguousarray(vectors).view(np.uint8).ravel()
        codes[start : start + len(content)] = content
        start += len(content)
    index.ntotal = len(table)
    return index


def select(ids: np.ndarray, total: int) -> faiss.IDSelector:
    """Lets a search find these ids only, one bit for each of ``total``."""
    import faiss

    chosen = np.zeros(total, bool)
    chosen[ids] = True
    bits: Any = np.packbits(chosen, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]


def open_gpu(table: VectorTable, metric: Metric) -> faiss.Index | None:
    """The table on the first GPU, float16 vectors as float16; None if there is no GPU, no vector,
    or too little memory there.
    """
    import faiss

    if not len(table) or not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    try:
        return build_gpu(table, metric)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        logger.warning("The GPU is not used for the search of %d vectors: %s", len(table), reason)
        return None


def build_gpu(table: VectorTable, metric: Metric) -> faiss.Index:
    """Copies the vectors to the first GPU.

    Raises:
        RuntimeError: if it has too little memory (from FAISS)
    """
    import faiss

    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = table.dtype == np.float16
    resources = faiss.StandardGpuResources()
    index = faiss.GpuIndexFlat(resources, table.dim, faiss_metric(metric), config)
    for _, block in table.blocks():
        index.add(prepare_rows(block, metric))
    return index
