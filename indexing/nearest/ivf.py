"""Approximate search for large tables: FAISS proposes candidates, the table itself decides.

The vectors are kept as two bits a number (product quantization, FAISS's "fast scan"), in lists by
their nearest centroid: an eighth of the bytes of float16, and few enough for FAISS to look codes up
in the processor's registers. A search compares the query with all codes of the nearest lists, and
scores the best of them again, exactly. How many lists those are, tuning decides: where queries lie
apart from all vectors it may take all, and reading every code is still far quicker than reading a
part of the vectors, and as good.

A table of less than a million vectors gets a few lists, of codes of the vectors themselves: that
is built soonest. A larger one gets many, of codes of what is left of a vector without its list's
centroid, which tell more apart: it takes longer to build, and a search may read a small part.
"""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import nothing, rescore, scan_top
from alphaclip.indexing.nearest.exact import search_few, select
from alphaclip.indexing.nearest.metrics import Metric, prepare
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

OVERSAMPLE, RESIDUAL_OVERSAMPLE = 8, 4
"""Candidates for each row to find: two bits a number misorder near neighbours, of residuals less.
Tuning may take more."""

LEAST_CANDIDATES = 512
"""For few rows to find so many candidates all the same: to score them exactly costs little."""

RESTRICTED = 2
"""So many times more where only some rows may be found: their codes tell less apart."""

SMALL = 128
"""Vectors of so few numbers are kept as four bits a number: two would tell too little apart."""

LARGEST_K = 2000
LARGEST_PART = 10
"""More than 1/10 of the rows is found by a scan, as are more than LARGEST_K: with OVERSAMPLE
candidates for each, most vectors would be read anyway, and not in order."""

FEW = 16384
"""So few rows that may be found are compared one by one, whatever the index would do: it would take
as long, and none is missed. (Of 20,000 it takes 20 ms in a million, and they would 15 to 20.)"""

TUNED_K = 100
"""The k that nprobe is tuned for."""


class IvfIndex:
    """An index of inverted lists over a table. Its ids are slots: these outlive a version, so that
    the index does. Some of them may be dropped in this version.

    Attributes:
        table: that is searched
        metric: to compare by
        nlist: number of lists
        nprobe: lists that a search looks into, if it is not restricted
        oversample: candidates for each row to find
        facts: what is known of the index, as JSON
    """

    def __init__(
        self,
        table: VectorTable,
        metric: Metric,
        index: faiss.IndexIVF,
        nprobe: int,
        oversample: int | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Takes an index, from `alphaclip.indexing.nearest.ivf_building.build_ivf` or a cache.

        Args:
            table, metric, nprobe: see above; the vectors are all in the index
            index: never changed by a search
            oversample (None): see above; None is the least of its kind
            facts (None): what else is known
        """
        self.table = table
        self.metric = metric
        self.nlist = int(index.nlist)
        self.nprobe = nprobe
        self.oversample = oversample or (RESIDUAL_OVERSAMPLE if index.by_residual else OVERSAMPLE)
        self.facts = {
            "type": kind_name(self.nlist, table.dim, index.by_residual),
            "metric": metric,
            "nprobe": nprobe,
            "oversample": self.oversample,
            **(facts or {}),
        }
        self._index = index

    def search(
        self,
        queries: np.ndarray,
        k: int,
        rows: np.ndarray | None = None,
        nprobe: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query, as far as the index finds them; scores are exact.

        Args:
            queries, k, rows: see :meth:`Engine.search`
            nprobe (None): lists to look into, instead of the index's own number and of more where
                these hold too little; -inf and -1 then stand for what is not found
        """
        vectors = prepare(queries, self.metric, self.table.dim)
        available = len(self.table) if rows is None else len(rows)
        count = min(k, available)
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if nprobe is None and rows is not None and available <= FEW:
            return search_few(self.table, vectors, count, self.metric, rows)
        is_much = count > LARGEST_K or count * LARGEST_PART >= available or available <= FEW
        if nprobe is None and is_much:
            return scan_top(self.table, vectors, count, self.metric, rows)
        oversample = self.oversample * (1 if rows is None else RESTRICTED)
        number = min(available, max(count * oversample, LEAST_CANDIDATES))
        selector = self._all if rows is None else self._selector(rows)
        lists = nprobe or self._lists(count, available)
        candidates = self._candidates(vectors, number, lists, selector)
        short = (candidates >= 0).sum(axis=1) < count
        if nprobe is None and short.any():
            candidates[short] = self._candidates(vectors[short], number, self.nlist, selector)
        return rescore(self.table, vectors, candidates, count, self.metric)

    def _candidates(
        self, vectors: np.ndarray, number: int, nprobe: int, selector: faiss.IDSelector | None
    ) -> np.ndarray:
        """Rows, int64 (m, c); -1 stands for none."""
        import faiss

        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = nprobe
        parameters.sel = selector
        slots = self._index.search(vectors, number, params=parameters)[1]
        return np.where(slots >= 0, np.searchsorted(self.table.slots, slots), -1)

    def _lists(self, count: int, available: int) -> int:
        """How many to look into. More neighbours lie in more lists, and of fewer rows that may be
        found the nearest lie farther away."""
        part = available / len(self.table)
        lists = ceil(self.nprobe * max(1, count / TUNED_K) / part)
        return self.nlist if part <= 0.1 else min(self.nlist, lists)

    def _selector(self, rows: np.ndarray) -> faiss.IDSelector:
        return select(self.table.slots[rows], sum(map(len, self.table.segments)))

    @cached_property
    def _all(self) -> faiss.IDSelector | None:
        """Leaves out the slots that were dropped since the index was written, if there are any."""
        whole = self._index.ntotal == len(self.table)
        return None if whole else self._selector(np.arange(len(self.table)))


def kind_name(nlist: int, dim: int, residual: bool) -> str:
    """FAISS's name for such an index: four bits for two numbers, or for each of few; of the vectors
    or of their residuals."""
    numbers = dim if dim % 2 or dim <= SMALL else dim // 2
    return f"IVF{nlist},PQ{numbers}x4fs{'r' if residual else ''}"
