"""Exact search by inner product, in FAISS; built from the store's vectors whenever needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import faiss


def build_index(vectors: np.ndarray) -> faiss.Index:
    """An index whose ids are row numbers.

    Args:
        vectors: float16 (n, dim), rows of unit length
    """
    import faiss

    index = faiss.IndexScalarQuantizer(
        vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.train(np.zeros((1, vectors.shape[1]), np.float32))
    for start in range(0, len(vectors), 65536):
        index.add(np.asarray(vectors[start : start + 65536], np.float32))
    return index


def search_index(
    index: faiss.Index, queries: np.ndarray, k: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows nearest to each query.

    Args:
        index: see :func:`build_index`
        queries: float32 (m, dim), finite
        k: rows to find
        rows (None): int64, the only rows that may be found

    Returns:
        float32 (m, k') cosines and int64 (m, k') rows, best first; k' is the smaller of k and
        the number of rows

    Raises:
        AlphaClipError: if the queries have another dimension or are not finite
    """

    if queries.ndim != 2 or queries.shape[1] != index.d:
        raise AlphaClipError(
            f"query has shape {queries.shape}, the index holds vectors of {index.d} numbers: "
            "was the query made by another encoder?"
        )
    if not np.isfinite(queries).all():
        raise AlphaClipError("query holds a value that is not finite")
    available = index.ntotal if rows is None else len(rows)
    count = min(k, available)
    if not count:
        return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
    only = None if rows is None else _only(rows)
    scores, found = index.search(np.ascontiguousarray(queries, np.float32), count, params=only)
    return scores, found


def _only(rows: np.ndarray) -> faiss.SearchParameters:
    import faiss

    parameters = faiss.SearchParameters()
    parameters.sel = faiss.IDSelectorBatch(np.ascontiguousarray(rows, np.int64))
    return parameters
