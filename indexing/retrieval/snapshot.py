"""The current version of a store, kept open until there is a newer one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.nearest.engine import open_engine
from alphaclip.indexing.nearest.metrics import check_metric
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.view_cache import ViewPlaces
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.store import StoreVersion, open_store

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.engine import Engine

TextQueries = Callable[[], np.ndarray]


class Snapshot:
    """One version of a store, and what makes it searchable; made when first asked for.

    Args:
        version: opened
        text_queries (None): vectors of texts, for the engine to be tuned on

    Attributes:
        version: the same
        views: remembers the places of views
    """

    def __init__(self, version: StoreVersion, text_queries: TextQueries | None = None) -> None:
        self.version = version
        self._text_queries = text_queries
        self._lock = RLock()
        self._engine: Engine | None = None
        self.views = ViewPlaces()

    def engine(self, progress: Progress | None = None) -> Engine:
        """Searches the vectors; a large one without its FAISS index in the cache builds it."""
        with self._lock:
            if self._engine is None:
                version = self.version
                self._engine = open_engine(
                    version.table,
                    check_metric(version.info.get("metric", "cosine")),
                    version.folder / "cache",
                    self._text_queries,
                    progress=progress,
                )
            return self._engine

    @cached_property
    def lookup(self) -> Lookup:
        """Finds places by label id, in an index of samples by sample id."""
        return Lookup(self.version.ids)

    @cached_property
    def pictures(self) -> np.ndarray:
        """A number for the sample of each place, equal for places of one sample: int64 (n,)."""
        numbers: np.ndarray = np.unique(self.version.ids.sample_ids, return_inverse=True)[1]
        return numbers


class Opened:
    """Gives the newest version of a store, however often it is asked.

    Args:
        folder: says where the store is: it moves when a cloned dataset gets its own
        text_queries (None): vectors of texts, for the engine to be tuned on
    """

    def __init__(self, folder: Callable[[], Path], text_queries: TextQueries | None = None) -> None:
        self._folder, self._text_queries = folder, text_queries
        self._newest: Snapshot | None = None
        self._lock = RLock()

    def newest(self) -> Snapshot:
        """The newest version.

        Raises:
            StoreError: if the store is damaged or gone
        """
        with self._lock:
            known = self._newest.version if self._newest else None
            version = open_store(self._folder(), known)
            if self._newest is None or version is not known:
                self._newest = Snapshot(version, self._text_queries)
            return self._newest
