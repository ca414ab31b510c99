"""How many of the nearest vectors an approximate search finds, and how far it must look."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
"""Vectors in the mean that stands in for a text."""


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        nprobe: lists to look into
        oversample: candidates for each place to find
        recalls: at k, of each kind of query, with these two
        k: of the recall
        queries: of all kinds together
    """

    nprobe: int
    oversample: int
    recalls: dict[str, float]
    k: int
    queries: int


def measure(
    index: IvfIndex,
    table: VectorTable,
    queries: np.ndarray,
    k: int = 100,
    nprobe: int | None = None,
) -> float:
    """The recall at k: which part of the k nearest vectors the index finds, 0 to 1.

    Args:
        index: of the table
        table: of n vectors
        queries: (m, dim)
        k: at most a twentieth of n is measured, as more would be found by an exact search
        nprobe (None): lists to look into, instead of the index's own number
    """
    k = _measurable(k, len(table))
    truth, _ = scan_top(table, queries, k, index.metric)
    return _recall(index, queries, truth, nprobe)


def tune(
    index: IvfIndex,
    table: VectorTable,
    metric: Metric,
    queries: Mapping[str, np.ndarray],
    target: float = 0.99,
    k: int = 100,
) -> Tuned:
    """The smallest nprobe, a power of two or all lists, that finds enough for every kind of query;
    where all lists are not enough, more candidates are taken from them.

    Args:
        index: of the table
        table: of n vectors
        metric: of both
        queries: (m, dim) of each kind
        target: recall at k that each kind must reach
        k: see :func:`measure`
    """
    k = _measurable(k, len(table))
    if not queries:
        return Tuned(index.nlist, index.oversample, {}, k, 0)
    exact = scan_top(table, np.concatenate(list(queries.values())), k, metric)[0]
    parts = np.split(exact, np.cumsum([len(part) for part in queries.values()])[:-1])
    truths = dict(zip(queries, parts, strict=True))
    for nprobe, oversample in _steps(index):
        index.oversample = oversample
        recalls = {
            kind: _recall(index, part, truths[kind], nprobe) for kind, part in queries.items()
        }
        logger.info("nprobe %d, oversample %d: recall at %d is %s", nprobe, oversample, k, recalls)
        if min(recalls.values()) >= target:
            break
    return Tuned(nprobe, oversample, recalls, k, len(exact))


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
    rng = np.random.default_rng(seed)
    regions = prepare_rows(table.take(_sample(rng, len(table), QUERIES)), metric)
    regions = regions[regions.any(axis=1)] if metric == "cosine" else regions
    given = None if texts is None else texts()
    if given is not None and len(given):
        return {"text": given, "region": regions}
    if not len(regions):
        return {}
    return {"shifted": _shifted(rng, table, metric), "region": regions}


def _shifted(rng: np.random.Generator, table: VectorTable, metric: Metric) -> np.ndarray:
    some = rng.integers(len(table), size=(QUERIES, MIXED))
    rows = prepare_rows(table.take(some.ravel()), metric).reshape(QUERIES, MIXED, -1)
    noise = rng.standard_normal((QUERIES, table.dim), np.float32) * rows.std() / np.sqrt(MIXED)
    return np.asarray(rows.mean(axis=1) + noise, np.float32)


def _recall(index: IvfIndex, queries: np.ndarray, truth: np.ndarray, nprobe: int | None) -> float:
    """By score: of vectors that are equally near, any may be found."""
    scores, _ = index.search(queries, truth.shape[1], nprobe=nprobe)
    rounding = 1e-6 * np.abs(truth).max(axis=1, keepdims=True)
    return float((scores >= truth[:, -1:] - rounding).mean())


def _sample(rng: np.random.Generator, total: int, count: int) -> np.ndarray:
    return np.sort(rng.choice(total, min(total, count), replace=False))


def _measurable(k: int, total: int) -> int:
    return max(1, min(k, total // 20))


def _steps(index: IvfIndex) -> list[tuple[int, int]]:
    """Ever more lists, then ever more candidates from all of them."""
    lists = [*(1 << i for i in range((index.nlist - 1).bit_length())), index.nlist]
    few = index.oversample
    return [
        *((nprobe, few) for nprobe in lists),
        *((index.nlist, few * more) for more in (2, 4, 8)),
    ]
