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
from alphaclip.indexing.dataset.labels import images_of
from alphaclip.indexing.explore.several_indexes import check_together, encode_in
from alphaclip.indexing.nearest.brute_force import scan
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import NEGATIVE_WEIGHT, Query, parts_of
from alphaclip.indexing.store.segments import as_text

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.snapshot import Snapshot


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
        regions: for each present part the region that matches it best in each picture, in the
            order of the pictures; ``scores`` are their cosines to the part
    """

    sample_ids: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray
    absent_scores: np.ndarray
    dataset: fo.Dataset
    regions: tuple[Hits, ...] = ()

    def __len__(self) -> int:
        return len(self.sample_ids)

    def take(self, which: slice | np.ndarray) -> PictureHits:
        """Some of the pictures; see :meth:`Hits.take`."""
        names = ("sample_ids", "scores", "rank_scores", "absent_scores")
        columns = {name: getattr(self, name)[which] for name in names}
        return replace(self, **columns, regions=tuple(hits.take(which) for hits in self.regions))

    def hits(self) -> Hits:
        """The regions of all present parts, picture by picture, each once: to be tagged, or shown.

        With :func:`alphaclip.indexing.tag_samples` they stand for the pictures.
        """
        ranks = -np.arange(len(self), dtype=np.float32)
        joined = Hits.joined([replace(hits, rank_scores=ranks) for hits in self.regions], None)
        pictures = (-joined.rank_scores).astype(np.int64)
        return replace(joined, rank_scores=self.rank_scores[pictures]).once()

    def view(self) -> fo.DatasetView:
        """The pictures in rank order.

        Raises:
            ViewSizeError: if they are too many for the database, some 400,000
        """
        from alphaclip.indexing.dataset.labels import check_size

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
    images_of(searched[0].dataset)
    opened = [(index, index.snapshot()) for index in searched]
    best = _Best.of(opened, [*present, *absent], view)
    scores = best.cosines[: len(present)].min(axis=0)
    nothing = np.full(len(best.samples), np.nan)
    against = best.cosines[len(present) :].max(axis=0) if absent else nothing
    order = scores - NEGATIVE_WEIGHT * against if absent else scores
    fits = np.ones(len(scores), bool)
    if min_score is not None:
        fits &= scores >= min_score
    if max_absent is not None:
        fits &= ~(against >= max_absent)
    which = np.flatnonzero(fits)
    which = which[np.lexsort((which, -order[which]))][:k]
    scores, order, against = (c[which].astype(np.float32) for c in (scores, order, against))
    regions = tuple(best.hits(opened, part, which) for part in range(len(present)))
    samples = as_text(best.samples[which])
    return PictureHits(samples, scores, order, against, searched[0].dataset, regions)


Opened = Sequence[tuple[SearchIndex, "Snapshot"]]


@dataclass(frozen=True, eq=False)
class _Best:
    """The best region of each picture for each part.

    Attributes:
        samples: bytes (n,), the ids of the pictures, sorted
        cosines: float32 (parts, n), of the best region; -inf where a picture has none
        owners: int64 (parts, n), the index that holds it
        rows: int64 (parts, n), its row there
    """

    samples: np.ndarray
    cosines: np.ndarray
    owners: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, opened: Opened, parts: Sequence[Query], view: fo.SampleCollection | None) -> _Best:
        vectors = [encode_in([index for index, _ in opened], parts_of(part)) for part in parts]
        found = [_best_in(index, now, vectors, view) for index, now in opened]
        samples = np.unique(np.concatenate([ids for ids, _, _ in found]))
        shape = (len(parts), len(samples))
        cosines, owners = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
        rows = np.zeros(shape, np.int64)
        for owner, (ids, own_cosines, own_rows) in enumerate(found):
            at = np.searchsorted(samples, ids)
            is_better = own_cosines > cosines[:, at]
            cosines[:, at] = np.where(is_better, own_cosines, cosines[:, at])
            owners[:, at] = np.where(is_better, owner, owners[:, at])
            rows[:, at] = np.where(is_better, own_rows, rows[:, at])
        return cls(samples, cosines, owners, rows)

    def hits(self, opened: Opened, part: int, which: np.ndarray) -> Hits:
        """The best regions of some pictures for a part, in the order of the pictures."""
        owners, rows = self.owners[part, which], self.rows[part, which]
        cosines = self.cosines[part, which]
        hits = []
        for owner, (index, now) in enumerate(opened):
            own = np.flatnonzero(owners == owner)
            hits.append(index.hits(now, rows[own], cosines[own], -own.astype(np.float32)))
        joined = Hits.joined(hits, None)
        return replace(joined, rank_scores=joined.scores)


def _best_in(
    index: SearchIndex,
    now: Snapshot,
    vectors: Sequence[np.ndarray],
    view: fo.SampleCollection | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pictures of an index, the highest cosine of each to each part, and whose row that is:
    bytes (n,), float32 (parts, n) and int64 (parts, n); of equal ones the first row."""
    only = None if view is None else index.rows_in(now, view)
    ids = np.unique(now.version.ids.sample_ids)
    best = np.full((len(vectors), len(ids)), -np.inf, np.float32)
    best_rows = np.zeros(best.shape, np.int64)
    starts = np.cumsum([0, *map(len, vectors)])[:-1]
    for rows, cosines in scan(now.version.table, np.concatenate(vectors), "cosine", only):
        pictures = now.pictures[rows]
        for part, scores in enumerate(np.maximum.reduceat(cosines, starts, axis=0)):
            before = best[part, pictures]
            np.maximum.at(best[part], pictures, scores)
            is_best = np.flatnonzero((scores > before) & (scores == best[part, pictures]))[::-1]
            best_rows[part, pictures[is_best]] = rows[is_best]
    seen = np.isfinite(best[0])
    return ids[seen], best[:, seen], best_rows[:, seen]
