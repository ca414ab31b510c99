"""The index as a FiftyOne Brain run, so that FiftyOne's own search finds regions with it.

FiftyOne stores the names of these classes in its database: they stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fiftyone.brain.similarity as fbs
import numpy as np
from alphaclip.indexing.places import remove_index
from alphaclip.indexing.region_index import RegionIndex, load
from alphaclip.indexing.zoo_model import RegionModel

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo


class FaissSimilarityConfig(fbs.SimilarityConfig):
    """Names the model and the field; the vectors are in the store of the run's key."""

    @property
    def method(self) -> str:
        """Name of the backend."""
        return "faiss"

    @property
    def max_k(self) -> int | None:
        """No bound."""
        return None

    @property
    def supports_least_similarity(self) -> bool:
        """Whether the least similar may come first."""
        return True

    @property
    def supported_aggregations(self) -> tuple[str, ...]:
        """How several queries make one."""
        return ("mean",)


class FaissSimilarity(fbs.Similarity):
    """Makes the index of a run."""

    def initialize(self, samples: fo.SampleCollection, brain_key: str) -> FaissSimilarityIndex:
        """Opens the index that :func:`alphaclip.indexing.build` made under this key."""
        return FaissSimilarityIndex(samples, self.config, brain_key, backend=self)

    def cleanup(self, samples: fo.SampleCollection, key: str) -> None:
        """Deletes the vectors of a run that is deleted."""
        remove_index(samples._dataset, key)


class FaissSimilarityIndex(fbs.SimilarityIndex):
    """Answers FiftyOne's queries from a :class:`RegionIndex`."""

    _model: RegionModel | None

    def __init__(
        self, samples: fo.SampleCollection, config: Any, brain_key: str, backend: Any = None
    ) -> None:
        self._regions: RegionIndex = load(samples._dataset, brain_key)
        super().__init__(samples, config, brain_key, backend=backend)

    @property
    def sample_ids(self) -> np.ndarray:
        """The sample of each row."""
        return np.array(self._regions.ids.sample_ids)

    @property
    def label_ids(self) -> np.ndarray:
        """The label of each row."""
        return np.array(self._regions.ids.label_ids)

    @property
    def total_index_size(self) -> int:
        """Number of regions, whatever the view."""
        return len(self._regions)

    def get_model(self) -> RegionModel:
        """The encoder that the index was built with, whether or not the zoo knows its name.

        Raises:
            AlphaClipError: if the model of that name has other weights now
        """
        if self._model is None:
            self._model = RegionModel(self._regions.encoder)
        return self._model

    def cleanup(self) -> None:
        """Deletes the vectors; safe to repeat."""
        remove_index(self._regions.dataset, self._regions.key)

    def attributes(self) -> list[str]:
        """Only the class is stored with the run: the store has the rest."""
        return ["cls"]

    def add_to_index(self, *args: Any, **kwargs: Any) -> None:
        """Refused: regions are added by building the index again."""
        raise AlphaClipError(_READ_ONLY)

    def remove_from_index(self, *args: Any, **kwargs: Any) -> None:
        """Refused: regions are removed by building the index again."""
        raise AlphaClipError(_READ_ONLY)

    def get_embeddings(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The vectors of samples or labels; all, if neither is given.

        Returns:
            float32 (n, dim), the sample ids and the label ids of the rows

        Raises:
            ValueError: if an id is not in the index and ``allow_missing`` is False
        """
        own, column = label_ids, self.label_ids
        if own is None and sample_ids is not None:
            own, column = sample_ids, self.sample_ids
        wanted = None if own is None else {own} if isinstance(own, str) else set(own)
        rows = np.arange(len(column))
        if wanted is not None:
            rows = np.flatnonzero([value in wanted for value in column])
            missing = wanted - set(column[rows])
            if missing and not allow_missing:
                raise ValueError(f"{len(missing)} ids are not in the index, as {min(missing)}")
        return self._regions.vectors(rows), self.sample_ids[rows], self.label_ids[rows]

    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> tuple:
        if query is None:
            raise ValueError("full index queries are not supported: give ids, vectors or text")
        vectors, single = self._query_vectors(query)
        if aggregation is not None:
            vectors, single = vectors.mean(axis=0, keepdims=True), True
        found = [self._nearest(vector, k, reverse) for vector in vectors]
        columns = list(zip(*found, strict=True))[: 3 if return_dists else 2]
        return tuple(column[0] if single else list(column) for column in columns)

    def _query_vectors(self, query: Any) -> tuple[np.ndarray, bool]:
        if isinstance(query, np.ndarray) and np.issubdtype(query.dtype, np.number):
            return np.atleast_2d(query).astype(np.float32), query.ndim == 1 or len(query) == 1
        ids = [query] if isinstance(query, str) else list(query)
        vectors = self.get_embeddings(label_ids=ids)[0]
        if not len(vectors):
            vectors = self.get_embeddings(sample_ids=ids)[0]
        if not len(vectors):
            raise ValueError(f"none of the ids is in the index, as {ids[0]}")
        return vectors, len(ids) == 1

    def _nearest(
        self, vector: np.ndarray, k: int | None, reverse: bool
    ) -> tuple[list[str], list[str], list[float]]:
        view = self.view if self.has_view else None
        count = k or len(self._regions)
        hits = self._regions.search(-vector if reverse else vector, count, view)
        scores = -hits.scores if reverse else hits.scores
        return hits.sample_ids.tolist(), hits.label_ids.tolist(), (1 - scores).tolist()

    @classmethod
    def _from_dict(
        cls, d: dict, samples: fo.SampleCollection, config: Any, brain_key: str
    ) -> FaissSimilarityIndex:
        return cls(samples, config, brain_key)


_READ_ONLY = (
    "this index is read-only here: alphaclip.indexing.build(..., overwrite=True) makes it again"
)


def register(index: RegionIndex, model: str) -> None:
    """Registers an index as a Brain run of its dataset, under its own key.

    Args:
        index: just built
        model: name of a zoo model that encodes text for it
    """
    from alphaclip.indexing.zoo_source import install_zoo_source

    install_zoo_source(model)
    config = FaissSimilarityConfig(model=model, patches_field=index.field, supports_prompts=True)
    method = config.build()
    method.register_run(index.dataset, index.key, overwrite=True, cleanup=False)
    results = method.initialize(index.dataset, index.key)
    method.save_run_results(index.dataset, index.key, results)
