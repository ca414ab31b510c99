"""Approximate search for large tables: FAISS proposes candidates, the table itself decides.

The vectors are sorted into lists by their nearest centroid and kept as one byte a number. A search
looks into the nearest lists only, and scores what it finds there again, exactly.
"""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from alphaclip.indexing.exact import select
from alphaclip.indexing.metrics import Metric, prepare
from alphaclip.indexing.scan import nothing, rescore, scan_top
from alphaclip.indexing.table import VectorTable

if TYPE_CHECKING:
    import faiss

OVERSAMPLE = 4
"""Candidates for each place to find: one byte a number misorders near neighbours."""

LARGEST_K = 2000
LARGEST_PART = 10
"""More than 1/10 of the places is found by a scan, as are more than LARGEST_K."""

FEW = 4096
"""So few places are compared one by one, whatever the index would do."""

SCANNED = 32
"""For so many queries one scan takes about as long as looking into all lists for each: measured,
15 to 60, the more the shorter the vectors are."""

TUNED_K = 100
"""The k that nprobe is tuned for."""


class IvfIndex:
    """An index of inverted lists over a table; its ids are rows, of which some may be dropped.

    Attributes:
        table: that is searched
        metric: to compare by
        nlist: number of lists
        nprobe: lists that a search looks into, if it is not restricted
        facts: what is known of the index, as JSON
    """

    def __init__(
        self,
        table: VectorTable,
        metric: Metric,
        index: faiss.IndexIVF,
        nprobe: int,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Takes an index, from :func:`alphaclip.indexing.ivf_building.build_ivf` or a cache.

        Args:
            table: its rows are all in the index
            metric: that the index was built for
            index: never changed by a search
            nprobe: lists to look into
            facts (None): what else is known
        """
        self.table = table
        self.metric = metric
        self.nlist = int(index.nlist)
        self.nprobe = nprobe
        self.facts = {"type": kind_name(self.nlist), "metric": metric, "nprobe": nprobe}
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
            AlphaClipError: see :func:`alphaclip.indexing.metrics.prepare`
        """
        vectors = prepare(queries, self.metric, self.table.dim)
        available = len(self.table) if places is None else len(places)
        count = min(k, available)
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if nprobe is None and self._is_better_scanned(len(vectors), count, available):
            return scan_top(self.table, vectors, count, self.metric, places)
        rows = self._candidates(vectors, count, places, nprobe)
        return rescore(self.table, vectors, self._places(rows), count, self.metric)

    def _is_better_scanned(self, queries: int, count: int, available: int) -> bool:
        # So many neighbours fill most lists, and reading the table in order is then faster; for
        # many queries it is also the quicker way to read the lists that they need together.
        if queries * self._lists(count, available) >= SCANNED * self.nlist:
            return True
        return count > LARGEST_K or count * LARGEST_PART >= available or available <= FEW

    def _candidates(
        self, vectors: np.ndarray, count: int, places: np.ndarray | None, nprobe: int | None
    ) -> np.ndarray:
        """Rows, int64 (m, c); -1 stands for none. Without nprobe, ``count`` in each are some."""
        available = len(self.table) if places is None else len(places)
        wanted = min(available, max(count * OVERSAMPLE, count + 64))
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


def kind_name(nlist: int) -> str:
    """FAISS's name for such an index."""
    return f"IVF{nlist},SQ8"
