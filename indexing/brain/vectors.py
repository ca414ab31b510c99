"""The vectors behind a Brain run: one version of its store, opened and searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.dataset.locations import REGIONS
from alphaclip.indexing.nearest.brute_force import scan_least
from alphaclip.indexing.nearest.metrics import Metric, distance, prepare_rows, similarity
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.manifests import has_store
from alphaclip.indexing.store.segments import as_bytes, as_text
from alphaclip.indexing.store.store import StoreVersion, open_store

if TYPE_CHECKING:
    from alphaclip.indexing.store.table import VectorTable

BLOCK = 8192
"""Vectors that are compared at a time with up to a thousand others."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one version of a store, or none where there is no store yet.

    Attributes:
        version: of the store, opened; its number is 0 if there is none
        metric: to compare by
    """

    version: StoreVersion
    metric: Metric

    def __len__(self) -> int:
        return len(self.version)

    @property
    def table(self) -> VectorTable:
        """The vectors at rest."""
        return self.version.table

    @property
    def is_of_regions(self) -> bool:
        """Whether the store belongs to :func:`alphaclip.indexing.build`."""
        return bool(self.version.info.get("kind") == REGIONS)

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """The sample of each vector, as text."""
        return as_text(self.version.ids.sample_ids)

    @cached_property
    def label_ids(self) -> np.ndarray:
        """The label of each vector, as text."""
        return as_text(self.version.ids.label_ids)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The vectors at some places: float32 (n, dim)."""
        return self.table.take(places).astype(np.float32)

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where labels, or in an index of samples samples, are.

        Args:
            ids: text

        Returns:
            int64 places of those that are in the index, in order of the ids, and a mask of the
            ids that are
        """
        places = self.snapshot.lookup.find(as_bytes(ids))
        found = places >= 0
        return places[found], found

    def find_samples(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for all labels of samples, those of one sample after the other."""
        samples, order = self._by_sample
        wanted = as_bytes(ids)
        first, last = (np.searchsorted(samples, wanted, side) for side in ("left", "right"))
        places = [order[begin:end] for begin, end in zip(first, last, strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *places]), last > first

    def search(
        self,
        queries: np.ndarray,
        k: int,
        places: np.ndarray | None = None,
        reverse: bool = False,
        own: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query, or the least similar ones.

        Args:
            queries: (m, dim)
            k: to find, at most
            places (None): ascending, the only ones that may be found
            reverse (False): the least similar, the least first
            own (False): the queries are vectors of the index: zeros, which have no direction, are
                at distance 1 of all others then, as they are in a search for others

        Returns:
            float32 distances and int64 places, both (m, k')

        Raises:
            AlphaClipError: see :func:`alphaclip.indexing.nearest.metrics.prepare`
        """
        available = len(self) if places is None else len(places)
        count = min(k, available)
        distances = np.ones((len(queries), count), np.float32)
        found = np.tile(np.arange(count) if places is None else places[:count], (len(queries), 1))
        has_direction = not own or self.metric != "cosine"
        usable = np.ones(len(queries), bool) if has_direction else (queries != 0).any(axis=1)
        if count and usable.any():
            distances[usable], found[usable] = self._search(queries[usable], count, places, reverse)
        return distances, found

    def prepared(self, places: np.ndarray) -> np.ndarray:
        """The vectors at some places, ready to be compared: float32 (n, dim)."""
        return prepare_rows(self.table.take(places), self.metric)

    def compare(
        self, queries: np.ndarray, places: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All similarities, a block at a time.

        Args:
            queries: (m, dim), from :meth:`prepared` or `alphaclip.indexing.nearest.metrics.prepare`
            places: to compare with

        Yields:
            int64 (b,) places and float32 (m, b) similarities
        """
        for start in range(0, len(places), BLOCK):
            here = places[start : start + BLOCK]
            yield here, similarity(queries, self.prepared(here), self.metric)

    @cached_property
    def snapshot(self) -> Snapshot:
        """What makes them searchable."""
        return Snapshot(self.version)

    @cached_property
    def _by_sample(self) -> tuple[np.ndarray, np.ndarray]:
        samples = self.version.ids.sample_ids
        order = np.argsort(samples, kind="stable")
        return samples[order], order

    def _search(
        self, queries: np.ndarray, k: int, places: np.ndarray | None, reverse: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if reverse:
            scores, found = scan_least(self.table, queries, k, self.metric, places)
        else:
            scores, found = self.snapshot.engine().search(queries, k, places)
        return distance(scores, self.metric), found


def open_vectors(folder: Path, metric: Metric, known: Vectors | None = None) -> Vectors:
    """The current version of a store.

    Args:
        folder: of the store, which need not be there
        metric: to compare by
        known (None): returned again if it is still current; else what it has read is used

    Raises:
        StoreError: if the store is damaged, or its format is newer
    """
    before = None if known is None else known.version
    if has_store(folder):
        version = open_store(folder, before)
    elif before is not None and (before.folder, before.number) == (folder, 0):
        version = before
    else:
        version = StoreVersion(folder, 0, 0, np.dtype(np.float32), {}, ())
    return known if known is not None and version is before else Vectors(version, metric)
