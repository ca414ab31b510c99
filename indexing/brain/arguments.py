"""What may be given to a Brain index: embeddings, ids and queries, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.store.segments import RowIds


class BrainArgumentError(AlphaClipError, ValueError):
    """Something given to a Brain index cannot be used."""


@dataclass(frozen=True, eq=False)
class Query:
    """What somebody looks for: either vectors, or ids of what is in the index.

    Attributes:
        vectors: (m, dim) as they were given
        ids: or these, m
        is_single: whether one was given, not a list of one
    """

    vectors: np.ndarray | None
    ids: list[str]
    is_single: bool


def parse_query(query: Any) -> Query:
    """Tells vectors from ids.

    Args:
        query: an id, several ids, a vector (dim,) or several (m, dim)

    Raises:
        BrainArgumentError: if nothing is given
    """
    if isinstance(query, str):
        return Query(None, [query], True)
    given = np.asarray(query)
    if not given.size:
        raise BrainArgumentError("query is empty: give at least one id or vector")
    if not np.issubdtype(given.dtype, np.number):
        return Query(None, as_ids(given).tolist(), False)
    return Query(np.atleast_2d(given), [], given.ndim == 1)


def as_ids(ids: Any) -> np.ndarray:
    """One id, or any collection of ids, as an array of text."""
    values = [ids] if isinstance(ids, str) else list(ids)
    return np.array(values, dtype=str) if values else np.zeros(0, "U1")


def check_k(k: Any) -> int | None:
    """How many neighbours to find; None is all.

    Raises:
        BrainArgumentError: if it is below 1, or not a whole number
    """
    if k is None:
        return None
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise BrainArgumentError(f"k is {k!r}: expected a whole number of at least 1, or None")
    return int(k)


def check_rows(
    embeddings: Any, sample_ids: Any, label_ids: Any, patches_field: str | None
) -> tuple[np.ndarray, RowIds]:
    """Embeddings to be added, and whose they are.

    Args:
        embeddings: (n, dim) numbers, or a list of n vectors
        sample_ids: n ids
        label_ids: n ids in an index of patches, else None
        patches_field: of the index, None in an index of samples

    Returns:
        (n, dim) as they were given, and the ids

    Raises:
        BrainArgumentError: if the shapes do not fit each other, or an id is missing or is there
            twice
    """
    vectors = np.asarray(embeddings)
    samples = _checked_ids(sample_ids, "sample")
    if not len(samples) and not vectors.size:
        return vectors.reshape(0, 0), RowIds.of(samples)
    if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.number):
        raise BrainArgumentError(
            f"embeddings have shape {vectors.shape} and type {vectors.dtype}: expected (n, dim) "
            "numbers"
        )
    if (label_ids is None) != (patches_field is None):
        expected = "none" if patches_field is None else f"one for each of {patches_field!r}"
        raise BrainArgumentError(
            f"label_ids are {'missing' if label_ids is None else 'given'}, expected {expected}"
        )
    labels = None if label_ids is None else _checked_ids(label_ids, "label")
    for name, ids in (("sample", samples), ("label", labels)):
        if ids is not None and len(ids) != len(vectors):
            raise BrainArgumentError(
                f"embeddings have shape {vectors.shape}, but there are {len(ids)} {name} ids"
            )
    _check_once(samples if labels is None else labels)
    return vectors, RowIds.of(samples, labels, patches_field or "")


def _checked_ids(ids: Any, kind: str) -> np.ndarray:
    values = list(ids) if not isinstance(ids, str) else [ids]
    for value in values:
        if value is None or not str(value):
            raise BrainArgumentError(f"a {kind} id is {value!r}: expected text")
    return as_ids(values)


def _check_once(ids: np.ndarray) -> None:
    in_order = np.sort(ids)
    twice = np.flatnonzero(in_order[1:] == in_order[:-1])
    if len(twice):
        raise BrainArgumentError(f"id {in_order[twice[0]]} is given twice: each has one vector")
