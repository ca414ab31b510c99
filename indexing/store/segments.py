"""Segments of a store, immutable: vectors in one file, whose they are in another.

A vector file is NumPy's ``.npy`` of float16 or float32 (n, dim). Beside it a Parquet file has n
rows of four columns: ``sample_id``, ``label_id`` (empty in an index of samples), ``field``, and
``fingerprint`` (of picture, region and encoder; empty for vectors from elsewhere). Which of the
rows a version has dropped is a third file, a bit for each row. All are named by their content, so
that what two versions share is there once, and a file that has its name is known to be whole.

Large segments have more files, for a search that begins without reading them as a whole: tables of
checksums (see `blocks`), and the rows again, as texts of one width each. Nothing but time is lost
where these are missing, as in stores of earlier versions, or damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alphaclip.files import (
    DamagedError,
    HashingWriter,
    Stamp,
    StoreError,
    file_stamp,
    malformed,
    write_atomically,
    write_by_hash,
)
from alphaclip.indexing.store.blocks import CheckedArray, check_file, map_array, open_array
from alphaclip.indexing.store.table import Rows
from alphaclip.indexing.store.text_table import as_fixed, read_texts

logger = logging.getLogger(__name__)

LARGE = 1 << 19
"""Bytes of vectors, from which on a segment has tables, and stays as it is: to hash fewer, or to
write them again, takes a millisecond. A shard of 2048 vectors of 192 numbers has more."""

GROUP_ROWS = 1 << 17
"""Whose the rows are is written so many at a time: 12 MB."""

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
            repeated_text(field, count),
            empty if fingerprints is None else as_bytes(fingerprints),
        )

    @classmethod
    def joined(cls, parts: Iterable[RowIds]) -> RowIds:
        """All rows of several, in order."""
        growing = GrowingIds()
        for part in parts:
            growing.add(part)
        return growing.ids

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def keys(self) -> np.ndarray:
        """The label ids, in an index of samples the sample ids. A key alone does not tell rows
        apart: labels that were copied to another sample keep their ids."""
        has_labels = len(self) and self.label_ids[0]
        return self.label_ids if has_labels else self.sample_ids

    @cached_property
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

    def take(self, rows: np.ndarray | slice) -> RowIds:
        """Those of some rows, by number, by a mask, or a slice."""
        return RowIds(*(getattr(self, column.name)[rows] for column in fields(self)))


_NOTHING = np.zeros(0, "S1")


class GrowingIds:
    """Rows that others are added to. The system moves the memory of what grows, so that it is never
    there twice, and nothing small is left behind all over the memory of the process."""

    def __init__(self) -> None:
        self._columns = [np.zeros(0, "S1") for _ in COLUMNS]
        self._count = 0

    @property
    def ids(self) -> RowIds:
        """All rows that were added; none may be added later."""
        for column in self._columns:
            column.resize(self._count, refcheck=False)
        return RowIds(*self._columns)

    def add(self, rows: RowIds) -> None:
        """Adds rows behind those that are there."""
        parts = [getattr(rows, column.name) for column in fields(rows)]
        before, self._count = self._count, self._count + len(rows)
        for number, part in enumerate(parts):
            column = self._columns[number]
            if part.dtype.itemsize > column.dtype.itemsize:
                self._columns[number] = column = column.astype(part.dtype)
            if len(column) < self._count:
                # A quarter more, as to move it for each few rows takes longer than to read them
                column.resize(max(self._count, len(column) * 5 // 4), refcheck=False)
            column[before : self._count] = part


class SegmentIds:
    """Whose the rows of a segment are.

    Args:
        folder: of the store
        rows: their Parquet file, as the manifest names it
        fixed: the same as texts of one width each, None if they are not there
    """

    def __init__(self, folder: Path, rows: dict[str, Any], fixed: CheckedArray | None) -> None:
        self._folder = folder
        self._rows = rows
        self._fixed = fixed
        if fixed is None:
            _ = self._parsed

    @property
    def all(self) -> RowIds:
        """Those of all rows; they are not kept in memory, as whoever joins them has them then."""
        fixed = self._read(slice(None))
        return self._parsed if fixed is None else fixed

    @cached_property
    def _parsed(self) -> RowIds:
        return read_ids(self._folder, self._rows)

    def take(self, rows: np.ndarray) -> RowIds:
        """Those of some rows, by number; of the others nothing is read."""
        some = self._read(rows)
        return self._parsed.take(rows) if some is None else some

    def _read(self, rows: slice | np.ndarray) -> RowIds | None:
        if self._fixed is not None:
            try:
                table = self._fixed[rows]
                return RowIds(*(np.ascontiguousarray(table[name]) for name in COLUMNS))
            except DamagedError as error:
                logger.warning("%s; until then it is not used", error)
                self._fixed = None
        return None


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment of a store, opened.

    Attributes:
        entry: of the manifest: the files, each with its SHA-256 and size
        vectors: (n, dim), mapped from the file
        row_ids: whose the n rows are
        kept: bool (n,), None if no row is dropped
        stamp: of the vectors' file when it was checked
    """

    entry: dict[str, Any]
    vectors: Rows
    row_ids: SegmentIds
    kept: np.ndarray | None = None
    stamp: Stamp | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def ids(self) -> RowIds:
        """Of all n rows."""
        return self.row_ids.all

    @property
    def kept_ids(self) -> RowIds:
        """Of the rows that are kept."""
        return self.ids if self.kept is None else self.ids.take(self.kept)

    @property
    def has_tables(self) -> bool:
        """Whether it is opened without reading it as a whole."""
        return "ids" in self.entry

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


