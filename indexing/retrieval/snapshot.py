"""One version of a store, opened: what every search looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.nearest.brute_force import scan
from alphaclip.indexing.nearest.engine import EXACT_LIMIT, open_engine
from alphaclip.indexing.nearest.exact import ExactIndex
from alphaclip.indexing.nearest.metrics import check_metric
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.view_rows import ViewRows
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import as_text
from alphaclip.indexing.store.store import FEW, StoreVersion, open_store
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.engine import Engine

TextQueries = Callable[[], np.ndarray]
EngineOf = Callable[["Snapshot"], "Engine"]
"""Opens what searches a snapshot, in place of its own engine."""

FEW_PARTS = 4
"""For so many vectors FAISS compares and sorts all rows faster than a scan converts them."""


SAMPLED = 32_768
"""Rows in a sample that stands for a large index: 32 MB of 512 numbers each, as they are stored."""


class Snapshot:
    """One version of a store, and what makes it searchable; made when it is first needed.

    Args:
        version: opened
        metric ("cosine"): to compare by, where the store itself names none
        text_queries (None): vectors of texts, for the engine to be tuned on
        engine_of (None): opens another engine than its own

    Attributes:
        version, text_queries: the same
        metric: that vectors are compared by
        views: remembers the rows of views
    """

    has_cache = True
    """Whether what FAISS builds is kept in the store's folder."""

    def __init__(
        self,
        version: StoreVersion,
        metric: str = "cosine",
        text_queries: TextQueries | None = None,
        engine_of: EngineOf | None = None,
    ) -> None:
        self.version = version
        self.metric = check_metric(version.info.get("metric", metric))
        self.views = ViewRows()
        self.text_queries = text_queries
        self._engine_of = engine_of
        self._own_engine: Engine | None = None
        self._engine: Engine | None = None
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self.version)

    @property
    def table(self) -> VectorTable:
        """The vectors as they are compared."""
        return self.version.table

    def lay_out(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors from elsewhere, (m, dim), as they are compared with those of :attr:`table`."""
        return vectors

    def engine(self, progress: Progress | None = None) -> Engine:
        """Searches the vectors."""
        if self._engine_of is None:
            return self.own_engine(progress)
        with self._lock:
            self._engine = self._engine or self._engine_of(self)
            return self._engine

    def own_engine(self, progress: Progress | None = None) -> Engine:
        """Searches the vectors here; a large one without its FAISS index in the cache builds it."""
        with self._lock:
            if self._own_engine is None:
                version, texts = self.version, self.text_queries
                cache = version.folder / "cache" if self.has_cache else None
                # Of a build on its way: what is made for its vectors would not serve for long
                limit = len(version) if version.info.get("unfinished") else EXACT_LIMIT
                self._own_engine = open_engine(
                    self.table, self.metric, cache, texts, limit, progress
                )
            return self._own_engine

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 (n, dim)."""
        return self.version.table.take(rows).astype(np.float32)

    def cosines(
        self, vectors: np.ndarray, only: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All cosines to vectors of unit length, in the quickest way: they may differ from
        :func:`scan`'s by a rounding.

        Yields:
            int64 (b,) rows, of ``only`` where it is not None, and float32 (m, b) cosines
        """
        engine, total = self.engine(), len(self)
        exact = isinstance(engine, ExactIndex) and "device" not in engine.facts
        if not exact or len(vectors) > FEW_PARTS:
            yield from scan(self.version.table, vectors, "cosine", only)
            return
        cosines = np.zeros((len(vectors), total), np.float32)
        scores, rows = engine.search(vectors, total, only)
        np.put_along_axis(cosines, rows, scores, axis=1)
        yield (np.arange(total), cosines) if only is None else (only, cosines[:, only])

    @cached_property
    def sample(self) -> VectorTable:
        """Some rows that stand for all, in memory."""
        return self.version.table.copied(sampled(np.arange(len(self))))

    @cached_property
    def lookup(self) -> Lookup:
        """Finds rows by what they are of."""
        return Lookup(self.version.ids)

    @cached_property
    def pictures(self) -> np.ndarray:
        """A number for the sample of each row, in the order of their ids: int64 (n,)."""
        samples = self.version.ids.sample_ids
        # Regions of a picture mostly lie side by side: so each is sorted once.
        begins = np.append(True, samples[1:] != samples[:-1])[: len(samples)]
        numbers: np.ndarray = np.unique(samples[begins], return_inverse=True)[1]
        return numbers[np.cumsum(begins) - 1]

    def pictures_of(self, rows: np.ndarray) -> np.ndarray:
        """What tells the samples of some rows apart: (n,)."""
        is_all = "pictures" in vars(self) or len(rows) > FEW
        return self.pictures[rows] if is_all else self.version.ids_of(rows).sample_ids

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """The sample of each row, as text."""
        return as_text(self.version.ids.sample_ids)

    @cached_property
    def label_ids(self) -> np.ndarray:
        """The label of each row, as text."""
        return as_text(self.version.ids.label_ids)

    @cached_property
    def by_sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The sample ids, bytes (n,), sorted, and the row that each is of: int64 (n,)."""
        samples = self.version.ids.sample_ids
        order = np.argsort(samples, kind="stable")
        return samples[order], order


def sampled(rows: np.ndarray) -> np.ndarray:
    """One of each stretch of some rows, so that they stand for all: int64 (SAMPLED,)."""
    starts = np.linspace(0, len(rows), SAMPLED, endpoint=False)
    within = np.random.default_rng(0).random(SAMPLED) * len(rows) / SAMPLED
    chosen: np.ndarray = rows[(starts + within).astype(np.int64)]
    return chosen


def open_snapshot(
    folder: Path,
    before: Snapshot | None = None,
    metric: str = "cosine",
    text_queries: TextQueries | None = None,
    kind: type[Snapshot] = Snapshot,
    engine_of: EngineOf | None = None,
) -> Snapshot:
    """The newest version of a store; ``before`` again, if that is still the newest.

    Raises:
        StoreError: if the store is damaged or gone
    """
    version = open_store(folder, None if before is None else before.version)
    if before is not None and version is before.version:
        return before
    return kind(version, metric, text_queries, engine_of)
