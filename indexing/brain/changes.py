"""Vectors are added to the store of a Brain run, and removed from it: one version a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alphaclip.indexing.brain.arguments import BrainArgumentError
from alphaclip.indexing.brain.vectors import Vectors, open_vectors
from alphaclip.indexing.dataset.locations import EXTERNAL
from alphaclip.indexing.store.files import writer_lock
from alphaclip.indexing.store.segments import RowIds, Segment, as_text
from alphaclip.indexing.store.store import StoreWriter
from alphaclip.indexing.store.table import BLOCK

Existing = Literal["replace", "skip", "refuse"]


def external_info(metric: str, patches_field: str | None) -> dict[str, Any]:
    """What a store says of vectors that were given to FiftyOne's Brain."""
    return {"kind": EXTERNAL, "metric": metric, "field": patches_field or ""}


def check_addable(held: Vectors, vectors: np.ndarray) -> None:
    """Looks whether embeddings fit what is there.

    Raises:
        BrainArgumentError: if the store is not of this kind, or the dimension is another
    """
    if held.is_of_regions:
        raise BrainArgumentError(
            "this index holds regions that alphaclip has embedded: index.update() adds what is new"
        )
    if len(held) and held.version.dim != vectors.shape[1]:
        raise BrainArgumentError(
            f"embeddings have shape {vectors.shape}, the index holds vectors of "
            f"{held.version.dim} numbers"
        )


def add_rows(
    folder: Path,
    vectors: np.ndarray,
    ids: RowIds,
    info: dict[str, Any],
    existing: Existing = "replace",
    known: Vectors | None = None,
) -> int:
    """Publishes a version with more vectors.

    Args:
        folder: of the store, made if need be
        vectors: (n, dim) numbers, stored as float32
        ids: of the n, each once
        info: of a store that is made now
        existing: what to do with ids that are in the index already
        known (None): what is known of the store

    Returns:
        how many were skipped

    Raises:
        BrainArgumentError: if the store is not of this kind, the dimension is another, or ids
            are there that must not be
        StoreError: if a vector is not finite, the store is being written, or the disk is full
    """
    with _writing(folder, known) as (writer, held):
        check_addable(held, vectors)
        places, found = held.find(as_text(ids.keys))
        if existing == "refuse" and found.any():
            first = ids.keys[found][0].decode()
            raise BrainArgumentError(f"{found.sum()} ids are in the index already, as {first}")
        if existing == "skip" and found.any():
            vectors, ids, places = vectors[~found], ids.take(~found), places[:0]
        if len(ids):
            piece = writer.add(_float32(vectors), ids, vectors.shape[1], np.float32)
            before = _without(held, places) if len(held) else []
            settings = held.version.info or info
            writer.publish([*before, piece], vectors.shape[1], np.dtype(np.float32), settings)
    return int(found.sum()) if existing == "skip" else 0


def remove_rows(folder: Path, keys: np.ndarray, known: Vectors | None = None) -> None:
    """Publishes a version without some vectors.

    Args:
        folder: of the store
        keys: label ids, or in an index of samples sample ids; unknown ones are left out
        known (None): what is known of the store

    Raises:
        StoreError: if the store is being written, or the disk is full
    """
    with _writing(folder, known) as (writer, held):
        places, _ = held.find(keys)
        if len(places):
            version = held.version
            writer.publish(_without(held, places), version.dim, version.dtype, version.info)


@contextmanager
def _writing(folder: Path, known: Vectors | None) -> Iterator[tuple[StoreWriter, Vectors]]:
    """As :func:`alphaclip.indexing.store.store.writing`, but what is known is not checked again."""
    with writer_lock(folder):
        held = open_vectors(folder, "cosine", known)
        yield StoreWriter(folder, held.version if held.version.number else None), held


def _without(held: Vectors, places: np.ndarray) -> list[Segment]:
    segments = held.version.segments
    kept = np.ones(sum(map(len, segments)), bool)
    kept[held.table.rows[places]] = False
    parts = np.split(kept, np.cumsum([len(segment) for segment in segments])[:-1])
    return [segment.keeping(part) for segment, part in zip(segments, parts, strict=True)]


def _float32(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), BLOCK):
        with np.errstate(over="ignore"):
            yield np.asarray(vectors[start : start + BLOCK], np.float32)
