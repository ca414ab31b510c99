"""An index of a dataset's regions: search by text, by example or by vector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from alphaclip.indexing.faiss_index import build_index, search_index
from alphaclip.indexing.hits import Hits
from alphaclip.indexing.labels import check_field, images_of
from alphaclip.indexing.places import check_key, index_folder, index_keys, remove_index
from alphaclip.indexing.store import MANIFEST, RegionIds, StoredRegions, read_store

from alphaclip.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.regions import Region
from alphaclip.views import View

if TYPE_CHECKING:
    import faiss
    import fiftyone as fo

Aggregate = Literal["max", "mean"]


def load(dataset: fo.Dataset, key: str = "regions") -> RegionIndex:
    """Opens an index; nothing is read before it is needed.

    Raises:
        AlphaClipError: if the dataset has no index of this name; says which it has
    """
    if not (index_folder(dataset, key) / MANIFEST).exists():
        known = ", ".join(index_keys(dataset)) or "none"
        raise AlphaClipError(f"dataset {dataset.name!r} has no index {key!r}; it has: {known}")
    return RegionIndex(dataset, key)


class RegionIndex:
    """The regions of one field of a dataset; made by :func:`build` and :func:`load`.

    Args:
        dataset: whose regions
        key: of the index
        encoder (None): the one it was built with; None loads it by name when text or an example
            is first searched
    """

    def __init__(self, dataset: fo.Dataset, key: str, encoder: Encoder | None = None) -> None:
        self.dataset = dataset
        self.key = key
        self._folder = index_folder(dataset, key)
        self._given = encoder

    def __len__(self) -> int:
        return len(self._stored.ids)

    @property
    def ids(self) -> RegionIds:
        """The sample, label and field of each row."""
        return self._stored.ids

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 (n, dim), of unit length."""
        return np.asarray(self._stored.vectors[rows], np.float32)

    @property
    def field(self) -> str:
        """The field that holds the regions."""
        return str(self._stored.info["field"])

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that the index was built with.

        Raises:
            AlphaClipError: if the model of that name has other weights, or another view, now
        """
        info = self._stored.info
        encoder = self._given or _shared_encoder(info["encoder"], View(**info["view"]))
        if encoder.fingerprint != info["fingerprint"]:
            raise AlphaClipError(
                f"index {self.key!r} was built with {info['encoder']} "
                f"({info['fingerprint'][:8]}), {encoder.name} is now {encoder.fingerprint[:8]}: "
                "its vectors cannot be compared; build the index again with overwrite=True"
            )
        return encoder

    def info(self) -> dict[str, Any]:
        """What the index holds: count, dimension, field, encoder, fingerprint, view, report."""
        stored = self._stored
        shape = {"count": len(stored.ids), "dim": int(stored.vectors.shape[1])}
        return {"key": self.key, **shape, "version": stored.version, **stored.info}

    def search(
        self,
        query: str | Sequence[str] | np.ndarray | tuple[Any, Region],
        k: int = 50,
        view: fo.SampleCollection | None = None,
        aggregate: Aggregate = "max",
    ) -> Hits:
        """Finds the regions that match a query best.

        Args:
            query: text; several texts, which are ONE query; a vector (dim,) or several (m, dim);
                or an example ``(image, region)``
            k: regions to find
            view (None): a view of the dataset; only its regions are found, or, where it shows
                something else than the index's field, the regions of its pictures
            aggregate: how several texts or vectors make one score: the largest cosine, or the
                mean

        Raises:
            AlphaClipError: if the query is empty, k is below 1, a vector does not fit, or the
                view is one of another dataset
        """
        _check_k(k)
        if aggregate not in ("max", "mean"):
            raise AlphaClipError(f"aggregate is {aggregate!r}: expected 'max' or 'mean'")
        vectors = self._encode(query)
        if aggregate == "mean":
            vectors = vectors.mean(axis=0, keepdims=True)
        rows = None if view is None else self._rows_in(view)
        scores, found = search_index(self._index, vectors, k, rows)
        return self._hits(*_largest(scores, found, k))

    def search_many(self, queries: Sequence[str], k: int = 50) -> list[Hits]:
        """Answers independent text queries; one :class:`Hits` for each."""
        _check_k(k)
        scores, found = search_index(self._index, self.encoder.encode_text(queries), k)
        return [self._hits(s, f) for s, f in zip(scores, found, strict=True)]

    def delete(self) -> None:
        """Removes the index and its Brain run; the dataset's labels stay as they are.

        Raises:
            KeyNameError: if the Brain run of this name is not the index's
        """
        check_key(self.dataset, self.key)
        if self.dataset.has_brain_run(self.key):
            self.dataset.delete_brain_run(self.key)
        remove_index(self.dataset, self.key)

    @cached_property
    def _stored(self) -> StoredRegions:
        return read_store(self._folder)

    @cached_property
    def _index(self) -> faiss.Index:
        return build_index(self._stored.vectors)

    def _encode(self, query: Any) -> np.ndarray:
        if isinstance(query, np.ndarray):
            vectors = np.atleast_2d(query).astype(np.float32)
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            if not np.isfinite(vectors).all() or not norms.all():
                raise AlphaClipError("query vector is zero or not finite: it has no direction")
            return vectors / norms
        if isinstance(query, str):
            return self.encoder.encode_text([query])
        if isinstance(query, tuple) and len(query) == 2 and isinstance(query[1], Region):
            return self.encoder.encode_regions(query[0], [query[1]])
        if isinstance(query, Sequence) and all(isinstance(text, str) for text in query):
            return self.encoder.encode_text(query)
        raise AlphaClipError(
            f"query is a {type(query).__name__}: expected text, a list of texts, a vector, or "
            "(image, Region)"
        )

    def _rows_in(self, view: fo.SampleCollection) -> np.ndarray:
        if view._root_dataset.name != self.dataset.name:
            raise AlphaClipError(
                f"view is of dataset {view._root_dataset.name!r}, the index of "
                f"{self.dataset.name!r}: pass a view of that dataset"
            )
        check_field(self.dataset, self.field)
        view = images_of(view)
        if self.field not in view.get_field_schema():
            samples = view.distinct("sample_id") if view._is_generated else view.values("id")
            view = images_of(self.dataset).select(samples)
        _, path = view._get_label_field_path(self.field, "id")
        inside = set(view.values(path, unwind=True))
        labels = self._stored.ids.label_ids
        return np.flatnonzero([label in inside for label in labels]).astype(np.int64)

    def _hits(self, scores: np.ndarray, rows: np.ndarray) -> Hits:
        ids = self._stored.ids
        columns = (
            np.array([column[row] for row in rows], dtype=object)
            for column in (ids.sample_ids, ids.label_ids, ids.fields)
        )
        return Hits(*columns, scores, scores, self.dataset)


@lru_cache(maxsize=2)
def _shared_encoder(name: str, view: View) -> Encoder:
    """An encoder that all indexes built with it share in this process."""
    from alphaclip.loading import load as load_encoder

    return load_encoder(name, view=view)


def _check_k(k: int) -> None:
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise AlphaClipError(f"k is {k!r}: expected a whole number of at least 1")


def _largest(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One ranking of several: each row with its largest score."""
    order = np.argsort(-scores, axis=None, kind="stable")
    _, first = np.unique(rows.ravel()[order], return_index=True)
    kept = order[np.sort(first)[:k]]
    return scores.ravel()[kept], rows.ravel()[kept]
