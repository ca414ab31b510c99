"""An index of a dataset's regions: search by text, by example or by vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from alphaclip.indexing.encoders import encoder_of
from alphaclip.indexing.hits import Hits
from alphaclip.indexing.labels import labels_in
from alphaclip.indexing.manifests import has_store
from alphaclip.indexing.opened import Opened, Snapshot
from alphaclip.indexing.places import check_key, index_folder, index_keys, remove_index
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.queries import (
    Aggregate,
    Example,
    Query,
    make_ranking,
    parts_of,
    unit_vectors,
)
from alphaclip.indexing.ranking import find
from alphaclip.indexing.segments import RowIds, as_bytes, as_text
from alphaclip.indexing.view_places import state_of

from alphaclip.encoder import Encoder
from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo
    from alphaclip.indexing.actions import Action
    from alphaclip.indexing.freshness import Freshness
    from alphaclip.indexing.labelling.label_dataset import Classes, Reviews
    from alphaclip.indexing.labelling.report import LabelReport
    from alphaclip.indexing.merging import MergeReport


def load(dataset: fo.Dataset, key: str = "regions") -> RegionIndex:
    """Opens an index; nothing is read before it is needed.

    Raises:
        AlphaClipError: if the dataset has no index of this name; says which it has
    """
    if not has_store(index_folder(dataset, key)):
        known = ", ".join(index_keys(dataset)) or "none"
        raise AlphaClipError(f"dataset {dataset.name!r} has no index {key!r}; it has: {known}")
    return RegionIndex(dataset, key)


class RegionIndex:
    """The regions of one field of a dataset; made by :func:`build` and :func:`load`.

    What another process publishes is seen at the next search.

    Args:
        dataset: whose regions
        key: of the index
        encoder (None): the one it was built with; None loads it by name when text or an example
            is first searched
    """

    def __init__(self, dataset: fo.Dataset, key: str, encoder: Encoder | None = None) -> None:
        self.dataset = dataset
        self.key = key
        self._given = encoder
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

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that the index was built with.

        Raises:
            AlphaClipError: if the model of that name has other weights, or another view, now
        """
        return encoder_of(self._opened.newest().version.info, self._given)

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

    def freshness(self, progress: Progress | None = None) -> Freshness:
        """How many regions are new, edited or gone since they were embedded; reads all labels.

        Args:
            progress (None): told how far it is; None shows a bar in the terminal
        """
        from alphaclip.indexing.freshness import freshness

        return freshness(self.dataset, self._opened.newest().version, progress)

    def update(self, progress: Progress | None = None) -> MergeReport:
        """Embeds regions that are new or edited, and drops those that are gone.

        What an index was built on is looked at again: the dataset, or the view as it is now.
        Damaged pieces of the store are embedded again. An interrupted update goes on where it was
        when it is run again. Where a picture cannot be reached, its vectors stay.

        Args:
            progress (None): told how far it is; None shows bars in the terminal

        Returns:
            how many regions there are, were embedded, kept, dropped and skipped
        """
        from alphaclip.indexing.building import update

        return update(self.dataset, self.key, self._given, progress)

    def tag(
        self,
        query: Query,
        tag: str,
        min_score: float,
        negative: Query | None = None,
        samples: bool = False,
        new_only: bool = False,
    ) -> Action:
        """Tags every region that matches a query; what has the tag stays as it is.

        Args:
            query: see :meth:`search`
            tag: to add
            min_score: the lowest cosine to the query, in [-1, 1]
            negative (None): what to avoid: regions that are more like it than like the query
            samples (False): tag the pictures instead
            new_only (False): look only at regions that are new or edited since this was last run
                with the same query

        Returns:
            what was done, for :func:`alphaclip.indexing.undo`

        Raises:
            AlphaClipError: if the tag or the query is empty, or the score is no cosine
        """
        from alphaclip.indexing.labelling.tagging import tag_matching

        return tag_matching(self, query, tag, min_score, negative, samples, new_only)

    def label(
        self,
        classes: Classes,
        into: str = "auto",
        precision: float | None = None,
        confidence: float = 0.9,
        reviews: Reviews = None,
        training: Mapping[str, str | None] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> LabelReport:
        """Gives regions a class where the stated precision can be promised, and queues the rest.

        The first run draws a random sample; :func:`alphaclip.indexing.labelling.runs.add_reviews`
        or ``reviews`` say what its regions are. Once all are reviewed, the sample is tested, once,
        and what passes is written. Later runs keep the threshold, after a look whether new regions
        are like the reviewed ones.

        Args:
            classes: names, :class:`LabelClass` objects, or their JSON values
            into: a field for copies linked by ``source_id``; or ``field.attribute``, in place
            precision (None): share of the written labels that is to be right, in (0, 1); None
                writes every answer, as a ranking
            confidence: of the promise, in (0, 1)
            reviews (None): label id to the right class, None for "none of these"; or an attribute
                that holds it, as ``ground_truth.label``. Only what it says of the sample is used
            training (None): label id to class of regions to learn from; reviews of the queue come
                to them
            progress (None): told how far it is; None shows a bar in the terminal
            options: the others of :class:`alphaclip.indexing.labelling.settings.LabelSettings`

        Raises:
            AlphaClipError: if classes contradict each other, the precision cannot be tested, the
                target does not fit, or regions to learn from are in the sample
        """
        from alphaclip.indexing.labelling.label_dataset import label_dataset
        from alphaclip.indexing.labelling.settings import LabelSettings

        settings = LabelSettings(into, precision, confidence, **options)
        return label_dataset(self, classes, settings, reviews, training, progress)

    def delete(self) -> None:
        """Removes the index and its Brain run; the dataset's labels stay as they are.

        Raises:
            KeyNameError: if the Brain run of this name is not the index's
        """
        check_key(self.dataset, self.key)
        if self.dataset.has_brain_run(self.key):
            self.dataset.delete_brain_run(self.key)
        remove_index(self.dataset, self.key)

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
        from alphaclip.indexing.probes import probe_texts

        return self.encoder.encode_text(probe_texts(self.dataset, self.field))


def _check_k(k: int | None) -> None:
    if k is not None and (not isinstance(k, (int, np.integer)) or k < 1):
        raise AlphaClipError(f"k is {k!r}: expected a whole number of at least 1, or None for all")
