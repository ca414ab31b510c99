"""Segments of a store, immutable: vectors in one file, whose they are in another.

A vector file is NumPy's ``.npy`` of float16 or float32 (n, dim). Beside it a Parquet file has n
rows of four columns: ``sample_id``, ``label_id`` (empty in an index of samples), ``field``, and
``fingerprint`` (of picture, region and encoder; empty for vectors from elsewhere). Which of the
rows a version has dropped is a third file, a bit for each row. All are named by their content, so
that what two versions share is there once, and a file that has its name is known to be whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alphaclip.files import (
    DamagedError,
    HashingWriter,
    Stamp,
    StoreError,
    file_stamp,
    is_whole,
    refuse_link,
    unreadable,
    write_atomically,
    write_by_hash,
)
from alphaclip.indexing.store.entries import malformed
from alphaclip.indexing.store.text_table import as_fixed, read_texts

COLUMNS = ("sample_id", "label_id", "field", "fingerprint")


@dataclass(frozen=True, eq=False)
class RowIds:
    """Whose the rows are: four arrays of bytes, equally long.

    Attributes:
        sample_ids: of the pictures
        label_ids: of the regions; empty in an index of samples
        fields: that hold the regions
        fingerprints: what each vector was made of; empty for vectors from elsewhere
    """

    sample_ids: np.ndarray
    label_ids: np.ndarray
    fields: np.ndarray
    fingerprints: np.ndarray

    def __post_init__(self) -> None:
        lengths = {column.name: len(getattr(self, column.name)) for column in fields(self)}
        if len(set(lengths.values())) > 1:
            raise StoreError(f"the rows have columns of different lengths: {lengths}")

    @classmethod
    def of(
        cls,
        sample_ids: Sequence[str] | np.ndarray,
        label_ids: Sequence[str] | np.ndarray | None = None,
        field: str = "",
        fingerprints: Sequence[str] | np.ndarray | None = None,
    ) -> RowIds:
        """Rows of one field."""
        count = len(sample_ids)
        empty = np.full(count, b"", "S1")
        return cls(
            as_bytes(sample_ids),
            empty if label_ids is None else as_bytes(label_ids),
            np.full(count, field.encode(), f"S{max(1, len(field.encode()))}"),
            empty if fingerprints is None else as_bytes(fingerprints),
        )

    @classmethod
    def joined(cls, parts: Sequence[RowIds]) -> RowIds:
        """All rows of several, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            *(
                np.concatenate([getattr(part, column.name) for part in parts] or [_NOTHING])
                for column in fields(cls)
            )
        )

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def keys(self) -> np.ndarray:
        """The label ids, in an index of samples the sample ids. A key alone does not tell rows
        apart: labels that were copied to another sample keep their ids."""
        has_labels = len(self) and self.label_ids[0]
        return self.label_ids if has_labels else self.sample_ids

    @property
    def order(self) -> np.ndarray:
        """The rows by key, those of one key by sample: int64 (n,)."""
        order = np.argsort(self.keys, kind="stable")
        keys = self.keys[order]
        # Labels are rarely copied, and to sort by both takes twice as long.
        is_repeated = len(keys) > 1 and bool((keys[1:] == keys[:-1]).any())
        return np.lexsort((self.sample_ids, self.keys)) if is_repeated else order

    @property
    def repeated(self) -> np.ndarray:
        """The rows whose sample and label an earlier row has: int64 (n,)."""
        order = self.order
        keys, samples = self.keys[order], self.sample_ids[order]
        return order[1:][(keys[1:] == keys[:-1]) & (samples[1:] == samples[:-1])]

    def take(self, rows: np.ndarray) -> RowIds:
        """Those of some rows, by number or by a mask."""
        return RowIds(*(getattr(self, column.name)[rows] for column in fields(self)))


