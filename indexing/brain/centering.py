"""Vectors from which the mean of all is taken off before they are compared."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.table import Rows, VectorTable


class CenteredSnapshot(Snapshot):
    """A version whose vectors, and those that are searched for, are compared as they lie to their
    mean. The mean is of all vectors, whatever the view, and another in each version; so an index of
    FAISS that is built from these vectors is not kept."""

    has_cache = False

    @cached_property
    def table(self) -> VectorTable:
        """The vectors without their mean."""
        stored = self.version.table
        segments = tuple(_Centered(segment, self._mean) for segment in stored.segments)
        return replace(stored, segments=segments, dtype=np.dtype(np.float32))

    def lay_out(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors from elsewhere, (m, dim), without the mean."""
        fits = len(self) and vectors.shape[1:] == self._mean.shape
        return vectors - self._mean if fits else vectors

    @cached_property
    def _mean(self) -> np.ndarray:
        total = np.zeros(self.version.dim)
        for _, block in self.version.table.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return (total / max(1, len(self))).astype(np.float32)


class _Centered:
    """Rows of a segment, without the mean."""

    def __init__(self, stored: Rows, mean: np.ndarray) -> None:
        self._stored, self._mean = stored, mean
        self.dtype, self.shape = np.dtype(np.float32), stored.shape

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return np.asarray(self._stored[rows], np.float32) - self._mean
