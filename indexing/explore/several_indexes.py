"""Searches several indexes of one encoder at once, as for several label fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore import scores
from alphaclip.indexing.explore.scores import Distribution
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import Example, Query, parts_of

if TYPE_CHECKING:
    import fiftyone as fo


def search(
    indexes: Sequence[SearchIndex],
    query: Query,
    k: int | None = 50,
    view: fo.SampleCollection | None = None,
    negative: Query | None = None,
    **options: Any,
) -> Hits:
    """Finds the best regions of several indexes, in one ranking.

    Args:
        indexes: of one dataset and one encoder
        query: see :meth:`RegionIndex.search`; an example may be in any of the indexes
        k: regions to find; None finds all
        view (None): the part of the dataset to search
        negative (None): what to avoid
        options: the others of :meth:`RegionIndex.search`

    Raises:
        AlphaClipError: if there is no index, or they are of different datasets or encoders
    """
    check_together(indexes)
    positive = encode_in(indexes, query)
    against = None if negative is None else encode_in(indexes, negative)
    found = [index.search(positive, k, view, against, **options) for index in indexes]
    return _best(found, k, bool(options.get("per_image")))


def find_and_measure(
    indexes: Sequence[SearchIndex],
    query: Query,
    k: int | None = 50,
    view: fo.SampleCollection | None = None,
    negative: Query | None = None,
) -> tuple[Hits, Distribution]:
    """:func:`scores.find_and_measure` of several indexes, in one ranking; see :func:`search`."""
    check_together(indexes)
    positive = encode_in(indexes, query)
    against = None if negative is None else encode_in(indexes, negative)
    found = [scores.find_and_measure(index, positive, k, view, against) for index in indexes]
    hits, spreads = zip(*found, strict=True)
    return _best(hits, k, False), Distribution.joined(spreads)


def hits_of(
    indexes: Sequence[SearchIndex],
    label_ids: Sequence[str],
    query: Query,
    negative: Query | None = None,
) -> Hits:
    """Some regions, as a search finds them; those that no index holds are left out.

    Args:
        indexes: of one dataset and one encoder
        label_ids: of the regions
        query: see :meth:`RegionIndex.search`
        negative (None): what to avoid

    Returns:
        best first
    """
    check_together(indexes)
    positive = encode_in(indexes, query)
    against = None if negative is None else encode_in(indexes, negative)
    found = [index.hits_of(label_ids, positive, against) for index in indexes]
    return _best(found, None, False)


def check_together(indexes: Sequence[SearchIndex]) -> None:
    """Looks whether indexes may be searched at once.

    Raises:
        AlphaClipError: if there is no index, or they are of different datasets or encoders
    """
    if not indexes:
        raise AlphaClipError("indexes is empty: give the indexes to search")
    if len({index.dataset.name for index in indexes}) > 1:
        raise AlphaClipError("the indexes are of different datasets: search each by itself")
    kinds = {index.info()["fingerprint"]: index.info()["encoder"] for index in indexes}
    if len(kinds) > 1:
        raise AlphaClipError(
            f"the indexes are of different encoders ({', '.join(kinds.values())}): their scores "
            "cannot be compared; build them with one encoder"
        )


def encode_in(indexes: Sequence[SearchIndex], query: Query) -> np.ndarray:
    """The vectors of a query whose examples may be in any of the indexes: float32 (m, dim)."""
    parts = parts_of(query)
    return np.concatenate([_holder(indexes, part).encode(part) for part in parts])


def _holder(indexes: Sequence[SearchIndex], part: Any) -> SearchIndex:
    """The index that an example is in; the first, for what is no example."""
    if isinstance(part, Example):
        for index in indexes:
            if index.holds(part):
                return index
    return indexes[0]


def _best(found: Sequence[Hits], k: int | None, per_image: bool) -> Hits:
    if len(found) == 1:
        return found[0]
    names = ("sample_ids", "label_ids", "fields", "scores", "rank_scores")
    columns = [np.concatenate([getattr(hits, name) for hits in found]) for name in names]
    order = np.argsort(-columns[-1], kind="stable")
    if per_image:
        _, first = np.unique(columns[0][order], return_index=True)
        order = order[np.sort(first)]
    return Hits(*(column[order[:k]] for column in columns), found[0].dataset)
