"""What code beside :class:`RegionIndex` needs of it: the rows of one version throughout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest.brute_force import scan
from alphaclip.indexing.nearest.exact import ExactIndex
from alphaclip.indexing.retrieval.queries import Query, make_ranking
from alphaclip.indexing.store.segments import as_bytes

FEW_PARTS = 4
"""For so many vectors FAISS compares and sorts all rows faster than a scan converts them."""

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot


def places_of(index: SearchIndex, now: Snapshot, label_ids: Sequence[str]) -> np.ndarray:
    """The place of each label: int64 (n,).

    Raises:
        AlphaClipError: if one is not in the index
    """
    places = now.lookup.find(as_bytes(list(label_ids)))
    missing = [label for label, place in zip(label_ids, places, strict=True) if place < 0]
    if missing:
        raise AlphaClipError(
            f"{len(missing)} of {len(places)} labels are not in index {index.key!r}, the first is "
            f"{missing[0]}: update the index"
        )
    return places


def scores_of(
    index: SearchIndex,
    query: Query,
    view: fo.SampleCollection | None = None,
    aggregate: str = "max",
) -> Iterator[np.ndarray]:
    """The scores of all regions, or of a view's, a block at a time.

    Yields:
        float32 (b,) cosines to the query, as in :attr:`Hits.scores`
    """
    now = index.snapshot()
    ranking = make_ranking(index.encode, query, None, aggregate, None, False)
    only = None if view is None else index.places_in(now, view)
    for _, cosines in scan(now.version.table, ranking.vectors, "cosine", only):
        yield ranking.score(cosines)[0]


def cosines_of(
    now: Snapshot, vectors: np.ndarray, only: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All cosines, in the quickest way: they may differ from :func:`scan`'s by a rounding.

    Args:
        now: the version
        vectors: float32 (m, dim), of unit length
        only: int64, ascending, the only places to compare; None for all

    Yields:
        int64 (b,) places and float32 (m, b) cosines
    """
    engine = now.engine()
    exact = isinstance(engine, ExactIndex) and "device" not in engine.facts
    if not exact or len(vectors) > FEW_PARTS:
        yield from scan(now.version.table, vectors, "cosine", only)
        return
    total = len(now.version)
    cosines = np.zeros((len(vectors), total), np.float32)
    scores, places = engine.search(vectors, total, only)
    np.put_along_axis(cosines, places, scores, axis=1)
    yield (np.arange(total), cosines) if only is None else (only, cosines[:, only])
