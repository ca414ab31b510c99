"""Vectors and queries that look like those of images and texts under CLIP, drawn by seed.

The vectors are clusters on the sphere, of unequal size, that share one mean direction: that of
the images. A text-like query has another mean direction (the modality gap). There are two kinds:

- `spread`: a query has a little of up to three clusters, and noise in all directions where the
  vectors' own noise is in few. So the queries lie apart from all vectors, as texts do, and their
  neighbours are spread over several clusters. This is harder than real texts are: of a million
  vectors in 1024 lists, the 128 nearest to a query hold a third of its hundred nearest.
- `calibrated`: a query has what a vector may have, and noise. Clusters and noise share the few
  directions in which vectors differ most. Its constants are those at which the lists nearest to a
  query hold as many of its hundred nearest as with CLIP's vectors and real texts; `large.py` prints
  both curves.

The vectors of the search are float16 of unit length; whoever compares them as float32 compares the
same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

BLOCK = 16384
CLUSTER_SIZE = 300
IMAGE_MEAN, CLUSTER, IMAGE_NOISE = 1.0, 0.8, 0.6
TEXT_MEAN, MIXTURE, TEXT_NOISE = 1.0, 0.7, 0.5
MIXED = 3
DECAY = 0.5
CALIBRATED_DECAY, BETWEEN, WITHIN = 0.62, 0.72, 0.68
BUCKETS = 1000
KEPT = {"10 %": 100, "1 %": 10, "0.1 %": 1}
"""Parts of the rows that a filter keeps: those whose bucket, of 1000, is below this."""


class Source:
    """The two distributions.

    Args:
        count: of vectors
        dim: numbers in a vector
        seed: of everything that is drawn
    """

    def __init__(self, count: int, dim: int, seed: int = 0) -> None:
        self.count, self.dim, self.seed = count, dim, seed
        clusters = max(20, count // CLUSTER_SIZE)
        rng = np.random.default_rng([seed, 0])
        self._image_mean, self._text_mean = _unit(rng.standard_normal((2, dim)))
        self._centres = _unit(rng.standard_normal((clusters, dim))).astype(np.float32)
        self._sizes = rng.dirichlet(np.ones(clusters))
        rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
        spectrum = np.arange(1, dim + 1) ** -DECAY
        scale = IMAGE_NOISE / np.linalg.norm(spectrum)
        self._noise = (scale * spectrum[:, None] * rotation).astype(np.float32)

    def blocks(self, dtype: type = np.float16) -> Iterator[np.ndarray]:
        """All vectors of unit length, (b, dim) at a time, rounded to ``dtype``."""
        for start in range(0, self.count, BLOCK):
            rng = np.random.default_rng([self.seed, 1, start])
            vectors = self._drawn(rng, min(BLOCK, self.count - start))
            vectors += (IMAGE_MEAN * self._image_mean).astype(np.float32)
            yield _unit(vectors).astype(dtype)

    def queries(self, count: int, draw: int) -> np.ndarray:
        """Text-like queries, float32 (count, dim) of unit length; another ``draw``, others."""
        rng = np.random.default_rng([self.seed, 2, draw])
        clusters = rng.integers(len(self._centres), size=(count, MIXED))
        weights = rng.dirichlet(np.ones(MIXED), count)
        mixtures = _unit(np.einsum("qm,qmd->qd", weights, self._centres[clusters]))
        noise = rng.standard_normal((count, self.dim)) / np.sqrt(self.dim)
        texts = TEXT_MEAN * self._text_mean + MIXTURE * mixtures + TEXT_NOISE * noise
        return _unit(texts).astype(np.float32)

    def _drawn(self, rng: np.random.Generator, size: int) -> np.ndarray:
        clusters = rng.choice(len(self._centres), size, p=self._sizes)
        vectors = rng.standard_normal((size, self.dim), np.float32) @ self._noise
        return vectors + CLUSTER * self._centres[clusters]

    def buckets(self) -> np.ndarray:
        """A number below 1000 for each vector, int32 (n,), that filters are made of."""
        rng = np.random.default_rng([self.seed, 3])
        return rng.integers(BUCKETS, size=self.count, dtype=np.int32)


class Calibrated(Source):
    """The second kind, see the module."""

    def __init__(self, count: int, dim: int, seed: int = 0) -> None:
        super().__init__(count, dim, seed)
        clusters = len(self._centres)
        rng = np.random.default_rng([seed, 4])
        spectrum = np.arange(1, dim + 1) ** -CALIBRATED_DECAY
        rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
        spread = (spectrum[:, None] * rotation / np.linalg.norm(spectrum)).astype(np.float32)
        self._centres = rng.standard_normal((clusters, dim), np.float32) @ (BETWEEN * spread)
        self._noise = WITHIN * spread
        sizes = rng.lognormal(size=clusters)
        self._sizes = sizes / sizes.sum()

    def queries(self, count: int, draw: int) -> np.ndarray:
        """Those of a concept that the vectors show; see :meth:`Source.queries`."""
        rng = np.random.default_rng([self.seed, 2, draw])
        noise = rng.standard_normal((count, self.dim)) / np.sqrt(self.dim)
        texts = TEXT_MEAN * self._text_mean + self._drawn(rng, count) + TEXT_NOISE * noise
        return _unit(texts).astype(np.float32)

    def _drawn(self, rng: np.random.Generator, size: int) -> np.ndarray:
        clusters = rng.choice(len(self._centres), size, p=self._sizes)
        noise = rng.standard_normal((size, self.dim), np.float32) @ self._noise
        return self._centres[clusters] + noise


SOURCES: dict[str, type[Source]] = {"spread": Source, "calibrated": Calibrated}


def write_vectors(path: Path, source: Source) -> None:
    """Writes the vectors as one ``.npy`` file, block by block."""
    shape = (source.count, source.dim)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for block in source.blocks():
        file[start : start + len(block)] = block
        start += len(block)
    file.flush()


def lowest_scores(vectors: np.ndarray, queries: np.ndarray, k: int, rows: np.ndarray) -> np.ndarray:
    """The score of the k-th nearest of some rows to each query: what a hit must reach, (m,)."""
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(rows), BLOCK):
        block = vectors[rows[start : start + BLOCK]].astype(np.float32)
        best = np.hstack([best, queries @ block.T])
        if best.shape[1] > k:
            best = -np.partition(-best, k - 1, axis=1)[:, :k]
    return best.min(axis=1)


def recall(
    vectors: np.ndarray, queries: np.ndarray, found: list[np.ndarray], lowest: np.ndarray, k: int
) -> float:
    """Which part of the k nearest was found: by score, so that of equals any will do.

    Args:
        vectors: float16 (n, dim)
        queries: float32 (m, dim)
        found: m arrays of rows
        lowest: (m,), see :func:`lowest_scores`
        k: to be found
    """
    hits = 0
    for query, rows, least in zip(queries, found, lowest, strict=True):
        scores = vectors[np.unique(rows)[:k]].astype(np.float32) @ query
        hits += int((scores >= least - ROUNDING).sum())
    return hits / (k * len(queries))


ROUNDING = 2e-6
"""Scores in float32 that differ by less are taken for equal."""


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
