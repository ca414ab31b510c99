"""The store of a Brain run: looked up again at each call, read, and changed one version a call."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import listed
from alphaclip.files import writer_lock
from alphaclip.indexing.brain.centering import CenteredSnapshot
from alphaclip.indexing.brain.queries import BrainArgumentError, as_ids
from alphaclip.indexing.dataset.locations import (
    EXTERNAL,
    REGIONS,
    named_store,
    own_folder,
    owns,
    remove_index,
    store_folder,
    store_id,
)
from alphaclip.indexing.retrieval.snapshot import Snapshot, open_snapshot
from alphaclip.indexing.store.manifests import has_store
from alphaclip.indexing.store.segments import RowIds, Segment, as_text
from alphaclip.indexing.store.store import StoreVersion, StoreWriter
from alphaclip.indexing.store.table import BLOCK

if TYPE_CHECKING:
    import fiftyone as fo

Existing = Literal["replace", "skip", "refuse"]


class RunStore:
    """The store of one run, or, for an index without a key, a temporary folder."""

    def __init__(self, dataset: fo.Dataset, config: Any, key: str | None) -> None:
        """Nothing is read yet. Without a key, the folder goes when this object does."""
        self._dataset, self._config = dataset, config
        self._kind = CenteredSnapshot if config.centered else Snapshot
        self._newest: Snapshot | None = None
        self._holds, self._lock = 0, RLock()
        self._temporary: Path | None = None
        if key is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="alphaclip-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)

    def snapshot(self, key: str | None) -> Snapshot:
        """The current version; the same as before while it is held.

        Raises:
            StoreError: if the store is damaged, or its format is newer
        """
        with self._lock:
            if self._newest is None or not self._holds:
                self._newest = self._opened(self._folder(key))
            return self._newest

    @contextmanager
    def held(self, key: str | None) -> Iterator[Snapshot]:
        """Lets one version answer all that is asked inside; other threads wait."""
        with self._lock:
            now = self.snapshot(key)
            self._holds += 1
            try:
                yield now
            finally:
                self._holds -= 1

    def add(
        self,
        key: str | None,
        vectors: np.ndarray,
        ids: RowIds,
        existing: Existing = "replace",
        made_by: Mapping[str, Any] | None = None,
    ) -> int:
        """Publishes a version with more vectors, (n, dim) numbers.

        Args:
            made_by (None): what is kept of the encoder of the first ones

        Returns:
            how many were skipped, of those that are in the index already

        Raises:
            BrainArgumentError: if the store is not of this kind, the dimension is another, or ids
                are there that must not be
            StoreError: if a vector is not finite, the store is being written, or the disk is full
        """
        # Before a clone gets its own copy, and again where nobody else can write.
        _check_addable(self.snapshot(key), vectors)
        with self._writing(key) as (writer, now):
            _check_addable(now, vectors)
            rows = now.lookup.find(ids)
            is_there = rows >= 0
            if existing == "refuse" and is_there.any():
                first = ids.keys[is_there][0].decode()
                raise BrainArgumentError(
                    f"{is_there.sum()} ids are in the index already, as {first}"
                )
            replaced = rows[is_there]
            if existing == "skip" and is_there.any():
                vectors, ids, replaced = vectors[~is_there], ids.take(~is_there), replaced[:0]
            if len(ids):
                segment = writer.add(_float32(vectors), ids, vectors.shape[1], np.float32)
                before = _without(now, replaced) if len(now) else []
                field = self._config.patches_field or ""
                info = {"kind": EXTERNAL, "metric": self._config.metric, "field": field}
                dtype = np.dtype(np.float32)
                said = now.version.info or {**info, **self._settings(made_by)}
                writer.publish([*before, segment], vectors.shape[1], dtype, said)
        return int(is_there.sum()) if existing == "skip" else 0

    def remove(self, key: str | None, ids: RowIds) -> None:
        """Publishes a version without some vectors; those that are not there are left out.

        Raises:
            StoreError: if the store is being written, or the disk is full
        """
        with self._writing(key) as (writer, now):
            rows = now.lookup.find(ids)
            if (rows >= 0).any():
                version = now.version
                segments = _without(now, rows[rows >= 0])
                writer.publish(segments, version.dim, version.dtype, version.info)

    def delete(self, key: str | None) -> None:
        """Deletes the vectors, where nobody else uses them; safe to repeat."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        elif key is not None:
            remove_index(self._dataset, key)

    @contextmanager
    def _writing(self, key: str | None) -> Iterator[tuple[StoreWriter, Snapshot]]:
        """As :func:`alphaclip.indexing.store.store.writing`, but what was read is not read again.

        A clone of a dataset gets its own copy now.
        """
        folder = self._temporary
        if folder is None:
            if key is None or named_store(self._dataset, key) is None:
                raise BrainArgumentError("the Brain run of this index was deleted: make it again")
            folder = own_folder(self._dataset, key)
            self._config.store = store_id(self._dataset, key)
        with writer_lock(folder):
            now = self._opened(folder)
            yield StoreWriter(folder, now.version if now.version.number else None), now

    def _settings(self, made_by: Mapping[str, Any] | None) -> dict[str, Any]:
        """What makes the store one that is searched and brought up to date as if it was built; not
        where vectors are compared in another way."""
        if made_by is None or self._config.centered or self._config.metric != "cosine":
            return {}
        return {**made_by, "identify": "stat", "stages": []}

    def _opened(self, folder: Path) -> Snapshot:
        before = self._newest
        if has_store(folder):
            return open_snapshot(folder, before, self._config.metric, kind=self._kind)
        if before is not None and (before.version.folder, before.version.number) == (folder, 0):
            return before
        empty = StoreVersion(folder, 0, 0, np.dtype(np.float32), {}, ())
        return self._kind(empty, self._config.metric)

    def _folder(self, key: str | None) -> Path:
        if self._temporary is not None:
            return self._temporary
        store = self._config.store
        if key is not None and (store is None or not owns(self._dataset, store)):
            # Whoever writes to a clone first gives its run another store.
            store = named_store(self._dataset, key) or store or store_id(self._dataset, key)
            self._config.store = store
        return store_folder(store)


