"""What FiftyOne's Brain asks of vectors at rest, and the answers: ids and numbers.

A *view* here is the rows that a query may find, in the order of the FiftyOne view; None is all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alphaclip.arguments import listed
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.metrics import distance, prepare, prepare_rows, similarity
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import as_bytes, as_text

logger = logging.getLogger(__name__)

Kind = Literal["sample", "label"]
Lists = tuple[list[np.ndarray], list[np.ndarray]]

QUERIES = 1024
"""Vectors that are searched for at a time in a query for all of them."""

BLOCK = 8192
"""Vectors that are compared at a time with up to a thousand others: 32 MB of similarities."""

AGGREGATIONS: dict[str, Callable[..., np.ndarray]] = {
    "post-mean": np.mean,
    "post-min": np.min,
    "post-max": np.max,
}
"""How the distances of several queries make one; "mean" averages the queries before."""


class BrainArgumentError(AlphaClipError, ValueError):
    """Something given to a Brain index cannot be used."""


@dataclass(frozen=True, eq=False)
class Query:
    """What somebody looks for.

    Attributes:
        vectors: (m, dim)
        rows: int64 (m,), where the vectors are in the index; None if they are from elsewhere
        is_single: whether one was given, not a list of one
    """

    vectors: np.ndarray
    rows: np.ndarray | None
    is_single: bool

    def prepared(self, now: Snapshot) -> np.ndarray:
        """Ready to be compared; only vectors from elsewhere must have a direction."""
        if self.rows is not None:
            return prepared(now, self.rows)
        return prepare(self.vectors, now.metric, now.version.dim) if len(now) else self.vectors


def parse_query(now: Snapshot, query: Any) -> Query:
    """Reads a query: an id, several ids, a vector (dim,) or several (m, dim).

    Raises:
        BrainArgumentError: if nothing is given, or an id is not in the index
    """
    try:
        values = np.asarray(query)
    except ValueError as error:
        raise BrainArgumentError(f"query is neither ids nor vectors: {error}") from error
    if not values.size:
        raise BrainArgumentError("query is empty: give at least one id or vector")
    if np.issubdtype(values.dtype, np.number):
        return Query(now.lay_out(np.atleast_2d(values)), None, values.ndim == 1)
    ids = as_ids(query if isinstance(query, str) else values)
    rows = now.lookup.find_named(ids.tolist())
    unknown = ids[rows < 0].tolist()
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise BrainArgumentError(f"query ids {', '.join(unknown[:3])}{more} are not in the index")
    return Query(compared(now, rows), rows, isinstance(query, str))


def as_ids(ids: Any) -> np.ndarray:
    """One id, or any collection of ids, as an array of text."""
    several = listed(ids)
    values = [ids] if several is None else several
    return np.array(list(map(str, values))) if values else np.zeros(0, "U1")


def rows_of(
    now: Snapshot, ids: Any, kind: Kind, of_patches: bool, allow_missing: bool, warn_missing: bool
) -> np.ndarray:
    """The rows of samples or labels, in the order asked for; a sample of an index of patches stands
    for all its labels.

    A label id that several samples have is the region of the oldest one; asked for again, that of
    the next. So all label ids of an index are all its rows.

    Raises:
        BrainArgumentError: if an id is not there and must be, or an index of samples is asked for
            labels
    """
    if kind == "label" and not of_patches:
        raise BrainArgumentError("this is an index of samples: it has no label ids")
    names = as_ids(ids)
    if kind == "sample" and of_patches:
        samples, order = now.by_sample
        keys = as_bytes(names)
        first, last = (np.searchsorted(samples, keys, side) for side in ("left", "right"))
        several = [order[begin:end] for begin, end in zip(first, last, strict=True)]
        rows, is_there = np.concatenate([np.zeros(0, np.int64), *several]), last > first
    else:
        rows = now.lookup.find_keys(as_bytes(names), _turns(names))
        rows = np.where(rows >= 0, rows, now.lookup.find_named(names.tolist()))
        is_there = rows >= 0
        rows = rows[is_there]
    if not is_there.all():
        missing = f"{(~is_there).sum()} {kind} ids are not in the index, as {names[~is_there][0]}"
        if not allow_missing:
            raise BrainArgumentError(missing)
        if warn_missing:
            logger.warning("%s", missing)
    return rows


def _turns(names: np.ndarray) -> np.ndarray:
    """How often each was there before: int64 (n,)."""
    _, numbers = np.unique(names, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    turns = np.empty(len(names), np.int64)
    turns[order] = np.arange(len(names)) - np.searchsorted(numbers[order], numbers[order])
    return turns


def ids_at(
    now: Snapshot, rows: np.ndarray, of_patches: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The sample ids, and in an index of patches the label ids, of some rows."""
    ids = now.version.ids
    return as_text(ids.sample_ids[rows]), as_text(ids.label_ids[rows]) if of_patches else None


def answer(
    now: Snapshot,
    distances: np.ndarray | list[np.ndarray],
    rows: np.ndarray | list[np.ndarray],
    of_patches: bool,
    with_distances: bool,
) -> tuple:
    """One ranking (k,) as lists of ids and of numbers; several, (m, k) or a list of arrays that are
    not equally long, as lists of lists.
    """
    if isinstance(rows, list):
        pairs = zip(distances, rows, strict=True)
        lines = [answer(now, near, here, of_patches, True) for near, here in pairs]
        samples, labels, apart = (list(column) for column in zip(*lines, strict=True))
        ids = (samples, labels if of_patches else None)
    else:
        sample_ids, label_ids = ids_at(now, rows, of_patches)
        ids = (sample_ids.tolist(), None if label_ids is None else label_ids.tolist())
        apart = distances.tolist()  # type: ignore[union-attr]
    return (*ids, apart) if with_distances else ids


