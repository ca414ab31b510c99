"""The three ways to compare a query with vectors; in each, a larger similarity is nearer."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import faiss

Metric = Literal["cosine", "dotproduct", "euclidean"]
METRICS: tuple[Metric, ...] = get_args(Metric)

MANY = 4096
"""So many float16 vectors are converted by FAISS, on all cores: NumPy's conversion would be the
slowest part of a scan. For fewer, waking the threads takes longer."""


def check_metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        AlphaClipError: if there is none
    """
    for metric in METRICS:
        if isinstance(name, str) and metric == name:
            return metric
    raise AlphaClipError(f"metric is {name!r}, expected one of: {', '.join(METRICS)}")


def prepare(queries: np.ndarray, metric: Metric, dim: int) -> np.ndarray:
    """Checks queries, (m, dim) numbers, and for the cosine makes them unit length.

    Returns:
        float32 (m, dim), C-contiguous

    Raises:
        AlphaClipError: if the shape is another, a value is not finite, or a query for the cosine
            is zero
    """
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise AlphaClipError(
            f"query has shape {queries.shape}, the index holds vectors of {dim} numbers: "
            "was the query made by another encoder?"
        )
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(queries, np.float32)
    if not np.isfinite(vectors).all():
        raise AlphaClipError("query holds a value that is not finite")
    if metric != "cosine":
        return vectors
    if not vectors.any(axis=1).all():
        raise AlphaClipError("query is zero: it has no direction")
    return _unit(vectors)


def prepare_rows(rows: np.ndarray, metric: Metric, out: np.ndarray | None = None) -> np.ndarray:
    """Vectors of a table as they are compared: for the cosine, float32 ones at unit length.

    Args:
        rows: float16 (n, dim) of unit length, or float32 (n, dim) of any length; a row of zeros
            stays zero, so that its cosine is 0
        metric: they are for
        out (None): float32 (n, dim), C-contiguous, whose memory may be used for float16 rows
    """
    if rows.dtype == np.float16 and out is not None and len(rows) >= MANY:
        codes = np.ascontiguousarray(rows).view(np.uint8)
        return _half_codec(rows.shape[1]).sa_decode(codes, x=out)
    if rows.dtype == np.float16:
        return np.ascontiguousarray(rows, np.float32)
    vectors = np.ascontiguousarray(rows, np.float32)
    return _unit(vectors) if metric == "cosine" else vectors


def similarity(queries: np.ndarray, rows: np.ndarray, metric: Metric) -> np.ndarray:
    """Compares each of m prepared queries with each of n prepared rows.

    Returns:
        float32 (m, n), larger is nearer: cosine and dot product as they are, the Euclidean distance
        negated
    """
    if metric != "euclidean":
        return queries @ rows.T
    # In float32, |q|^2 + |r|^2 - 2qr would lose the small distances, which matter most.
    wide, tall = queries.astype(np.float64), rows.astype(np.float64)
    squares = (wide @ tall.T) * -2
    squares += np.einsum("ij,ij->i", wide, wide)[:, None]
    squares += np.einsum("ij,ij->i", tall, tall)
    return -np.sqrt(np.maximum(squares, 0)).astype(np.float32)


class HalfSimilarity:
    """The dot products of prepared queries with float16 rows, which FAISS takes where they lie.

    It scans them as an inverted list, for all above minus infinity: that alone neither copies nor
    sorts them. A search for the nearest n of n took twice as long.

    Args:
        dim: numbers in a vector
    """

    def __init__(self, dim: int) -> None:
        import faiss

        product, kind = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16
        lists = faiss.IndexFlat(dim, product)
        self._index: Any = faiss.IndexIVFScalarQuantizer(lists, dim, 1, kind, product, False)
        self._index.is_trained = True
        self._scanner = self._index.get_InvertedListScanner(False, None, None)
        self._scanner.set_list(0, 0.0)

    def __call__(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float32 (m, n) of m prepared queries and n rows."""
        import faiss

        codes = faiss.swig_ptr(np.ascontiguousarray(rows).view(np.uint8))
        numbers = np.arange(len(rows))
        scores = np.full((len(queries), len(rows)), -np.inf, np.float32)
        for query, line in zip(queries, scores, strict=True):
            found: Any = faiss.RangeSearchResult(1)
            part = faiss.RangeSearchPartialResult(found)  # type: ignore[attr-defined]
            self._scanner.set_query(faiss.swig_ptr(query))
            places = (codes, faiss.swig_ptr(numbers))
            self._scanner.scan_codes_range(len(rows), *places, -np.inf, part.new_result(0))
            part.finalize()
            count = int(faiss.rev_swig_ptr(found.lims, 2)[1])
            there = faiss.rev_swig_ptr(found.labels, count)
            line[there] = faiss.rev_swig_ptr(found.distances, count)
        return scores


def distance(scores: np.ndarray, metric: Metric) -> np.ndarray:
    """The distances that belong to similarities: 1 - s, or -s for the Euclidean."""
    return -scores if metric == "euclidean" else 1 - scores


def faiss_metric(metric: Metric) -> int:
    """FAISS's name for a metric; the cosine is the inner product of prepared vectors."""
    import faiss

    return int(faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scaled by the largest number first, so that no square overflows or vanishes."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = vectors / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(norms > 0, norms, 1)


@lru_cache(maxsize=8)
def _half_codec(dim: int) -> faiss.IndexScalarQuantizer:
    import faiss

    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16)
