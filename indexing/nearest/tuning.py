"""How many of the nearest vectors an approximate search finds, and how far it must look."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.metrics import Metric, prepare_rows
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    from alphaclip.indexing.nearest.ivf import IvfIndex

logger = logging.getLogger(__name__)

QUERIES = 200
"""Vectors that are sampled as queries, of each kind."""

MIXED = 3
"""Vectors in the mean that stands in for a text: like a text it is near several, and at none."""


Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""The scores and rows of the k nearest to each query."""


@dataclass(frozen=True)
class Tuned:
    """What tuning settled on: lists to look into, candidates for each row to find, and the recall
    at k of each kind of query with these; and how many queries that was measured with.
    """

    nprobe: int
    oversample: int
    recalls: dict[str, float]
    k: int
    queries: int


def tune(
    index: IvfIndex,
    table: VectorTable,
    metric: Metric,
    queries: Mapping[str, np.ndarray],
    target: float = 0.99,
    k: int = 100,
) -> Tuned:
    """The fewest candidates at which all lists would find more than enough for every kind of query,
    and with these the smallest nprobe that finds enough: a power of two, one by three, or all.

    Args:
        index, table, metric: that belong together
        queries: (m, dim) of each kind
        target: recall at k that each kind must reach
        k: at most a twentieth of the table is measured, as more would be found by an exact search
    """
    k = max(1, min(k, len(table) // 20))
    if not queries:
        return Tuned(index.nlist, index.oversample, {}, k, 0)
    truths = _truths(table, metric, queries, k)
    few, every = index.oversample, index.nlist
    lists = sorted({n for i in range(every.bit_length()) for n in (1 << i, 3 << i) if n < every})

    @cache
    def recalls(nprobe: int, oversample: int) -> dict[str, float]:
        index.oversample = oversample
        search = partial(index.search, nprobe=nprobe)
        reached = {kind: _recall(search, part, truths[kind]) for kind, part in queries.items()}
        logger.info("nprobe %d, oversample %d: recall at %d: %s", nprobe, oversample, k, reached)
        return reached

    def worst(nprobe: int, oversample: int) -> float:
        return min(recalls(nprobe, oversample).values())

    # Half of what may be missed is left to the lists: to score candidates costs less than to read.
    several = (few, 2 * few, 4 * few)
    more = (1 + target) / 2
    oversample = next((some for some in several if worst(every, some) >= more), 8 * few)
    # Recall grows with every step, so that only a few have to be measured.
    nprobe = [*lists, every][bisect_left(lists, target, key=lambda n: worst(n, oversample))]
    index.oversample = oversample
    return Tuned(nprobe, oversample, recalls(nprobe, oversample), k, sum(map(len, truths.values())))


def measure(
    search: Search, table: VectorTable, metric: Metric, queries: Mapping[str, np.ndarray], k: int
) -> dict[str, Any]:
    """The recall at k of a search, for each kind of query, with k and the number of queries."""
    k = max(1, min(k, len(table) // 2))
    truths = _truths(table, metric, queries, k) if queries else {}
    recalls = {kind: _recall(search, part, truths[kind]) for kind, part in queries.items()}
    return {"k": k, "queries": sum(map(len, truths.values())), **recalls}


def make_queries(
    table: VectorTable, metric: Metric, seed: int, texts: Callable[[], np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Queries to tune with. Those of texts lie apart from all vectors, and are the harder ones.

    Args:
        table: of n > 0 vectors
        metric: they are for
        seed: of the sample
        texts (None): returns (m, dim) encoded texts; without, means of vectors, moved by noise,
            stand in for them

    Returns:
        (m, dim) of each kind: "region", and "text" or "shifted"; none where all vectors are zero
    """
    rng, total = np.random.default_rng(seed), len(table)
    sample = np.sort(rng.choice(total, min(total, QUERIES), replace=False))
    regions = prepare_rows(table.take(sample), metric)
    regions = regions[regions.any(axis=1)] if metric == "cosine" else regions
    encoded = None if texts is None else texts()
    if encoded is not None and len(encoded):
        return {"text": encoded, "region": regions}
    if not len(regions):
        return {}
    several = rng.integers(total, size=(QUERIES, MIXED))
    vectors = prepare_rows(table.take(several.ravel()), metric).reshape(QUERIES, MIXED, -1)
    noise = rng.standard_normal((QUERIES, table.dim), np.float32) * vectors.std() / np.sqrt(MIXED)
    return {"shifted": np.asarray(vectors.mean(axis=1) + noise, np.float32), "region": regions}


def _truths(
    table: VectorTable, metric: Metric, queries: Mapping[str, np.ndarray], k: int
) -> dict[str, np.ndarray]:
    """The exact scores of the k nearest to each query, by kind."""
    exact = scan_top(table, np.concatenate(list(queries.values())), k, metric)[0]
    parts = np.split(exact, np.cumsum([len(part) for part in queries.values()])[:-1])
    return dict(zip(queries, parts, strict=True))


def _recall(search: Search, queries: np.ndarray, truth: np.ndarray) -> float:
    """By score: of vectors that are equally near, any may be found."""
    scores, _ = search(queries, truth.shape[1])
    rounding = 1e-6 * np.abs(truth).max(axis=1, keepdims=True)
    return float((scores >= truth[:, -1:] - rounding).mean())