def nearest(
    now: Snapshot, query: Query, k: int | None, view: np.ndarray | None, reverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to each query, or the least similar: distances and rows, both (m, k').

    Vectors of the index that are zero, which have no direction, are at distance 1 of all others, as
    they are in a search for others.

    Raises:
        AlphaClipError: if a query does not fit the index
    """
    only = None if view is None else np.sort(view)
    available, queries = len(now) if only is None else len(only), query.vectors
    count = min(available, len(now) if k is None else k)
    distances = np.ones((len(queries), count), np.float32)
    rows = np.tile(np.arange(count) if only is None else only[:count], (len(queries), 1))
    usable = np.ones(len(queries), bool)
    if query.rows is not None and now.metric == "cosine":
        usable = (queries != 0).any(axis=1)
    if count and usable.any():
        if reverse:
            scores, rows[usable] = scan_top(
                now.table, queries[usable], count, now.metric, only, True
            )
        else:
            scores, rows[usable] = now.engine().search(queries[usable], count, only)
        distances[usable] = distance(scores, now.metric)
    return distances, rows


def nearest_to_all(
    now: Snapshot,
    query: Query,
    k: int | None,
    view: np.ndarray | None,
    reverse: bool,
    aggregation: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to several queries together: distances and rows, both (k',).

    Raises:
        AlphaClipError: if a query does not fit the index, or there is no such aggregation
    """
    if aggregation == "mean":
        if len(query.vectors) > 1:
            query = Query(query.vectors.mean(axis=0, keepdims=True), None, True)
        distances, rows = nearest(now, query, k, view, reverse)
        return distances[0], rows[0]
    if aggregation not in AGGREGATIONS:
        names = ", ".join(("mean", *AGGREGATIONS))
        raise BrainArgumentError(f"aggregation is {aggregation!r}: expected one of {names}")
    only = np.arange(len(now)) if view is None else view
    join, parts = AGGREGATIONS[aggregation], [np.zeros(0, np.float32)]
    for _, scores in compare(now, query.prepared(now), only):
        parts.append(join(distance(scores, now.metric), axis=0))
    apart = np.concatenate(parts)
    order = np.argsort(-apart if reverse else apart, kind="stable")[:k]
    return apart[order], only[order]


def neighbours(now: Snapshot, k: int | None, view: np.ndarray | None, reverse: bool) -> Lists:
    """The nearest others to every vector of the view: for each their positions in the view, and
    their distances.
    """
    own = np.arange(len(now)) if view is None else view
    position = _positions(now, own)
    count = max(0, min(len(own) - 1, len(own) if k is None else k))
    positions, distances = list[np.ndarray](), list[np.ndarray]()
    for start in range(0, len(own), QUERIES):
        here = own[start : start + QUERIES]
        query = Query(compared(now, here), here, False)
        near, rows = nearest(now, query, count + 1, own, reverse)
        # Each line without the vector itself, or without the last where it is not among them.
        others = rows != here[:, None]
        others[others.all(axis=1), -1] = False
        positions.extend(position[rows[others]].reshape(len(here), count))
        distances.extend(near[others].reshape(len(here), count))
    return positions, distances


def within(now: Snapshot, queries: np.ndarray, thresh: float, view: np.ndarray | None) -> Lists:
    """The vectors within a distance of each query, from :meth:`Query.prepared`, the nearest first:
    distances and rows.
    """
    only = np.arange(len(now)) if view is None else view
    near: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in queries]
    rows: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in queries]
    for here, scores in compare(now, queries, only):
        for line, distances in enumerate(distance(scores, now.metric)):
            inside = np.flatnonzero(distances <= thresh)
            near[line].append(distances[inside])
            rows[line].append(here[inside])
    joined = [(np.concatenate(a), np.concatenate(b)) for a, b in zip(near, rows, strict=True)]
    orders = [np.argsort(distances, kind="stable") for distances, _ in joined]
    return (
        [a[order] for (a, _), order in zip(joined, orders, strict=True)],
        [b[order] for (_, b), order in zip(joined, orders, strict=True)],
    )


def neighbours_within(now: Snapshot, thresh: float, view: np.ndarray | None) -> Lists:
    """The others within a distance of every vector of the view, the nearest first: for each the
    positions in the view, int64, and the distances.
    """
    own = np.arange(len(now)) if view is None else view
    position = _positions(now, own)
    positions, distances = list[np.ndarray](), list[np.ndarray]()
    for start in range(0, len(own), QUERIES):
        here = own[start : start + QUERIES]
        near, rows = within(now, prepared(now, here), thresh, own)
        for row, others, apart in zip(here, rows, near, strict=True):
            positions.append(position[others[others != row]])
            distances.append(apart[others != row])
    return positions, distances


def compared(now: Snapshot, rows: np.ndarray) -> np.ndarray:
    """The vectors of some rows, as they are compared but of any length: float32 (n, dim)."""
    return now.table.take(rows).astype(np.float32)


def prepared(now: Snapshot, rows: np.ndarray) -> np.ndarray:
    """The vectors of some rows, ready to be compared: float32 (n, dim)."""
    return prepare_rows(now.table.take(rows), now.metric)


def compare(
    now: Snapshot, queries: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All similarities of prepared queries (m, dim) with some rows, a block at a time: int64 (b,)
    rows and float32 (m, b) similarities.
    """
    for start in range(0, len(rows), BLOCK):
        here = rows[start : start + BLOCK]
        yield here, similarity(queries, prepared(now, here), now.metric)


def _positions(now: Snapshot, own: np.ndarray) -> np.ndarray:
    """For each row, its position in the view."""
    position = np.full(len(now), -1)
    position[own] = np.arange(len(own))
    return position
