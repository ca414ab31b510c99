"""A backend for FiftyOne's Brain: similarity search in FAISS, over vectors that are kept on disk.

Any model and any embeddings, of samples or of patches::

    import fiftyone.brain as fob
    from alphaclip import indexing

    indexing.register_backend()
    index = fob.compute_similarity(dataset, embeddings=vectors, backend="faiss", brain_key="sim")

Without a call, a process knows the backend by its environment::

    FIFTYONE_BRAIN_SIMILARITY_BACKENDS="*,faiss"
    FIFTYONE_BRAIN_SIMILARITY_FAISS_CONFIG_CLS=alphaclip.indexing.similarity.FaissSimilarityConfig

An index that is there needs neither. FiftyOne stores the names of the three classes in its
database: they stay where they are.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import fiftyone.brain.similarity as fbs
import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.encoder.load import encoder_of, encoder_settings
from alphaclip.indexing.brain import queries as brain_queries
from alphaclip.indexing.brain.duplicates import Thinning
from alphaclip.indexing.brain.patches import (
    embed_patches,
    end_patches,
    expect_patches,
    is_without_numbers,
)
from alphaclip.indexing.brain.queries import BrainArgumentError, Kind, answer, ids_at, rows_of
from alphaclip.indexing.brain.store import Existing, RunStore, check_rows, is_of_regions
from alphaclip.indexing.brain.vector_field import VectorField
from alphaclip.indexing.brain.zoo_source import install_zoo_source
from alphaclip.indexing.dataset.labels import flat, images_of, label_ids, own_name, owner_of
from alphaclip.indexing.dataset.locations import (
    CONFIG_CLASS,
    has_run,
    new_store_id,
    remove_index,
    store_id,
)
from alphaclip.indexing.nearest.metrics import check_metric
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import RowIds, as_text
from alphaclip.indexing.zoo_model import RegionModel

if TYPE_CHECKING:
    import fiftyone as fo


logger = logging.getLogger(__name__)

_TRIES = 5
"""How often a run is registered where a load of the dataset makes FiftyOne forget it."""


class FaissSimilarityConfig(fbs.SimilarityConfig):
    """Names the store of a run and how its vectors are compared.

    Args:
        metric ("cosine"): or "dotproduct" or "euclidean"
        store (None): id of the store; None chooses one when the run is made
        centered (False): compare vectors after the mean of all is taken off, which is close to what
            FiftyOne's sklearn backend does
        **kwargs: see :class:`fiftyone.brain.similarity.SimilarityConfig`

    Raises:
        ValueError: if there is no such metric
    """

    method = "faiss"
    max_k = None
    supports_least_similarity = True
    supported_aggregations = ("mean", *brain_queries.AGGREGATIONS)

    def __init__(
        self,
        metric: str = "cosine",
        store: str | None = None,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.metric = check_metric(metric)
        self.store = store
        self.centered = bool(centered)


class FaissSimilarity(fbs.Similarity):
    """Makes the index of a run."""

    def initialize(self, samples: fo.SampleCollection, brain_key: str) -> FaissSimilarityIndex:
        """Opens the store that the run names; a run that names none gets one of its own."""
        if brain_key is not None and self.config.store is None:
            self.config.store = new_store_id(samples._root_dataset, brain_key)
            self.update_run_config(samples, brain_key, self.config)
        index = FaissSimilarityIndex(samples, self.config, brain_key, backend=self)
        if self.config.patches_field is not None:
            expect_patches(index)
        return index

    @classmethod
    def save_run_results(cls, *args: Any, **kwargs: Any) -> None:
        """Saves what was made; it expects no patches any more."""
        end_patches()
        super().save_run_results(*args, **kwargs)

    def rename(self, samples: fo.SampleCollection, key: str, new_key: str) -> None:
        """Leaves the store where it is: the run goes on naming it."""
        self.config.store = store_id(samples._root_dataset, key)
        self.update_run_config(samples, key, self.config)

    def cleanup(self, samples: fo.SampleCollection, key: str) -> None:
        """Deletes the vectors of a run that is deleted."""
        remove_index(samples._root_dataset, key)


class FaissSimilarityIndex(fbs.SimilarityIndex, fbs.DuplicatesMixin):
    """Answers FiftyOne's queries from a store, and changes it.

    What another process publishes is seen at the next call. Without a brain key the vectors are
    in a temporary folder, which goes when the index does.
    """

    _model: Any
    _neighbors_map: dict[str, list[tuple[str, float]]] | None
    _curr_sample_ids: Any
    _curr_label_ids: Any
    _curr_keep_inds: Any
    _curr_missing_size: int | None

    def __init__(
        self, samples: fo.SampleCollection, config: Any, brain_key: str | None, backend: Any = None
    ) -> None:
        self._store = RunStore(samples._root_dataset, config, brain_key)
        self._seen: Snapshot | None = None
        self._thinning: Thinning | None = None
        fbs.SimilarityIndex.__init__(self, samples, config, brain_key, backend=backend)
        fbs.DuplicatesMixin.__init__(self)

    @property
    def sample_ids(self) -> np.ndarray:
        """The sample of each vector, in order of the index."""
        return self._current.sample_ids

    @property
    def label_ids(self) -> np.ndarray | None:
        """The label of each vector; None in an index of samples."""
        return self._current.label_ids if self._is_of_patches else None

    @property
    def names(self) -> np.ndarray:
        """What tells the vectors apart in text, in order of the index: the label ids, in an index
        of samples the sample ids; of labels that were copied to other samples see
        :class:`alphaclip.indexing.Example`."""
        now = self._current
        return now.lookup.names(np.arange(len(now)))

    @property
    def total_index_size(self) -> int:
        """Number of vectors, whatever the view."""
        return len(self._current)

    def use_view(self, samples: fo.SampleCollection, *args: Any, **kwargs: Any) -> Any:
        """Restricts the index to a view; of one that is grouped by a field, to all its groups."""
        return super().use_view(flat(samples), *args, **kwargs)

    @checked()
    def add_to_index(
        self,
        embeddings: Any,
        sample_ids: Any,
        label_ids: Any = None,
        overwrite: bool = True,
        allow_existing: bool = True,
        warn_existing: bool = False,
        reload: bool = True,
    ) -> None:
        """Adds vectors; they are stored as float32, exactly as they are given.

        Vectors of no numbers, which a :class:`RegionModel` makes of the crops of patches, are those
        of the regions with their masks.

        Raises:
            ValueError: if the arguments do not fit each other or the index; nothing is added then
        """
        end_patches()
        made_by = None
        if label_ids is not None and is_without_numbers(embeddings):
            model = self.get_model()
            ids = RowIds.of(sample_ids, label_ids, self.config.patches_field)
            embeddings, sample_ids, label_ids = self._embed(model, ids)
            made_by = encoder_settings(model.encoder)
        vectors, ids = check_rows(embeddings, sample_ids, label_ids, self.config.patches_field)
        if not len(ids):
            return
        existing: Existing = "replace" if overwrite else "skip" if allow_existing else "refuse"
        skipped = self._store.add(self.key, vectors, ids, existing, made_by)
        if skipped and warn_existing:
            logger.warning("%d ids are in the index already: their vectors stay", skipped)
        if self._field is not None:
            now = self._current
            self._field.write(ids, now.vectors(now.lookup.find(ids)))
        if reload:
            self.reload()

    @checked()
    def remove_from_index(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
        reload: bool = True,
    ) -> None:
        """Removes the vectors of samples (in an index of patches, of all their labels) and labels.

        Raises:
            ValueError: if an id is not there and ``allow_missing`` is False, or an index of
                samples is asked for labels
        """
        arguments: dict[Kind, Any] = {"sample": sample_ids, "label": label_ids}
        with self._store.held(self.key) as now:
            rows = [
                rows_of(now, ids, kind, self._is_of_patches, allow_missing, warn_missing)
                for kind, ids in arguments.items()
                if ids is not None
            ]
            gone = np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))
            ids = now.version.ids.take(gone)
        if len(gone):
            self._store.remove(self.key, ids)
            if self._field is not None:
                self._field.clear(ids)
        if reload:
            self.reload()

    @checked()
    def get_embeddings(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The vectors of samples or labels, in the order asked for; all, if neither is given.

        Returns:
            float32 (n, dim), the sample ids and, in an index of patches, the label ids

        Raises:
            ValueError: if an id is not there and ``allow_missing`` is False, or an index of
                samples is asked for labels
        """
        kind: Kind = "sample" if label_ids is None else "label"
        if sample_ids is not None and label_ids is not None:
            logger.warning("sample ids are left out where label ids are given")
        ids = sample_ids if label_ids is None else label_ids
        with self._store.held(self.key) as now:
            rows = np.arange(len(now))
            if ids is not None:
                rows = rows_of(now, ids, kind, self._is_of_patches, allow_missing, warn_missing)
            return (now.vectors(rows), *ids_at(now, rows, self._is_of_patches))

    @checked(fraction=SHARE)
    def find_duplicates(self, thresh: float | None = None, fraction: float | None = None) -> None:
        """See :meth:`fiftyone.brain.similarity.DuplicatesMixin.find_duplicates`.

        Labels that were copied to other samples are told apart by :attr:`names`.

        Raises:
            ValueError: if neither a threshold nor a fraction is given
        """
        with self._store.held(self.key) as now:
            positions = np.arange(len(self._view_rows))
            if fraction is not None:
                count = round(min(max(0, 1 - fraction), 1) * len(positions))
                left, thresh = self._remove_duplicates_count(count, positions, thresh)
            elif thresh is not None:
                left = self._remove_duplicates_thresh(thresh, positions)
            else:
                raise BrainArgumentError("give a threshold (thresh) or a fraction")
            unique, duplicates = self._take_apart(left, thresh)
            if not len(unique) or not len(duplicates):
                self._neighbors_map = {}
                return
            found = brain_queries.compared(now, duplicates)
            query = brain_queries.Query(found, duplicates, False)
            apart, nearest = brain_queries.nearest(now, query, 1, unique, False)
            near: dict[str, list[tuple[str, float]]] = {}
            names = (now.lookup.names(some).tolist() for some in (nearest[:, 0], duplicates))
            for one, duplicate, distance in zip(*names, apart[:, 0].tolist(), strict=True):
                near.setdefault(one, []).append((duplicate, distance))
            self._neighbors_map = {
                one: sorted(some, key=lambda pair: pair[1]) for one, some in near.items()
            }

    @checked(count=COUNT)
    def find_unique(self, count: int) -> None:
        """See :meth:`fiftyone.brain.similarity.DuplicatesMixin.find_unique`."""
        with self._store.held(self.key):
            positions = np.arange(len(self._view_rows))
            self._take_apart(*self._remove_duplicates_count(count, positions))
            self._neighbors_map = None

    def _take_apart(self, left: Any, thresh: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Notes which are unique, by their positions in the view; returns the rows of these and of
        the duplicates."""
        rows = self._view_rows
        is_unique = np.zeros(len(rows), bool)
        is_unique[list(left)] = True
        unique, duplicates = rows[is_unique], rows[~is_unique]
        self._thresh = thresh
        self._unique_ids, self._duplicate_ids = (
            self._current.lookup.names(some).tolist() for some in (unique, duplicates)
        )
        return unique, duplicates

    def get_model(self) -> Any:
        """The model that queries are encoded with.

        Raises:
            ValueError: if the run names none, or it has other weights now
        """
        if self._model is None and is_of_regions(self._current):
            self._model = RegionModel(encoder_of(self._current.version.info))
        return super().get_model()

    def is_filled_by(self, model: Any) -> bool:
        """Whether a model is the one that vectors of this index are made with."""
        return self._model is model

    def compute_embeddings(
        self,
        samples: fo.SampleCollection,
        model: Any = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        skip_failures: bool = True,
        skip_existing: bool = False,
        warn_existing: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """See :meth:`fiftyone.brain.similarity.SimilarityIndex.compute_embeddings`; the patches of
        an encoder are regions with their masks, no crops, and what is asked of crops and of their
        loaders is left out."""
        model = self.get_model() if model is None else model
        if not self._is_of_patches or not isinstance(model, RegionModel):
            return super().compute_embeddings(
                samples, model, batch_size, num_workers, skip_failures, skip_existing,
                warn_existing, *args, **kwargs,
            )  # fmt: skip
        ids = label_ids(images_of(samples), self.config.patches_field)
        is_there = self._current.lookup.find(ids) >= 0
        if skip_existing and is_there.any():
            ids = ids.take(~is_there)
            if warn_existing:
                logger.warning("%d regions are in the index already", is_there.sum())
        settings = {"batch_size": batch_size, "skip_failures": skip_failures}
        return self._embed(model, ids, progress=kwargs.get("progress"), **settings)

    def cleanup(self) -> None:
        """Deletes the vectors; safe to repeat."""
        self._store.delete(self.key)

    def attributes(self) -> list[str]:
        """Only the class is stored with the run: the store has the rest."""
        return ["cls"]

    @checked(k=COUNT)
    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> Any:
        with self._store.held(self.key) as now:
            view = self._rows
            if query is None:
                if aggregation is not None:
                    raise BrainArgumentError("an aggregation needs a query: give ids or vectors")
                positions, apart = brain_queries.neighbours(now, k, view, reverse)
                return (positions, apart) if return_dists else positions
            parsed = brain_queries.parse_query(now, query)
            if aggregation is not None:
                distances, rows = brain_queries.nearest_to_all(
                    now, parsed, k, view, reverse, aggregation
                )
            else:
                distances, rows = brain_queries.nearest(now, parsed, k, view, reverse)
                if parsed.is_single:
                    distances, rows = distances[0], rows[0]
            return answer(now, distances, rows, self._is_of_patches, return_dists)

    @checked()
    def _radius_neighbors(
        self, query: Any = None, thresh: float | None = None, return_dists: bool = False
    ) -> Any:
        if thresh is None:
            raise BrainArgumentError("give a threshold (thresh)")
        with self._store.held(self.key) as now:
            view = self._rows
            if query is None:
                positions, apart = brain_queries.neighbours_within(now, thresh, view)
                return (positions, apart) if return_dists else positions
            parsed = brain_queries.parse_query(now, query)
            near, rows = brain_queries.within(now, parsed.prepared(now), thresh, view)
            if parsed.is_single:
                return answer(now, near[0], rows[0], self._is_of_patches, return_dists)
            return answer(now, near, rows, self._is_of_patches, return_dists)

    def _remove_duplicates_count(
        self, num_keep: int, ids: Any, init_thresh: float | None = None
    ) -> tuple[Any, float | None]:
        with self._store.held(self.key):
            self._thinning = self._new_thinning()
            try:
                return super()._remove_duplicates_count(num_keep, ids, init_thresh=init_thresh)
            finally:
                self._thinning = None

    def _remove_duplicates_thresh(self, thresh: float, ids: Any) -> list[str]:
        """The ids that are left; the method that it replaces keeps all distances in memory."""
        again = self._thinning is not None
        with self._store.held(self.key):
            thinning = self._thinning or self._new_thinning()
            return np.asarray(ids)[thinning.keep(thresh, again)].tolist()

    def _new_thinning(self) -> Thinning:
        return Thinning(self._current, self._view_rows)

    def _apply_view_if_necessary(self) -> None:
        with self._store.held(self.key) as current:
            if current is not self._seen:
                self._seen = current
                self._curr_sample_ids = self._curr_label_ids = None
                self._curr_keep_inds = self._curr_missing_size = None
            super()._apply_view_if_necessary()

    def _apply_view(self) -> None:
        super()._apply_view()
        if not self._is_of_patches or not self.has_view:
            return
        if self.view._is_frames:
            # FiftyOne names the video that a patch is of, and not the frame.
            frames = dict(zip(*self.view.values(["id", owner_of(self.view)]), strict=True))
            named = self._curr_label_ids if self.view._is_patches else self._curr_sample_ids
            self._curr_sample_ids = np.array([frames[name] for name in named], "U")
        # FiftyOne looks at the label ids alone, which copies of a label share.
        ids = RowIds.of(self._curr_sample_ids, self._curr_label_ids)
        rows = self._current.lookup.find(ids)
        there = rows >= 0
        self._curr_keep_inds = rows[there]
        self._curr_sample_ids = self._curr_sample_ids[there]
        self._curr_label_ids = self._curr_label_ids[there]
        missing = (self._curr_missing_size or 0) + int((~there).sum())
        self._curr_missing_size = missing or None

    def _embed(
        self, model: Any, ids: RowIds, **settings: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The vectors of some labels with their masks, and whose they are."""
        if not isinstance(model, RegionModel):
            raise BrainArgumentError("embeddings hold no numbers: give a vector for each id")
        field = self.config.patches_field
        vectors, there = embed_patches(self.samples, field, model.encoder, ids, **settings)
        ids = ids.take(there)
        return vectors[there], as_text(ids.sample_ids), as_text(ids.label_ids)

    @cached_property
    def _field(self) -> VectorField | None:
        """Where the dataset has the vectors, too."""
        name = self.config.embeddings_field
        if name is None:
            return None
        return VectorField(self.samples, name, self.config.patches_field)

    @property
    def _is_of_patches(self) -> bool:
        return self.config.patches_field is not None

    @property
    def _current(self) -> Snapshot:
        """The newest version."""
        return self._store.snapshot(self.key)

    @property
    def _rows(self) -> np.ndarray | None:
        """The rows of the view, in its order; None is all."""
        return self._current_inds if self.has_view else None

    @property
    def _view_rows(self) -> np.ndarray:
        """The rows of the view, in its order."""
        return np.arange(len(self._current)) if self._rows is None else self._rows

    @classmethod
    def _from_dict(
        cls, d: dict, samples: fo.SampleCollection, config: Any, brain_key: str
    ) -> FaissSimilarityIndex:
        return cls(samples, config, brain_key)


def register_backend() -> None:
    """Makes ``backend="faiss"`` known to FiftyOne's Brain in this process; safe to repeat."""
    import fiftyone.brain as fob

    fob.brain_config.similarity_backends["faiss"] = {"config_cls": CONFIG_CLASS}


def register_run(dataset: fo.Dataset, key: str, store: str, model: str, field: str) -> None:
    """Registers a built index as a Brain run of its dataset; writes nothing if it is one.

    All threads of a process share a dataset. Where one of them, such as an event in the App, loads
    it anew at the wrong moment, FiftyOne forgets the run in this process, or fails; the run is then
    registered once more.

    Args:
        dataset, key, field: of the index
        store: its id, see :mod:`alphaclip.indexing.dataset.locations`
        model: name of a zoo model that encodes text for it
    """
    install_zoo_source(model)
    # The Brain's runs are of what FiftyOne makes patches of: for frames, of its views of frames
    config = FaissSimilarityConfig(
        store=store, model=model, patches_field=own_name(field), supports_prompts=True
    )
    if _is_registered(dataset, key, config):
        return
    for attempt in range(_TRIES):
        try:
            _save_run(dataset, key, config)
        except (ReferenceError, ValueError):
            if attempt == _TRIES - 1:
                raise
        if _is_registered(dataset, key, config):
            return
        dataset.reload()


def _is_registered(dataset: fo.Dataset, key: str, config: FaissSimilarityConfig) -> bool:
    if not has_run(dataset, key):
        return False
    same = dataset.get_brain_info(key).config.serialize() == config.serialize()
    return same and dataset.load_brain_results(key) is not None


def _save_run(dataset: fo.Dataset, key: str, config: FaissSimilarityConfig) -> None:
    method = config.build()
    method.register_run(dataset, key, overwrite=True, cleanup=False)
    method.save_run_results(dataset, key, method.initialize(dataset, key))
