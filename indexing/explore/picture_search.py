"""Pictures with A and B but not C: regions searched together, picture by picture.

Public: :func:`find_pictures` and :class:`PictureHits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COSINE, COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.several_indexes import check_together, encode_in
from alphaclip.indexing.nearest.brute_force import scan
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import NEGATIVE_WEIGHT, Query, parts_of
from alphaclip.indexing.store.segments import as_text

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True, eq=False)
class PictureHits:
    """Pictures in rank order, best first.

    Attributes:
        sample_ids: str (k,)
        scores: float32 (k,), the lowest over the present parts of the best region's cosine
        rank_scores: float32 (k,), what the order follows: half the highest cosine of an absent part
            is taken off
        absent_scores: float32 (k,), the highest cosine of any region to any absent part, else NaN
        dataset: that was searched
    """

    sample_ids: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray
    absent_scores: np.ndarray
    dataset: fo.Dataset

    def __len__(self) -> int:
        return len(self.sample_ids)

    def take(self, which: slice | np.ndarray) -> PictureHits:
        """Some of the pictures; see :meth:`Hits.take`."""
        names = ("sample_ids", "scores", "rank_scores", "absent_scores")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def view(self) -> fo.DatasetView:
        """The pictures in rank order.

        Raises:
            ViewSizeError: if they are too many for the database, some 400,000
        """
        from alphaclip.indexing.dataset.labels import check_size, images_of

        view = images_of(self.dataset).select(self.sample_ids.tolist(), ordered=True)
        check_size(view, "take fewer of them, by hits.take(slice(100_000))")
        return view


@checked(k=COUNT, min_score=COSINE, max_absent=COSINE)
def find_pictures(
    indexes: SearchIndex | Sequence[SearchIndex],
    present: Sequence[Query],
    absent: Sequence[Query] = (),
    k: int | None = 50,
    view: fo.SampleCollection | None = None,
    min_score: float | None = None,
    max_absent: float | None = None,
) -> PictureHits:
    """Finds the pictures that show all of some things, and none of some others.

    Each part is scored by the region of the picture that matches it best; one region may match
    several parts. A picture's score is that of the part which it matches least. The order takes
    off half the highest score of an absent part, as a search with ``negative`` does.

    Args:
        indexes: one or several, of one dataset and one encoder
        present: the parts that must be there, each a query of its own; a part that is a list
            matches by any of its members
        absent: the parts that must not be there
        k: pictures to find; None finds all
        view (None): see :meth:`RegionIndex.search`
        min_score (None): leave out pictures whose score is lower
        max_absent (None): leave out pictures with a region whose cosine to an absent part reaches
            this

    Raises:
        AlphaClipError: if nothing is to be present, k is below 1, or the indexes do not belong
            together
    """
    searched = [indexes] if isinstance(indexes, SearchIndex) else list(indexes)
    if not len(present):
        raise AlphaClipError("present is empty: give a list of the parts that must be there")
    check_together(searched)
    samples, highest = _best_by_picture(searched, [*present, *absent], view)
    scores = highest[: len(present)].min(axis=0)
    against = highest[len(present) :].max(axis=0) if absent else np.full(len(samples), np.nan)
    order = scores - NEGATIVE_WEIGHT * against if absent else scores
    fits = np.ones(len(scores), bool)
    if min_score is not None:
        fits &= scores >= min_score
    if max_absent is not None:
        fits &= ~(against >= max_absent)
    best = np.flatnonzero(fits)
    best = best[np.lexsort((best, -order[best]))][:k]
    scores, order, against = (c[best].astype(np.float32) for c in (scores, order, against))
    return PictureHits(as_text(samples[best]), scores, order, against, searched[0].dataset)


def _best_by_picture(
    indexes: Sequence[SearchIndex], parts: Sequence[Query], view: fo.SampleCollection | None
) -> tuple[np.ndarray, np.ndarray]:
    """The sample ids, bytes (n,), and each part's highest cosine there, float32 (parts, n)."""
    vectors = [encode_in(indexes, parts_of(part)) for part in parts]
    starts = np.cumsum([0, *map(len, vectors)])[:-1]
    by_index = []
    for index in indexes:
        now = index.snapshot()
        only = None if view is None else index.rows_in(now, view)
        ids = np.unique(now.version.ids.sample_ids)
        best = np.full((len(parts), len(ids)), -np.inf, np.float32)
        for rows, cosines in scan(now.version.table, np.concatenate(vectors), "cosine", only):
            for part, scores in enumerate(np.maximum.reduceat(cosines, starts, axis=0)):
                np.maximum.at(best[part], now.pictures[rows], scores)
        seen = np.isfinite(best[0])
        by_index.append((ids[seen], best[:, seen]))
    samples = np.unique(np.concatenate([ids for ids, _ in by_index]))
    highest = np.full((len(parts), len(samples)), -np.inf, np.float32)
    for ids, scores in by_index:
        at = np.searchsorted(samples, ids)
        highest[:, at] = np.maximum(highest[:, at], scores)
    return samples, highest
