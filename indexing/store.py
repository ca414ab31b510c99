"""Region vectors at rest: immutable data files, and one manifest that names them with hashes.

A store is a folder::

    manifest.json            the current version: what it holds, and the sha256 of each file
    v000001/vectors.npy      float16 (n, dim), rows of unit length
    v000001/ids.parquet      n rows: sample_id, label_id, field

A new version is written beside the old one, flushed to the disk, and published by replacing the
manifest. What is not named by the manifest does not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.fingerprint import file_sha256

FORMAT = 1
MANIFEST = "manifest.json"


class StoreError(AlphaClipError):
    """A store is missing, damaged, or of a newer format."""


@dataclass(frozen=True)
class RegionIds:
    """Which region a row belongs to; three lists of equal length."""

    sample_ids: list[str] = field(default_factory=list)
    label_ids: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.label_ids)


@dataclass(frozen=True)
class StoredRegions:
    """One version of a store.

    Attributes:
        vectors: float16 (n, dim), mapped from the file
        ids: of the rows
        info: what the writer said of them: encoder, fingerprint, view, report
        version: of the store
    """

    vectors: np.ndarray
    ids: RegionIds
    info: dict[str, Any]
    version: int


def write_store(
    folder: Path, vectors: np.ndarray, ids: RegionIds, info: Mapping[str, Any]
) -> StoredRegions:
    """Publishes a new version.

    Args:
        folder: of the store; made if need be
        vectors: (n, dim), finite and of unit length
        ids: of the rows, each label once
        info: kept in the manifest, JSON

    Raises:
        StoreError: if vectors and ids do not fit each other, or a vector is not usable
    """
    _check(vectors, ids)
    version = 1 + (read_manifest(folder)["version"] if (folder / MANIFEST).exists() else 0)
    place = folder / f"v{version:06d}"
    place.mkdir(parents=True, exist_ok=True)
    _write_vectors(place / "vectors.npy", vectors)
    _write_ids(place / "ids.parquet", ids)
    names = ("vectors.npy", "ids.parquet")
    manifest = {
        "format": FORMAT,
        "version": version,
        "count": len(ids),
        "dim": int(vectors.shape[1]),
        "files": {f"{place.name}/{n}": file_sha256(place / n) for n in names},
        "info": dict(info),
    }
    _publish(folder / MANIFEST, json.dumps(manifest, indent=1))
    return read_store(folder)


def read_store(folder: Path) -> StoredRegions:
    """Opens the current version, every byte checked.

    Raises:
        StoreError: if a file is missing or damaged, or the format is newer; says which
    """
    manifest = read_manifest(folder)
    paths = {Path(name).name: folder / name for name in manifest["files"]}
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.exists() or file_sha256(path) != digest:
            state = "damaged" if path.exists() else "missing"
            raise StoreError(f"{path} is {state}: build the index again with overwrite=True")
    vectors = np.load(paths["vectors.npy"], mmap_mode="r", allow_pickle=False)
    ids = _read_ids(paths["ids.parquet"])
    return StoredRegions(vectors, ids, manifest["info"], manifest["version"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, without looking at the data.

    Raises:
        StoreError: if there is none, it is damaged, or its format is newer
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        newer = manifest["format"] > FORMAT
    except FileNotFoundError as error:
        raise StoreError(f"{folder} holds no index: build one first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: build the index again with overwrite=True") from error
    if newer:
        raise StoreError(
            f"{path} has format {manifest['format']}, this version reads {FORMAT}: "
            "upgrade alphaclip-fiftyone"
        )
    return dict(manifest)


def _check(vectors: np.ndarray, ids: RegionIds) -> None:
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise StoreError(f"vectors have shape {vectors.shape}, but there are {len(ids)} ids")
    if len(set(ids.label_ids)) != len(ids):
        raise StoreError("a label id occurs twice: a region has one vector")
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) < 0.01))
    if len(wrong):
        raise StoreError(
            f"vector {wrong[0]} (label {ids.label_ids[wrong[0]]}) has length {norms[wrong[0]]}: "
            "expected finite vectors of length 1"
        )


def _write_vectors(path: Path, vectors: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.save(stream, vectors.astype(np.float16), allow_pickle=False)
        _flush(stream.fileno())


def _write_ids(path: Path, ids: RegionIds) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"sample_id": ids.sample_ids, "label_id": ids.label_ids, "field": ids.fields}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    with path.open("wb") as stream:
        pq.write_table(table, stream)
        _flush(stream.fileno())


def _read_ids(path: Path) -> RegionIds:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return RegionIds(*(table[name].to_pylist() for name in ("sample_id", "label_id", "field")))


def _publish(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        _flush(stream.fileno())
    partial.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        _flush(folder)
        os.close(folder)


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)
