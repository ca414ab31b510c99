"""FiftyOne's neighbour queries, answered from vectors at rest.

A *view* here is the places that a query may find, in the order of the view; None is all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alphaclip.indexing.brain.arguments import BrainArgumentError, Query
from alphaclip.indexing.brain.vectors import Vectors
from alphaclip.indexing.nearest.metrics import distance, prepare

QUERIES = 1024
"""Vectors that are searched for at a time in a query for all of them."""

AGGREGATIONS: dict[str, Callable[..., np.ndarray]] = {
    "post-mean": np.mean,
    "post-min": np.min,
    "post-max": np.max,
}
"""How the distances of several queries make one; "mean" averages the queries before."""


def query_vectors(vectors: Vectors, query: Query) -> np.ndarray:
    """The vectors of a query: (m, dim).

    Raises:
        BrainArgumentError: if an id is not in the index
    """
    if query.vectors is not None:
        return query.vectors
    places, found = vectors.find(np.array(query.ids, dtype=str))
    if not found.all():
        unknown = [name for name, there in zip(query.ids, found, strict=True) if not there]
        raise BrainArgumentError(f"query ids {_some(unknown)} are not in the index")
    return vectors.take(places)


def nearest(
    vectors: Vectors, query: Query, k: int | None, view: np.ndarray | None, reverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to each query: distances and places, both (m, k').

    Raises:
        AlphaClipError: if a query does not fit the index
    """
    queries, own = query_vectors(vectors, query), query.vectors is None
    count = len(vectors) if k is None else k
    only = None if view is None else np.sort(view)
    return vectors.search(queries, count, only, reverse, own)


def nearest_to_all(
    vectors: Vectors,
    query: Query,
    k: int | None,
    view: np.ndarray | None,
    reverse: bool,
    aggregation: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest vectors to several queries together: distances and places, both (k',).

    Raises:
        AlphaClipError: if a query does not fit the index, or there is no such aggregation
    """
    if aggregation == "mean":
        queries = query_vectors(vectors, query)
        if len(queries) > 1:
            query = Query(queries.mean(axis=0, keepdims=True), [], True)
        distances, places = nearest(vectors, query, k, view, reverse)
        return distances[0], places[0]
    if aggregation not in AGGREGATIONS:
        known = ", ".join(("mean", *AGGREGATIONS))
        raise BrainArgumentError(f"aggregation is {aggregation!r}: expected one of {known}")
    distances, places = _aggregated(vectors, query, view, aggregation)
    order = np.argsort(-distances if reverse else distances, kind="stable")[:k]
    return distances[order], places[order]


def neighbours(
    vectors: Vectors, k: int | None, view: np.ndarray | None, reverse: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The nearest others to every vector of the view.

    Returns:
        int64 positions in the view, and distances, one array of each for each vector
    """
    own = np.arange(len(vectors)) if view is None else view
    only, position = np.sort(own), _positions(vectors, own)
    count = max(0, min(len(own) - 1, len(own) if k is None else k))
    found, distances = list[np.ndarray](), list[np.ndarray]()
    for start in range(0, len(own), QUERIES):
        here = own[start : start + QUERIES]
        near, places = vectors.search(vectors.take(here), count + 1, only, reverse, own=True)
        kept = _others(places, here)
        found.extend(position[places[kept]].reshape(len(here), count))
        distances.extend(near[kept].reshape(len(here), count))
    return found, distances


def within(
    vectors: Vectors, query: Query, thresh: float, view: np.ndarray | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The vectors within a distance of each query, the nearest first: distances and places.

    Raises:
        AlphaClipError: if a query does not fit the index
    """
    places = np.arange(len(vectors)) if view is None else view
    return _within(vectors, _prepared(vectors, query), thresh, places)


def neighbours_within(
    vectors: Vectors, thresh: float, view: np.ndarray | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The others within a distance of every vector of the view, the nearest first.

    Returns:
        int64 positions in the view, and distances, one array of each for each vector
    """
    own = np.arange(len(vectors)) if view is None else view
    position = _positions(vectors, own)
    found, distances = list[np.ndarray](), list[np.ndarray]()
    for start in range(0, len(own), QUERIES):
        here = own[start : start + QUERIES]
        near, places = _within(vectors, vectors.prepared(here), thresh, own)
        for place, others, apart in zip(here, places, near, strict=True):
            found.append(position[others[others != place]])
            distances.append(apart[others != place])
    return found, distances


def _prepared(vectors: Vectors, query: Query) -> np.ndarray:
    """A query ready to be compared; only those of others must have a direction."""
    if query.vectors is not None and len(vectors):
        return prepare(query.vectors, vectors.metric, vectors.version.dim)
    given = query_vectors(vectors, query)
    return vectors.prepared(vectors.find(np.array(query.ids))[0]) if query.ids else given


def _aggregated(
    vectors: Vectors, query: Query, view: np.ndarray | None, aggregation: str
) -> tuple[np.ndarray, np.ndarray]:
    places = np.arange(len(vectors)) if view is None else view
    queries, join = _prepared(vectors, query), AGGREGATIONS[aggregation]
    parts = [np.zeros(0, np.float32)]
    for _, scores in vectors.compare(queries, places):
        parts.append(join(distance(scores, vectors.metric), axis=0))
    return np.concatenate(parts), places


def _within(
    vectors: Vectors, queries: np.ndarray, thresh: float, places: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    near: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in queries]
    found: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in queries]
    for here, scores in vectors.compare(queries, places):
        for line, distances in enumerate(distance(scores, vectors.metric)):
            inside = np.flatnonzero(distances <= thresh)
            near[line].append(distances[inside])
            found[line].append(here[inside])
    joined = [(np.concatenate(a), np.concatenate(b)) for a, b in zip(near, found, strict=True)]
    orders = [np.argsort(distances, kind="stable") for distances, _ in joined]
    return (
        [a[order] for (a, _), order in zip(joined, orders, strict=True)],
        [b[order] for (_, b), order in zip(joined, orders, strict=True)],
    )


def _positions(vectors: Vectors, own: np.ndarray) -> np.ndarray:
    """For each place, its position in the view."""
    position = np.full(len(vectors), -1)
    position[own] = np.arange(len(own))
    return position


def _others(places: np.ndarray, own: np.ndarray) -> np.ndarray:
    """A mask that leaves out one place of each line: its own, or else the last."""
    kept = places != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return kept


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