def is_of_regions(now: Snapshot) -> bool:
    """Whether the store belongs to :func:`alphaclip.indexing.build`."""
    return bool(now.version.info.get("kind") == REGIONS)


def check_rows(
    embeddings: Any, sample_ids: Any, label_ids: Any, patches_field: str | None
) -> tuple[np.ndarray, RowIds]:
    """Embeddings to be added, (n, dim) numbers as they were given, and whose they are.

    Raises:
        BrainArgumentError: if the shapes do not fit each other, or an id is missing or is there
            twice
    """
    vectors = np.asarray(embeddings)
    samples = _checked_ids(sample_ids, "sample")
    if not len(samples) and not vectors.size:
        return vectors.reshape(0, 0), RowIds.of(samples)
    if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.number):
        raise BrainArgumentError(
            f"embeddings have shape {vectors.shape} and type {vectors.dtype}: expected (n, dim) "
            "numbers"
        )
    if (label_ids is None) != (patches_field is None):
        expected = "none" if patches_field is None else f"one for each of {patches_field!r}"
        raise BrainArgumentError(
            f"label_ids are {'missing' if label_ids is None else 'given'}, expected {expected}"
        )
    labels = None if label_ids is None else _checked_ids(label_ids, "label")
    for name, ids in (("sample", samples), ("label", labels)):
        if ids is not None and len(ids) != len(vectors):
            raise BrainArgumentError(
                f"embeddings have shape {vectors.shape}, but there are {len(ids)} {name} ids"
            )
    rows = RowIds.of(samples, labels, patches_field or "")
    twice = as_text(rows.keys[rows.repeated])
    if len(twice):
        raise BrainArgumentError(f"id {twice[0]} is given twice: each has one vector")
    return vectors, rows


def _checked_ids(ids: Any, kind: str) -> np.ndarray:
    several = listed(ids)
    values = [ids] if several is None else several
    for value in values:
        if value is None or not str(value):
            raise BrainArgumentError(f"a {kind} id is {value!r}: expected text")
    return as_ids(values)


def _check_addable(now: Snapshot, vectors: np.ndarray) -> None:
    if is_of_regions(now):
        raise BrainArgumentError(
            "this index holds regions that alphaclip has embedded: index.update() adds what is new"
        )
    if len(now) and now.version.dim != vectors.shape[1]:
        raise BrainArgumentError(
            f"embeddings have shape {vectors.shape}, the index holds vectors of "
            f"{now.version.dim} numbers"
        )


def _without(now: Snapshot, rows: np.ndarray) -> list[Segment]:
    segments = now.version.segments
    stays = np.ones(sum(map(len, segments)), bool)
    stays[now.version.table.slots[rows]] = False
    parts = np.split(stays, np.cumsum([len(segment) for segment in segments])[:-1])
    return [segment.keeping(part) for segment, part in zip(segments, parts, strict=True)]


def _float32(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), BLOCK):
        with np.errstate(over="ignore"):
            yield np.asarray(vectors[start : start + BLOCK], np.float32)
