"""Searches several indexes of one encoder at once, as for several label fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COSINE, COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import (
    Aggregate,
    Example,
    Query,
    QueryPart,
    Words,
    parts_of,
    unit_vectors,
)
from alphaclip.indexing.retrieval.ranking import Ranking

if TYPE_CHECKING:
    import fiftyone as fo


@checked(k=COUNT, min_score=COSINE, aggregate=Aggregate)
def search(
    indexes: Sequence[SearchIndex],
    query: Query,
    k: int | None = 50,
    view: fo.SampleCollection | None = None,
    negative: Query | None = None,
    aggregate: Aggregate = "max",
    weights: Sequence[float] | None = None,
    min_score: float | None = None,
    per_image: bool = False,
    reverse: bool = False,
    captions: bool | str = False,
) -> Hits:
    """Finds the best regions of several indexes, in one ranking.

    Args:
        indexes: one or several, of one dataset and one encoder
        query: see :meth:`RegionIndex.search`; an example may be in any of the indexes
        k: regions to find; None finds all
        view (None): the part of the dataset to search
        negative (None): what to avoid
        aggregate, weights, min_score, per_image, reverse, captions: see :meth:`RegionIndex.search`

    Raises:
        AlphaClipError: if there is no index, or they are of different datasets or encoders
    """
    check_together(indexes)
    positive = unit_vectors(encode_in(indexes, parts_of(query)))
    against = None if negative is None else unit_vectors(encode_in(indexes, parts_of(negative)))
    words = Words.of(query, negative, captions)
    ranking = Ranking.of(positive, against, aggregate, weights, reverse, words)
    hits = [index.find(ranking, k, view, min_score, per_image) for index in indexes]
    return Hits.joined(hits, k, per_image)


def check_together(indexes: Sequence[SearchIndex]) -> None:
    """Looks whether indexes may be searched at once.

    Raises:
        AlphaClipError: if there is no index, one is there beside its own copy, or they are of
            different datasets or encoders
    """
    if not indexes:
        raise AlphaClipError("indexes is empty: give the indexes to search")
    if len({index.dataset.name for index in indexes}) > 1:
        raise AlphaClipError("the indexes are of different datasets: search each by itself")
    keys = [index.key for index in indexes]
    if len(set(keys)) < len(keys) and any(index.copy is not None for index in indexes):
        raise AlphaClipError(
            f"the indexes are {', '.join(keys)}: search each once, by itself or by its copy in "
            "another engine"
        )
    infos = [index.snapshot().version.info for index in indexes]
    kinds = {info["fingerprint"]: info["encoder"] for info in infos}
    if len(kinds) > 1:
        raise AlphaClipError(
            f"the indexes are of different encoders ({', '.join(kinds.values())}): their scores "
            "cannot be compared; build them with one encoder"
        )


def encode_in(indexes: Sequence[SearchIndex], parts: Sequence[QueryPart]) -> np.ndarray:
    """The vectors of a query's parts: float32 (m, dim).

    Each is encoded by itself, an example by the index that holds it, all else by the first.
    """
    vectors = []
    for part in parts:
        holding = (one for one in indexes if isinstance(part, Example) and one.holds(part))
        vectors.append(next(holding, indexes[0]).encode_part(part))
    return np.concatenate(vectors)
