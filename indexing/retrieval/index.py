"""An index of a dataset's regions, opened: search by text, by example or by vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphaclip.arguments import COSINE, COUNT, check, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import labels_in
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.dataset.tuning_texts import probe_texts
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.captions import Captions, fuse
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import (
    NEGATIVE_WEIGHT,
    Aggregate,
    Example,
    Query,
    QueryPart,
    Words,
    parts_of,
    unit_vectors,
)
from alphaclip.indexing.retrieval.ranking import Ranking, find, first_of_each
from alphaclip.indexing.retrieval.snapshot import Snapshot, open_snapshot
from alphaclip.indexing.retrieval.view_rows import state_of
from alphaclip.indexing.store.entries import check_kinds
from alphaclip.indexing.store.manifests import check_report
from alphaclip.indexing.store.segments import RowIds, as_text

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.nearest.engine import Engine
    from alphaclip.indexing.store.store import StoreVersion


class SearchedCopy(Protocol):
    """An index's vectors in another engine, see :mod:`alphaclip.indexing.brain.copies`."""

    brain_key: str
    settings: Mapping[str, Any]

    def searching(self, now: Snapshot) -> Engine: ...
    def info(self, version: StoreVersion) -> dict[str, Any]: ...


class SearchIndex:
    """The regions of one field of a dataset, as they can be read and searched.

    What another process publishes is seen at the next search.

    Args:
        dataset: whose regions
        key: of the index
        copy (None): of its vectors in another engine, which is searched then
    """

    def __init__(self, dataset: fo.Dataset, key: str, copy: SearchedCopy | None = None) -> None:
        self.dataset = dataset
        self.key = key
        self.copy = copy
        self._newest: Snapshot | None = None
        self._captions: tuple[Any, Captions] | None = None
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The newest version, to be looked at more than once.

        Raises:
            StoreError: if the store is damaged or gone
        """
        with self._lock:
            # The folder is looked up each time: a cloned dataset gets its own.
            folder = index_folder(self.dataset, self.key)
            texts, copy = self._text_probes, self.copy
            engine_of = None if copy is None else copy.searching
            self._newest = open_snapshot(
                folder, self._newest, text_queries=texts, engine_of=engine_of
            )
            return self._newest

    @property
    def ids(self) -> RowIds:
        """The sample, label, field and fingerprint of each row."""
        return self.snapshot().version.ids

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 (n, dim), of unit length."""
        return self.snapshot().vectors(rows)

    @property
    def field(self) -> str:
        """The field that holds the regions."""
        version = self.snapshot().version
        check_kinds(version.info, {"field": str}, version.folder)
        return str(version.info["field"])

    @property
    def encoder(self) -> Any:
        """An :class:`alphaclip.encoder.encoder.Encoder`, for queries.

        What loads encoders stands above the search, so a subclass says which.
        """
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """What the index holds.

        Returns:
            key, count, dimension, version, field, encoder, fingerprint, view, the report of the
            last build or update, and as ``search`` how it is searched: exactly, or by which FAISS
            index, with its measured recall; of one that is searched in another engine, as
            ``engine``, how far that is in step
        """
        now = self.snapshot()
        version = now.version
        if version.info.get("kind") == "regions":
            check_report(version.info, version.folder)
        shape = {"count": len(version), "dim": version.dim, "version": version.number}
        info = {"key": self.key, **shape, **version.info, "search": now.engine().facts}
        return info if self.copy is None else {**info, "engine": self.copy.info(version)}

    def prepare(self, progress: Progress | None = None) -> None:
        """Makes the index ready to be searched: a large one takes a while, the first time.

        Args:
            progress (None): told how far it is
        """
        self.snapshot().engine(progress)

    @checked(k=COUNT, min_score=COSINE, aggregate=Aggregate)
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
        captions: bool | str = False,
    ) -> Hits:
        """Finds the regions that match a query best.

        With ``captions`` there are two rankings, by vectors and by the captions that have words of
        the query, the rarer the better; they are joined by reciprocal rank fusion, and
        :attr:`Hits.ranks` says which rank came from where. Vectors hardly know where in its picture
        a region lies, and what is beside it; captions may.

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
            captions (False): also match the words of the query with the attribute ``caption`` of
                the labels, or with the one of this name; it looks at every region

        Raises:
            AlphaClipError: if the query is empty, k is below 1, a vector does not fit, an example
                is not in the index, or the view is one of another dataset
            FieldError: if the labels have no captions
        """
        ranking = self.ranking(query, negative, aggregate, weights, reverse, captions)
        return self.find(ranking, k, view, min_score, per_image)

    @checked(k=COUNT)
    def search_many(
        self, queries: Sequence[Query], k: int | None = 50, view: fo.SampleCollection | None = None
    ) -> list[Hits]:
        """Answers independent queries, faster than one by one; one :class:`Hits` for each."""
        vectors = [self.encode(query) for query in queries]
        if k is None or any(len(several) != 1 for several in vectors):
            return [self.search(some, k, view) for some in vectors]
        if not vectors:
            return []
        now = self.snapshot()
        only = None if view is None else self.rows_in(now, view)
        scores, rows = now.engine().search(np.concatenate(vectors), k, only)
        return [
            replace(self.hits(now, row, score, score), query=Words.of(query).text)
            for query, row, score in zip(queries, rows, scores, strict=True)
        ]

    def encode(self, query: Query) -> np.ndarray:
        """The vectors of a query, one for each part: float32 (m, dim), of unit length."""
        parts = parts_of(query)
        if all(isinstance(part, str) for part in parts):
            return self.encoder.recall_text(parts)
        return np.concatenate([self.encode_part(part) for part in parts])

    def encode_part(self, part: QueryPart) -> np.ndarray:
        """The vectors of one part of a query: float32 (m, dim), of unit length; m is 1, but for
        an array of several vectors.

        Raises:
            AlphaClipError: if it is an example that the index does not hold, or a vector of
                another length
        """
        if isinstance(part, str):
            return self.encoder.recall_text([part])
        if isinstance(part, np.ndarray):
            vectors, dim = unit_vectors(part), self.snapshot().version.dim
            if vectors.shape[1] != dim:
                raise AlphaClipError(
                    f"query has shape {part.shape}, the index holds vectors of {dim} numbers: was "
                    "the query made by another encoder?"
                )
            return vectors
        if isinstance(part, tuple):
            image, region = part
            return self.encoder.encode_regions(image, [region])
        now = self.snapshot()
        row = now.lookup.find_named([part.label_id])
        if row[0] < 0:
            raise AlphaClipError(
                f"label {part.label_id} is not in index {self.key!r}: update the index, or give "
                "(image, Region)"
            )
        return unit_vectors(now.vectors(row))

    def ranking(
        self,
        query: Query,
        negative: Query | None = None,
        aggregate: str = "max",
        weights: Sequence[float] | None = None,
        reverse: bool = False,
        captions: bool | str = False,
    ) -> Ranking:
        """Encodes a query; see :meth:`search`."""
        words = Words.of(query, negative, captions)
        against = None if negative is None else self.encode(negative)
        return Ranking.of(self.encode(query), against, aggregate, weights, reverse, words)

    def find(
        self,
        ranking: Ranking,
        k: int | None,
        view: fo.SampleCollection | None = None,
        min_score: float | None = None,
        per_image: bool = False,
    ) -> Hits:
        """:meth:`search` with an encoded query."""
        now = self.snapshot()
        only = None if view is None else self.rows_in(now, view)
        if ranking.words.captions is not None:
            hits = self._find_by_both(now, ranking, k, only, min_score, per_image)
        else:
            groups = now.pictures_of if per_image else None
            ranked = find(now.engine(), now.version.table, ranking, k, only, min_score, groups)
            hits = self.hits(now, ranked.rows, ranked.scores, ranked.rank_scores)
        return replace(hits, query=ranking.words.text)

    def _find_by_both(
        self,
        now: Snapshot,
        ranking: Ranking,
        k: int | None,
        only: np.ndarray | None,
        min_score: float | None,
        per_image: bool,
    ) -> Hits:
        """The best rows by vectors and captions."""
        captions = self._captions_of(now, str(ranking.words.captions))
        ranked = find(now.engine(), now.version.table, ranking, None, only, min_score)
        matches = captions.match(ranking.words, ranked.rows)
        order, keys, ranks = fuse(ranked.rank_scores, matches)
        rows = ranked.rows[order]
        best = first_of_each(now.pictures_of(rows)) if per_image else np.arange(len(rows))
        best = best[:k]
        hits = self.hits(now, rows[best], ranked.scores[order[best]], keys[best])
        return replace(hits, ranks=ranks[best])

    def _captions_of(self, now: Snapshot, attribute: str) -> Captions:
        """The captions of a version; read again where the dataset was modified since."""
        state = state_of(self.dataset)
        kept, made_of = self._captions, (now, attribute, state)
        if kept is None or state is None or kept[0] != made_of:
            kept = (made_of, Captions.read(self.dataset, self.field, attribute, now.version.ids))
            self._captions = kept
        return kept[1]

    def matching(
        self, now: Snapshot, ranking: Ranking, min_score: float, only: np.ndarray | None = None
    ) -> Hits:
        """Whatever matches a query in a version, best first, or among some rows of it: a region is
        not to be more like what is to be avoided than like the query.
        """
        ranked = find(now.engine(), now.version.table, ranking, None, only, min_score)
        hits = self.hits(now, ranked.rows, ranked.scores, ranked.rank_scores)
        avoided = (hits.scores - hits.rank_scores) / NEGATIVE_WEIGHT
        return hits.take(hits.scores > avoided) if (avoided != 0).any() else hits

    def hits_of(self, ranking: Ranking, names: Sequence[str]) -> Hits:
        """Some regions, as a search finds them, best first; those not in the index are left out.

        Args:
            ranking: the query
            names: of the regions, see :class:`Example`
        """
        now = self.snapshot()
        rows = np.unique(now.lookup.find_named(names))
        ranked = find(now.engine(), now.version.table, ranking, None, rows[rows >= 0])
        return self.hits(now, ranked.rows, ranked.scores, ranked.rank_scores)

    def rows_in(self, now: Snapshot, view: fo.SampleCollection) -> np.ndarray:
        """The rows of a view's regions in a version: int64 (n,), ascending.

        They are remembered for as long as neither the view nor its dataset is another.
        """

        check("view", view, "fo.SampleCollection")

        def compute() -> np.ndarray:
            rows = now.lookup.find(labels_in(view, self.dataset, now.version.info["field"]))
            is_in = np.zeros(len(now), bool)  # To sort the rows would take as long as to read them
            is_in[rows[rows >= 0]] = True
            return np.flatnonzero(is_in)

        return now.views.get(state_of(view), compute)

    def rows_of(self, now: Snapshot, names: Sequence[str]) -> np.ndarray:
        """The row of each region by its name, see :class:`Example`, in a version: int64 (n,).

        Raises:
            AlphaClipError: if one is not there
        """
        rows = now.lookup.find_named(names)
        missing = [name for name, row in zip(names, rows, strict=True) if row < 0]
        if missing:
            raise AlphaClipError(
                f"{len(missing)} of {len(rows)} labels are not in index {self.key!r}, the first is "
                f"{missing[0]}: update the index"
            )
        return rows

    def hits(
        self, now: Snapshot, rows: np.ndarray, scores: np.ndarray, rank_scores: np.ndarray
    ) -> Hits:
        """Says what some rows of a version are: int64 (n,), with a float32 (n,) score each."""
        ids = now.version.ids_of(rows)
        samples, labels, fields = map(as_text, (ids.sample_ids, ids.label_ids, ids.fields))
        return Hits(samples, labels, fields, scores, rank_scores, self.dataset)

    def names(self, hits: Hits) -> list[str]:
        """What :class:`Example`, marks and reviews find each hit by; see :func:`names_in`."""
        return names_in([self], hits.region_ids)

    def holds(self, example: Example) -> bool:
        """Whether a region is in the index."""
        return bool(self.snapshot().lookup.find_named([example.label_id])[0] >= 0)

    def _text_probes(self) -> np.ndarray:
        return self.encoder.recall_text(probe_texts(self.dataset, self.field))


def names_in(indexes: Sequence[SearchIndex], regions: Sequence[tuple[str, str]]) -> list[str]:
    """What :class:`Example`, marks and reviews find regions by, in the first index that holds each.

    Args:
        indexes: that may hold them
        regions: sample id and label id of each

    Returns:
        the label id or, where an older sample has a label of this id, ``<sample id>-<label id>``
    """
    if not regions:
        return []
    samples, labels = zip(*regions, strict=True)
    ids = RowIds.of(samples, labels)
    names = as_text(ids.label_ids).astype(object)
    for index in reversed(indexes):
        lookup = index.snapshot().lookup
        rows = lookup.find(ids)
        names[rows >= 0] = lookup.names(rows[rows >= 0])
    return [str(name) for name in names]
