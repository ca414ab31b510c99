"""Exact search on a GPU, where FAISS sees one that holds the whole table."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.nearest.brute_force import rescore
from alphaclip.indexing.nearest.metrics import Metric, faiss_metric, prepare_rows
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

LARGEST_K = 2048
"""FAISS finds no more places than this on a GPU."""

MARGIN = 32
"""Places found beyond k: the GPU rounds queries to float16, so the last few may change order."""


class GpuIndex:
    """All vectors of a table on one GPU; float16 ones as float16."""

    def __init__(self, table: VectorTable, metric: Metric) -> None:
        """Copies the vectors to the first GPU.

        Raises:
            RuntimeError: if it has too little memory (from FAISS)
        """
        self._table = table
        self._metric = metric
        self._index = _build(table, metric)

    def can_find(self, k: int) -> bool:
        """Whether a search for k places works here."""
        return k + MARGIN <= LARGEST_K

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query, scored exactly.

        Args:
            queries: from :func:`alphaclip.indexing.nearest.metrics.prepare`, (m, dim)
            k: places to find, at most as many as there are, see :meth:`can_find`

        Returns:
            float32 (m, k) similarities and int64 (m, k) places, best first
        """
        _, found = self._index.search(queries, min(k + MARGIN, len(self._table)))
        return rescore(self._table, queries, found, k, self._metric)


def open_gpu(table: VectorTable, metric: Metric) -> GpuIndex | None:
    """The table on the GPU, or None: no GPU, no vectors, or too little memory there."""
    import faiss

    if not len(table) or not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    try:
        return GpuIndex(table, metric)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        logger.warning("The GPU is not used for the search of %d vectors: %s", len(table), reason)
        return None


def _build(table: VectorTable, metric: Metric) -> faiss.Index:
    import faiss

    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = table.dtype == np.float16
    resources = faiss.StandardGpuResources()
    index = faiss.GpuIndexFlat(resources, table.dim, faiss_metric(metric), config)
    for block in table.blocks():
        index.add(prepare_rows(block, metric))
    return index