def repeated_text(text: str, count: int) -> np.ndarray:
    """A text for each of some rows, as bytes; it is there once."""
    return np.broadcast_to(np.array(text.encode(), f"S{max(1, len(text.encode()))}"), count)


def as_text(values: np.ndarray) -> np.ndarray:
    """The ids as FiftyOne takes them: an array of ``str``."""
    if not values.size:
        return np.zeros(values.shape, "U24")
    if len(values) > 1 and not values.strides[0]:  # It is there once, see `repeated_text`
        return np.broadcast_to(as_text(values[:1].copy()), len(values))
    letters = np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8)
    if letters.max() < 128:  # All at once, a third of the time of NumPy's, which goes one by one
        return letters.astype(np.uint32).view(f"U{letters.shape[1]}").reshape(values.shape)
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
    if files["vectors"]["bytes"] >= LARGE:
        files |= _tables(folder, files["vectors"], ids)
    return read_segment(folder, {"count": len(ids), **files})


def read_segment(folder: Path, entry: dict[str, Any], whole: bool = False) -> Segment:
    """Opens a segment.

    Args:
        folder: of the store
        entry: of the manifest
        whole (False): look at every byte of every file now, not only at those that are read

    Raises:
        StoreError: if a file is missing or damaged, as far as was looked, or holds something else;
            says which
    """
    path = folder / entry["vectors"]["file"]
    stamp = file_stamp(path)
    vectors = open_array(folder, entry["vectors"], whole)
    if len(vectors.shape) != 2 or vectors.dtype.str not in ("<f2", "<f4"):
        raise malformed(path, "its array", (vectors.dtype, vectors.shape))
    fixed, kept = _fixed(folder, entry, whole), read_kept(folder, entry)
    if whole:
        check_file(folder, entry["rows"])
    ids = SegmentIds(folder, entry["rows"], fixed)
    if not (len(ids.all) if fixed is None else len(fixed)) == len(vectors) == entry["count"]:
        raise malformed(path, "the number of its vectors", len(vectors))
    return Segment(entry, vectors, ids, kept, stamp)


def mended(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry whose tables are written again; without them, if they cannot be written.

    Raises:
        StoreError: if vectors or rows are missing, damaged, or cannot be read
    """
    check_file(folder, entry["vectors"])
    ids = read_ids(folder, entry["rows"])
    try:
        return {**entry, **_tables(folder, entry["vectors"], ids)}
    except StoreError as error:
        logger.warning("%s", error)
        plain = {kind: value for kind, value in entry.items() if kind != "ids"}
        return {**plain, "vectors": _without_blocks(entry["vectors"])}


def read_kept(folder: Path, entry: dict[str, Any]) -> np.ndarray | None:
    """Which rows of a segment a version keeps; None means all."""
    if "kept" not in entry:
        return None
    check_file(folder, entry["kept"])
    path = folder / entry["kept"]["file"]
    bits, count = map_array(path), entry["count"]
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


def _fixed(folder: Path, entry: dict[str, Any], whole: bool) -> CheckedArray | None:
    """The rows as texts of one width each; None if they cannot be used and need not be whole."""
    if "ids" not in entry:
        return None
    try:
        array = open_array(folder, entry["ids"], whole)
        kinds = [(array.dtype[name].kind, name) for name in array.dtype.names or ()]
        if kinds != [("S", name) for name in COLUMNS] or len(array.shape) != 1:
            raise malformed(folder / entry["ids"]["file"], "its array", array.dtype)
    except StoreError as error:
        if whole:
            raise
        logger.warning("%s; until then it is not used", error)
        return None
    return array


def write_data_ids(folder: Path, ids: RowIds) -> dict[str, Any]:
    """Writes a list of rows that a version names, for :func:`read_ids`."""
    return _file(folder, ".parquet", lambda stream: _write_ids(stream, ids))


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


def _tables(folder: Path, vectors: dict[str, Any], ids: RowIds) -> dict[str, Any]:
    """What large segments have besides, written; in the order of the columns."""
    arrays = [getattr(ids, column.name) for column in fields(ids)]
    table = np.empty(len(ids), list(zip(COLUMNS, (array.dtype for array in arrays), strict=True)))
    for name, array in zip(COLUMNS, arrays, strict=True):
        table[name] = array
    fixed = _file(folder, ".npy", lambda stream: np.save(stream, table))
    return {"vectors": _with_blocks(folder, vectors), "ids": _with_blocks(folder, fixed)}


def _with_blocks(folder: Path, file: dict[str, Any]) -> dict[str, Any]:
    plain = _without_blocks(file)
    checksums = open_array(folder, plain).checksums
    return {**plain, "blocks": _file(folder, ".npy", lambda stream: np.save(stream, checksums))}


def _without_blocks(file: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name != "blocks"}


def _write_ids(stream: HashingWriter, ids: RowIds) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer, schema = pa.BufferOutputStream(), pa.schema([(name, pa.string()) for name in COLUMNS])
    often = ["sample_id", "field"]
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=often) as writer:
        for begin in range(0, max(1, len(ids)), GROUP_ROWS):
            some = ids.take(slice(begin, begin + GROUP_ROWS))
            columns = [pa.array(getattr(some, one.name), pa.binary()) for one in fields(some)]
            writer.write_table(pa.table([c.cast(pa.string()) for c in columns], schema))
    stream.write(memoryview(buffer.getvalue()))