_NOTHING = np.zeros(0, "S1")


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment of a store, opened.

    Attributes:
        entry: of the manifest: the files, each with its SHA-256 and size
        vectors: (n, dim), mapped from the file
        ids: of all n rows
        kept: bool (n,), None if no row is dropped
        stamp: of the vectors' file when it was checked
    """

    entry: dict[str, Any]
    vectors: np.ndarray
    ids: RowIds
    kept: np.ndarray | None = None
    stamp: Stamp | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def name(self) -> str:
        """Of the vectors' file; equal names hold equal vectors."""
        return str(self.entry["vectors"]["file"])

    @property
    def rows(self) -> np.ndarray:
        """Which rows are kept: int64, ascending."""
        return np.arange(len(self)) if self.kept is None else np.flatnonzero(self.kept)

    def keeping(self, kept: np.ndarray) -> Segment:
        """The same without the rows whose mask is False, and without those dropped before."""
        if self.kept is not None:
            kept = kept & self.kept
        return replace(self, kept=None if kept.all() else kept)


def as_bytes(values: Sequence[str] | np.ndarray) -> np.ndarray:
    """Ids as an array of bytes, a third of the memory of text."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return values
    try:
        return np.array(values, "S") if len(values) else _NOTHING
    except UnicodeEncodeError:
        return np.char.encode(np.asarray(values).astype(str), "utf-8")


def as_text(values: np.ndarray) -> np.ndarray:
    """The ids as FiftyOne takes them: an array of ``str``."""
    if not len(values):
        return np.zeros(0, "U24")
    try:
        return values.astype(str)
    except UnicodeDecodeError:
        return np.char.decode(values, "utf-8")


def write_segment(
    folder: Path, blocks: Iterable[np.ndarray], ids: RowIds, dim: int, dtype: np.dtype
) -> Segment:
    """Writes a segment; it counts once a manifest names it.

    Args:
        folder: of the store
        blocks: (m, dim) each, in order of the ids
        ids: of the rows, each sample and label once
        dim, dtype: float16 for rows of unit length, float32 for any that are finite

    Raises:
        StoreError: if vectors and ids do not fit each other, a vector is not usable, or the disk is
            full
    """
    twice = ids.keys[ids.repeated]
    if len(twice):
        raise StoreError(f"id {twice[0].decode()} occurs twice: each has one vector")
    shape = (len(ids), dim)

    def write_vectors(stream: HashingWriter) -> None:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        written = 0
        for block in blocks:
            _check_vectors(block, ids, written, dim, dtype)
            stream.write(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)
            written += len(block)
        if written != len(ids):
            raise StoreError(f"there are {written} vectors, but {len(ids)} ids")

    files = {
        "vectors": _file(folder, ".npy", write_vectors),
        "rows": write_data_ids(folder, ids),
    }
    entry = {"count": len(ids), **files}
    path = folder / files["vectors"]["file"]
    return Segment(entry, _map(path), ids, stamp=file_stamp(path))


def read_segment(folder: Path, entry: dict[str, Any]) -> Segment:
    """Opens a segment, every byte checked.

    Raises:
        StoreError: if a file is missing or damaged, or holds something else; says which
    """
    path = folder / entry["vectors"]["file"]
    stamp = file_stamp(path)
    check_file(folder, entry["vectors"])
    vectors = _map(path)
    if vectors.ndim != 2 or vectors.dtype.str not in ("<f2", "<f4"):
        raise malformed(path, "its array", (vectors.dtype, vectors.shape))
    ids, kept = read_ids(folder, entry["rows"]), read_kept(folder, entry)
    if not len(ids) == len(vectors) == entry["count"]:
        raise malformed(path, "the number of its vectors", len(vectors))
    return Segment(entry, vectors, ids, kept, stamp)


def read_kept(folder: Path, entry: dict[str, Any]) -> np.ndarray | None:
    """Which rows of a segment a version keeps; None means all."""
    if "kept" not in entry:
        return None
    check_file(folder, entry["kept"])
    path = folder / entry["kept"]["file"]
    bits, count = _map(path), entry["count"]
    if bits.dtype != np.uint8 or bits.shape != ((count + 7) // 8,):
        raise malformed(path, "its array", (bits.dtype, bits.shape))
    return np.unpackbits(bits, count=count).astype(bool)


def with_kept_file(folder: Path, segment: Segment) -> Segment:
    """Writes down which rows a segment keeps."""
    entry = {name: value for name, value in segment.entry.items() if name != "kept"}
    if segment.kept is not None:
        bits = np.packbits(segment.kept)
        entry["kept"] = _file(folder, ".npy", lambda stream: np.save(stream, bits))
    return replace(segment, entry=entry)


def read_ids(folder: Path, file: dict[str, Any]) -> RowIds:
    """Reads a list of rows, every byte checked."""
    check_file(folder, file)
    path = folder / file["file"]
    return RowIds(*as_fixed(read_texts(path, COLUMNS), path))


def write_ids(folder: Path, name: str, ids: RowIds) -> dict[str, Any]:
    """Writes a list of rows by itself; returns its name, SHA-256 and size, for :func:`read_ids`."""
    hashing: list[HashingWriter] = []

    def write(stream: BinaryIO) -> None:
        hashing.append(HashingWriter(stream))
        _write_ids(hashing[0], ids)

    write_atomically(folder / name, write)
    return {"file": name, "sha256": hashing[0].sha256, "bytes": hashing[0].size}


def write_data_ids(folder: Path, ids: RowIds) -> dict[str, Any]:
    """Writes a list of rows that a version names, for :func:`read_ids`."""
    return _file(folder, ".parquet", lambda stream: _write_ids(stream, ids))


def check_file(folder: Path, file: dict[str, Any]) -> None:
    """Looks whether a file is what its manifest says.

    Raises:
        DamagedError: if it is missing, damaged, or a link
        StoreError: if it cannot be read, or its folder is a link
    """
    path = folder / file["file"]
    if path.parent != folder:
        refuse_link(path.parent)
    if not is_whole(path, file["sha256"], file["bytes"]):
        raise DamagedError(f"{path} is {'damaged' if path.exists() else 'missing'}: {_MEND}")


_MEND = "index.update() (alphaclip index update) embeds what it held again"


def _check_vectors(block: np.ndarray, ids: RowIds, start: int, dim: int, dtype: np.dtype) -> None:
    if block.ndim != 2 or block.shape[1] != dim:
        raise StoreError(f"vectors have shape {block.shape}: expected (n, {dim})")
    if start + len(block) > len(ids):
        raise StoreError(f"there are more vectors than ids: expected {len(ids)}")
    unit = np.dtype(dtype) == np.float16
    with np.errstate(over="ignore"):
        values = np.asarray(block, np.float32)
    if unit:
        usable = np.abs(np.linalg.norm(values, axis=1) - 1) < 0.01
    else:
        usable = np.isfinite(values).all(axis=1)
    wrong = np.flatnonzero(~usable)
    if len(wrong):
        raise StoreError(
            f"the vector of {ids.keys[start + wrong[0]].decode()} is {values[wrong[0], :3]}...: "
            f"expected finite numbers{', of length 1' if unit else ''}"
        )


def _file(folder: Path, suffix: str, write: Any) -> dict[str, Any]:
    path, sha256, size = write_by_hash(folder / "data", suffix, write)
    return {"file": f"data/{path.name}", "sha256": sha256, "bytes": size}


def _map(path: Path) -> np.ndarray:
    """The array of a file, of which nothing is read before it is looked at."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # NumPy's reader of headers raises many kinds
        raise malformed(path, "its array", str(error)) from error
    if not isinstance(array, np.ndarray):
        raise malformed(path, "its array", type(array).__name__)
    return array if array.size else np.array(array)


def _write_ids(stream: HashingWriter, ids: RowIds) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(getattr(ids, column.name), pa.binary()) for column in fields(ids)]
    columns = [column.cast(pa.string()) for column in columns]
    table = pa.table(dict(zip(COLUMNS, columns, strict=True)))
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["sample_id", "field"])
    stream.write(memoryview(buffer.getvalue()))
