"""Approximate search for large tables: FAISS proposes candidates, the table itself decides.

The vectors are kept as two bits a number (product quantization, FAISS's "fast scan"), in a few
lists by their nearest centroid. A search compares the query with all codes of the nearest lists,
many at a time in the processor's registers, and scores the best of them again, exactly. Where
queries lie apart from all vectors, as texts do, it looks into all lists: reading every code is
then far quicker than reading a part of the vectors, and as good.
"""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import nothing, rescore, scan_top
from alphaclip.indexing.nearest.exact import select
from alphaclip.indexing.nearest.metrics import Metric, prepare
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

OVERSAMPLE = 8
"""Candidates for each place to find: two bits a number misorder near neighbours."""

LEAST_CANDIDATES = 512

RESTRICTED = 2
"""So many times more where only some places may be found: their codes tell less apart."""

SMALL = 128
"""Vectors of so few numbers are kept as four bits a number: two would tell too little apart."""

LARGEST_K = 2000
LARGEST_PART = 10
"""More than 1/10 of the places is found by a scan, as are more than LARGEST_K."""

FEW = 16384
"""So few places are compared one by one, whatever the index would do."""

TUNED_K = 100
"""The k that nprobe is tuned for."""


class IvfIndex:
    """An index of inverted lists over a table; its ids are rows, of which some may be dropped.

    Attributes:
        table: that is searched
        metric: to compare by
        nlist: number of lists
        nprobe: lists that a search looks into, if it is not restricted
        oversample: candidates for each place to find
        facts: what is known of the index, as JSON
    """

    def __init__(
        self,
        table: VectorTable,
        metric: Metric,
        index: faiss.IndexIVF,
        nprobe: int,
        oversample: int = OVERSAMPLE,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Takes an index, from `alphaclip.indexing.nearest.ivf_building.build_ivf` or a cache.

        Args:
            table: its rows are all in the index
            metric: that the index was built for
            index: never changed by a search
            nprobe: lists to look into
            oversample: candidates for each place to find
            facts (None): what else is known
        """
        self.table = table
        self.metric = metric
        self.nlist = int(index.nlist)
        self.nprobe = nprobe
        self.oversample = oversample
        kind = kind_name(self.nlist, table.dim)
        self.facts = {"type": kind, "metric": metric, "nprobe": nprobe, "oversample": oversample}
        self.facts.update(facts or {})
        self._index = index

    def search(
        self,
        queries: np.ndarray,
        k: int,
        places: np.ndarray | None = None,
        nprobe: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query, as far as the index finds them; scores are exact.

        Args:
            queries: (m, dim), finite
            k: places to find
            places (None): int64, ascending, the only places that may be found
            nprobe (None): lists to look into, instead of the index's own number and of more where
                these hold too little; -inf and -1 then stand for what is not found

        Returns:
            float32 (m, k') similarities and int64 (m, k') places, best first; k' is the smaller
            of k and the number of places

        Raises:
            AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
        """
        vectors = prepare(queries, self.metric, self.table.dim)
        available = len(self.table) if places is None else len(places)
        count = min(k, available)
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if nprobe is None and self._is_better_scanned(count, available):
            return scan_top(self.table, vectors, count, self.metric, places)
        rows = self._candidates(vectors, count, places, nprobe)
        return rescore(self.table, vectors, self._places(rows), count, self.metric)

    def _is_better_scanned(self, count: int, available: int) -> bool:
        # So many are most of what there is: reading the table in order is then faster.
        return count > LARGEST_K or count * LARGEST_PART >= available or available <= FEW

    def _candidates(
        self, vectors: np.ndarray, count: int, places: np.ndarray | None, nprobe: int | None
    ) -> np.ndarray:
        """Rows, int64 (m, c); -1 stands for none. Without nprobe, ``count`` in each are some."""
        available = len(self.table) if places is None else len(places)
        oversample = self.oversample * (1 if places is None else RESTRICTED)
        wanted = min(available, max(count * oversample, LEAST_CANDIDATES))
        selector = self._all if places is None else self._selector(places)
        lists = nprobe or self._lists(count, available)
        rows = self._probe(vectors, wanted, lists, selector)
        short = (rows >= 0).sum(axis=1) < count
        if nprobe is None and short.any():
            rows[short] = self._probe(vectors[short], wanted, self.nlist, selector)
        return rows

    def _probe(
        self, vectors: np.ndarray, wanted: int, nprobe: int, selector: faiss.IDSelector | None
    ) -> np.ndarray:
        import faiss

        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = nprobe
        parameters.sel = selector
        return self._index.search(vectors, wanted, params=parameters)[1]

    def _lists(self, count: int, available: int) -> int:
        """How many to look into. More neighbours lie in more lists, and of fewer places that may
        be found the nearest lie farther away."""
        part = available / len(self.table)
        wanted = ceil(self.nprobe * max(1, count / TUNED_K) / part)
        return self.nlist if part <= 0.1 else min(self.nlist, wanted)

    def _places(self, rows: np.ndarray) -> np.ndarray:
        return np.where(rows >= 0, np.searchsorted(self.table.rows, rows), -1)

    def _selector(self, places: np.ndarray) -> faiss.IDSelector:
        return select(self.table.rows[places], sum(map(len, self.table.pieces)))

    @cached_property
    def _all(self) -> faiss.IDSelector | None:
        """Leaves out the rows that were dropped since the index was written, if there are any."""
        whole = self._index.ntotal == len(self.table)
        return None if whole else self._selector(np.arange(len(self.table)))


def kind_name(nlist: int, dim: int) -> str:
    """FAISS's name for such an index: four bits for two numbers, or for each of few."""
    return f"IVF{nlist},PQ{dim if dim % 2 or dim <= SMALL else dim // 2}x4fs"
