"""An index of a dataset's regions, opened: search by text, by example or by vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import labels_in
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.dataset.tuning_texts import probe_texts
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import (
    Aggregate,
    Example,
    Query,
    QueryEncoder,
    make_ranking,
    parts_of,
    unit_vectors,
)
from alphaclip.indexing.retrieval.ranking import find
from alphaclip.indexing.retrieval.snapshot import Opened, Snapshot
from alphaclip.indexing.retrieval.view_cache import state_of
from alphaclip.indexing.store.segments import RowIds, as_bytes, as_text

if TYPE_CHECKING:
    import fiftyone as fo


class SearchIndex:
    """The regions of one field of a dataset, as they can be read and searched.

    What another process publishes is seen at the next search.

    Args:
        dataset: whose regions
        key: of the index
    """

    def __init__(self, dataset: fo.Dataset, key: str) -> None:
        self.dataset = dataset
        self.key = key
        self._opened = Opened(lambda: index_folder(dataset, key), self._text_probes)

    def __len__(self) -> int:
        return len(self._opened.newest().version)

    @property
    def ids(self) -> RowIds:
        """The sample, label, field and fingerprint of each row."""
        return self._opened.newest().version.ids

    def vectors(self, places: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 (n, dim), of unit length."""
        return self._opened.newest().version.table.take(places).astype(np.float32)

    @property
    def field(self) -> str:
        """The field that holds the regions."""
        return str(self._opened.newest().version.info["field"])

    @property
    def encoder(self) -> QueryEncoder:
        """Encodes queries; what loads encoders is above the search, so a subclass says which."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """What the index holds.

        Returns:
            key, count, dimension, version, field, encoder, fingerprint, view, the report of the
            last build or update, and as ``search`` how it is searched: exactly, or by which FAISS
            index, with its measured recall
        """
        now = self._opened.newest()
        version = now.version
        shape = {"count": len(version), "dim": version.dim, "version": version.number}
        return {"key": self.key, **shape, **version.info, "search": now.engine().facts}

    def prepare(self, progress: Progress | None = None) -> None:
        """Makes the index ready to be searched: a large one takes a while, the first time.

        Args:
            progress (None): told how far it is
        """
        self._opened.newest().engine(progress)

    def search(
        self,
        query: Query,
        k: int | None = 50,
        view: fo.SampleCollection | None = None,
        negative: Query | None = None,
        aggregate: Aggregate = "max",
        weights: Sequence[float] | None = None,
        min_score: float | None = None,
        per_image: bool = False,
        reverse: bool = False,
    ) -> Hits:
        """Finds the regions that match a query best.

        Args:
            query: text; a vector (dim,); :class:`Example`, a region of the index; or
                ``(image, region)``. A list of these, or an array (m, dim), is ONE query
            k: regions to find; None finds all, best with ``min_score``
            view (None): a view of the dataset; only its regions are found, or, where it shows
                something else than the index's field, the regions of its pictures
            negative (None): what to avoid, as ``query``: half its cosine is taken off the order
            aggregate: how several parts make one score: the largest cosine, or the mean
            weights (None): positive numbers, one for each part; they change the order, not the
                scores
            min_score (None): the lowest cosine to the query, in [-1, 1]
            per_image (False): only the best region of each image
            reverse (False): the least similar first

        Raises:
            AlphaClipError: if the query is empty, k is below 1, a vector does not fit, an example
                is not in the index, or the view is one of another dataset
        """
        _check_k(k)
        ranking = make_ranking(self.encode, query, negative, aggregate, weights, reverse)
        now = self._opened.newest()
        only = None if view is None else self.places_in(now, view)
        groups = now.pictures if per_image else None
        found = find(now.engine(), now.version.table, ranking, k, only, min_score, groups)
        return self.hits(now, found.places, found.scores, found.rank_scores)

    def search_many(
        self, queries: Sequence[Query], k: int = 50, view: fo.SampleCollection | None = None
    ) -> list[Hits]:
        """Answers independent queries, faster than one by one; one :class:`Hits` for each."""
        _check_k(k)
        vectors = [self.encode(query) for query in queries]
        if any(len(several) > 1 for several in vectors):
            return [self.search(query, k, view) for query in queries]
        now = self._opened.newest()
        only = None if view is None else self.places_in(now, view)
        scores, places = now.engine().search(np.concatenate(vectors), k, only)
        return [self.hits(now, p, s, s) for p, s in zip(places, scores, strict=True)]

    def hits_of(
        self, label_ids: Sequence[str], query: Query, negative: Query | None = None
    ) -> Hits:
        """Some regions, as a search finds them, best first; see :meth:`search`.

        Args:
            label_ids: of the regions; those that are not in the index are left out
            query: see there
            negative (None): see there
        """
        ranking = make_ranking(self.encode, query, negative, "max", None, False)
        now = self._opened.newest()
        places = np.unique(now.lookup.find(as_bytes(list(label_ids))))
        only = places[places >= 0]
        found = find(now.engine(), now.version.table, ranking, None, only)
        return self.hits(now, found.places, found.scores, found.rank_scores)

    def encode(self, query: Query) -> np.ndarray:
        """The vectors of a query, one for each part: float32 (m, dim), of unit length."""
        parts = parts_of(query)
        if all(isinstance(part, str) for part in parts):
            return self.encoder.encode_text(parts)
        return np.concatenate([self._encode_part(part) for part in parts])

    def snapshot(self) -> Snapshot:
        """The newest version, to be looked at more than once."""
        return self._opened.newest()

    def places_in(self, now: Snapshot, view: fo.SampleCollection) -> np.ndarray:
        """The places of a view's regions in a version: int64 (n,), ascending.

        They are remembered for as long as neither the view nor its dataset is another.
        """

        def compute() -> np.ndarray:
            inside = as_bytes(labels_in(view, self.dataset, now.version.info["field"]))
            places = now.lookup.find(inside)
            return np.unique(places[places >= 0])

        return now.views.get(state_of(view), compute)

    def hits(
        self, now: Snapshot, places: np.ndarray, scores: np.ndarray, rank_scores: np.ndarray
    ) -> Hits:
        """Says what is at some places of a version: int64 (n,), with a float32 (n,) score each."""
        ids = now.version.ids.take(places)
        texts = (as_text(column) for column in (ids.sample_ids, ids.label_ids, ids.fields))
        return Hits(*texts, scores, rank_scores, self.dataset)

    def holds(self, example: Example) -> bool:
        """Whether a region is in the index."""
        return bool(self._opened.newest().lookup.find(as_bytes([example.label_id]))[0] >= 0)

    def _encode_part(self, part: Any) -> np.ndarray:
        if isinstance(part, np.ndarray):
            return unit_vectors(part)
        if isinstance(part, str):
            return self.encoder.encode_text([part])
        if isinstance(part, Example):
            return self._vector_of(part)
        image, region = part
        return self.encoder.encode_regions(image, [region])

    def _vector_of(self, example: Example) -> np.ndarray:
        now = self._opened.newest()
        place = now.lookup.find(as_bytes([example.label_id]))
        if place[0] < 0:
            raise AlphaClipError(
                f"label {example.label_id} is not in index {self.key!r}: update the index, or give "
                "(image, Region)"
            )
        return unit_vectors(now.version.table.take(place))

    def _text_probes(self) -> np.ndarray:
        return self.encoder.encode_text(probe_texts(self.dataset, self.field))


def _check_k(k: int | None) -> None:
    if k is not None and (not isinstance(k, (int, np.integer)) or k < 1):
        raise AlphaClipError(f"k is {k!r}: expected a whole number of at least 1, or None for all")
