"""Region vectors at rest: immutable files, and one manifest for each version.

A store is a folder::

    manifest-000007.json     a version: its segments, the SHA-256 of each file, what it holds
    manifest-000006.json     the version before, kept until the next one
    data/<hash>.npy          vectors, which rows a version has dropped, checksums; see `segments`
    data/<hash>.parquet      whose the vectors are; which pictures a version was made of
    cache/                   FAISS indexes, made again from the vectors whenever needed
    work/                    shards of an embedding job on its way
    language/                what language models have said of regions
    newest.json              which version was published last
    writer.lock, writer.txt  who writes at the moment

A version is published by one atomic rename, and never changes. Whoever reads keeps reading the
version that was opened; opening again gives the newest. What no kept version names is garbage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.files import (
    PARTIAL,
    DamagedError,
    Stamp,
    StoreError,
    deleting,
    file_stamp,
    flush_folder,
    is_same,
    is_whole,
    link_or_copy,
    make_folder,
    malformed,
    refuse_link,
    writer_lock,
)
from alphaclip.indexing.store.blocks import check_file
from alphaclip.indexing.store.entries import check_segment, files_of_segment
from alphaclip.indexing.store.manifests import (
    FORMAT,
    files_of,
    manifest_path,
    newest_version,
    next_version,
    read_manifest,
    versions,
    write_manifest,
)
from alphaclip.indexing.store.segments import (
    RowIds,
    Segment,
    mended,
    read_ids,
    read_kept,
    read_segment,
    repeated_text,
    with_kept_file,
    write_data_ids,
    write_segment,
)
from alphaclip.indexing.store.table import VectorTable

__all__ = ["StoreError", "StoreVersion", "StoreWriter", "open_store", "writing"]

logger = logging.getLogger(__name__)

KEPT_VERSIONS = 2
"""How many versions stay: the current one, and the one before, to go back to where the current
manifest is damaged; whoever still opens that one finds its files too."""

MOST_DROPPED = 0.25
"""Share of dropped rows from which a segment is written anew without them: they cost a third of the
disk and of the reading at most, and a segment is rarely written anew."""

FULL_BYTES = 1 << 29
"""Of vectors in a segment that was compacted: a version names few of them, and one takes little
time and memory to be written."""

FEW = 10_000
"""The ids of more rows than these are found by reading those of all."""


@dataclass(frozen=True, eq=False)
class StoreVersion:
    """One version of a store, opened.

    Attributes:
        folder: of the store
        number: of the version
        dim: numbers in a vector
        dtype: float16 for rows of unit length, float32 for vectors as they were given
        info: what the writer said of them
        segments: the segment files
        stamp: of the manifest, None if it is not at rest
        pictures: names a list of the pictures that it was made of, for
            :func:`segments.read_ids`; None if there is none
    """

    folder: Path
    number: int
    dim: int
    dtype: np.dtype
    info: dict[str, Any]
    segments: tuple[Segment, ...]
    stamp: Stamp | None = None
    pictures: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def is_intact(self) -> bool:
        """Whether nobody has written over its vectors since they were checked."""
        return all(_is_as_checked(self.folder, segment) for segment in self.segments)

    @cached_property
    def ids(self) -> RowIds:
        """Whose the vectors are, in the order of the table."""
        return self.read_ids()

    def read_ids(self) -> RowIds:
        """The same, for whoever needs them for a while: they take some 100 bytes a row."""
        return self._named(RowIds.joined(segment.kept_ids for segment in self.segments))

    def ids_of(self, rows: np.ndarray) -> RowIds:
        """Whose some rows are; of the others nothing is read."""
        if "ids" in vars(self) or len(rows) > FEW:
            return self.ids.take(rows)
        order, parts = [np.zeros(0, np.int64)], []
        for segment, here, inside in self.table.located(rows):
            order.append(here)
            parts.append(self.segments[segment].row_ids.take(inside))
        return self._named(RowIds.joined(parts).take(np.argsort(np.concatenate(order))))

    @cached_property
    def table(self) -> VectorTable:
        """The vectors."""
        starts = np.cumsum([0, *map(len, self.segments)])
        slots = [s.rows + start for s, start in zip(self.segments, starts, strict=False)]
        return VectorTable(
            tuple(s.vectors for s in self.segments),
            tuple(s.name for s in self.segments),
            np.concatenate([np.zeros(0, np.int64), *slots]),
            self.dim,
            self.dtype,
        )

    def _named(self, ids: RowIds) -> RowIds:
        """The field is the version's: where it was renamed, older files say what it was called."""
        field = self.info.get("field", "")
        return replace(ids, fields=repeated_text(field, len(ids))) if field else ids


def open_store(
    folder: Path, before: StoreVersion | None = None, whole: bool = False
) -> StoreVersion:
    """Opens the current version. What it holds is checked as it is read, each time.

    Args:
        folder: of the store
        before (None): a version opened before, whose segments need no second look, if nobody has
            written over them
        whole (False): look at every byte now

    Raises:
        StoreError: if a file is missing or damaged, as far as was looked, or the format is newer;
            says which
    """
    while True:
        number = newest_version(folder)
        stamp = file_stamp(manifest_path(folder, number))
        same = before is not None and (before.folder, before.stamp) == (folder, stamp)
        if before is not None and same and before.is_intact:
            return before
        try:
            manifest = read_manifest(folder, number)
            earlier = before.segments if before is not None and before.folder == folder else ()
            checked = {segment.name: segment for segment in earlier}
            segments = [
                _opened(folder, manifest, entry, checked, whole) for entry in manifest["segments"]
            ]
            return _version(folder, manifest, segments, stamp)
        except StoreError:
            # It may have been cleared away while it was read; then there is a newer one.
            if newest_version(folder) == number:
                raise


def verify(version: StoreVersion) -> None:
    """Compares each file of a version with its SHA-256.

    Raises:
        StoreError: if one is missing or damaged; says which
    """
    files = [file for segment in version.segments for _, file in files_of_segment(segment.entry)]
    for file in [*files, *filter(None, [version.pictures])]:
        check_file(version.folder, file)


@contextmanager
def writing(folder: Path, mend: bool = False) -> Iterator[StoreWriter]:
    """Makes this process the store's writer; the folder is made if need be.

    Args:
        folder: of the store
        mend (False): leave out damaged segments, and go back to the version before where the
            current manifest is damaged, instead of raising

    Raises:
        StoreBusyError: if there is another writer
        StoreError: if the store is damaged, or cannot be written
    """
    with writer_lock(folder):
        if not versions(folder):
            yield StoreWriter(folder, None)
        else:
            whole = _open_whole(folder) if mend else open_store(folder, whole=True)
            yield StoreWriter(folder, whole)


def deleting_store(folder: Path) -> AbstractContextManager[None]:
    """Deletes a store after what is done inside, its newest manifest last.

    Raises:
        StoreBusyError: if it is being written; then nothing is done
    """
    return deleting(
        folder, lambda: [manifest_path(folder, number) for number in versions(folder)[::-1]]
    )


class StoreWriter:
    """Adds versions to a store; made by :func:`writing`.

    Attributes:
        folder: of the store
        base: the version to go on from, None if there is none
    """

    def __init__(self, folder: Path, base: StoreVersion | None) -> None:
        for name in ("data", "cache", "work"):
            refuse_link(folder / name)
        self.folder = folder
        self.base = base

    def add(
        self, blocks: Iterable[np.ndarray], ids: RowIds, dim: int, dtype: np.dtype | type
    ) -> Segment:
        """Writes a segment, to be published; see :func:`segments.write_segment`."""
        return write_segment(self.folder, blocks, ids, dim, np.dtype(dtype))

    def adopt(self, source: Path, entry: dict[str, Any], whole: bool = True) -> Segment:
        """Takes a segment of another folder, by hard link where the system can.

        Args:
            source: the folder
            entry: of a manifest or a plan
            whole (True): compare it with its SHA-256, which the caller has done otherwise

        Raises:
            StoreError: if it is damaged
        """
        check_segment(entry, source)
        refuse_link(source / "data")
        make_folder(self.folder / "data")
        for _, file in files_of_segment(entry):
            here, there = self.folder / file["file"], refuse_link(source / file["file"])
            if not is_same(here, there) and not is_whole(here, file["sha256"], file["bytes"]):
                link_or_copy(there, here)
            if whole:
                check_file(self.folder, file)
        return read_segment(self.folder, entry)

    def publish(
        self,
        segments: Sequence[Segment],
        dim: int,
        dtype: np.dtype,
        info: Mapping[str, Any],
        pictures: RowIds | None = None,
    ) -> StoreVersion:
        """Publishes a version and clears away what is older than the one before.

        Args:
            segments: of this dim and dtype; which rows they drop is written down
            info: goes into the manifest, JSON
            pictures (None): a list that goes with the version

        Raises:
            StoreError: if the disk is full, or a segment is not of this dim and dtype; the version
                before is still the current one then
        """
        used = [segment for segment in segments if len(segment.rows)]
        for segment in used:
            vectors = segment.vectors
            if vectors.shape[1] != dim or vectors.dtype != dtype:
                raise StoreError(
                    f"{segment.name} holds {vectors.dtype} vectors of {vectors.shape[1]} numbers: "
                    f"expected {np.dtype(dtype)} of {dim}"
                )
        written = [with_kept_file(self.folder, s) for s in self._joined(used, dim, dtype)]
        if written:
            flush_folder(self.folder / "data")
        number = next_version(self.folder)
        path = manifest_path(self.folder, number)
        manifest = {
            "format": FORMAT,
            "version": number,
            "dim": dim,
            "dtype": np.dtype(dtype).name,
            "count": sum(len(s.rows) for s in written),
            "segments": [s.entry for s in written],
            "info": dict(info),
        }
        if pictures is not None and len(pictures):
            manifest["pictures"] = write_data_ids(self.folder, pictures)
        write_manifest(self.folder, manifest)
        self.base = _version(self.folder, manifest, written, file_stamp(path))
        collect_garbage(self.folder)
        return self.base

    def compact(self) -> StoreVersion | None:
        """Publishes what the store holds in few files without dropped rows; None if it is so."""
        base = self.base
        if base is None or not len(base):
            return None
        most = FULL_BYTES // (base.dim * base.dtype.itemsize)
        runs: list[list[Segment]] = [[]]
        for segment in base.segments:
            if runs[-1] and sum(len(one.rows) for one in [*runs[-1], segment]) > most:
                runs.append([])
            runs[-1].append(segment)
        segments = [
            run[0]
            if len(run) == 1 and run[0].kept is None
            else self._as_one(run, base.dim, base.dtype)
            for run in runs
        ]
        if segments == list(base.segments):
            return None
        pictures = None if base.pictures is None else read_ids(self.folder, base.pictures)
        return self.publish(segments, base.dim, base.dtype, base.info, pictures)

    def _joined(self, segments: Sequence[Segment], dim: int, dtype: np.dtype) -> list[Segment]:
        """Small segments joined so that they stay few, at a cost that is small on average; others
        only where they have dropped many of their rows.

        Of small ones side by side each is at least twice as long as all after it, like the digits
        of a binary counter: of n rows added one by one each is written at most log2(n) times.
        """
        joined: list[Segment] = []
        for stays, some in groupby(segments, lambda s: s.has_tables and not _has_dropped_many(s)):
            run = list(some)
            lengths = [len(segment.rows) for segment in run]
            first = 0
            while first < len(run) and (
                stays
                or (
                    not _has_dropped_many(run[first])
                    and lengths[first] >= 2 * sum(lengths[first + 1 :])
                )
            ):
                first += 1
            joined += run[:first]
            if first < len(run):
                joined.append(self._as_one(run[first:], dim, dtype))
        return joined

    def _as_one(self, segments: Sequence[Segment], dim: int, dtype: np.dtype) -> Segment:
        """Writes what several segments keep as one."""
        rows = _version(
            self.folder, {"dim": dim, "dtype": dtype, "version": 0, "info": {}}, segments
        )
        blocks = (vectors for _, vectors in rows.table.blocks())
        return self.add(blocks, rows.read_ids(), dim, dtype)


def collect_garbage(folder: Path) -> list[str]:
    """Deletes what no kept version names; whoever has it open goes on reading it.

    Only whoever holds the writer's lock may call it. Damaged manifests are no versions to keep.

    Returns:
        names of the files that are gone

    Raises:
        StoreError: if a manifest cannot be read, or is of a newer format; nothing is deleted then
    """
    files: dict[int, set[str]] = {}
    for number in versions(folder):
        if len(files) < KEPT_VERSIONS:
            with suppress(DamagedError):
                files[number] = files_of(read_manifest(folder, number))
    needed = set().union(*files.values())
    old = [manifest_path(folder, number) for number in versions(folder) if number not in files]
    old += [path for path in folder.glob("data/*") if f"data/{path.name}" not in needed]
    old += folder.glob(f"*{PARTIAL}")
    for path in old:
        with suppress(OSError):
            path.unlink()
    return [path.name for path in old]


def _opened(
    folder: Path,
    manifest: Mapping[str, Any],
    entry: dict[str, Any],
    checked: Mapping[str, Segment],
    whole: bool = False,
) -> Segment:
    """A segment; its vectors, and whose they are, are not checked again if they were before."""
    before = checked.get(entry["vectors"]["file"])
    same = before is not None and before.entry["rows"] == entry["rows"]
    if before is None or not same or not _is_as_checked(folder, before):
        segment = read_segment(folder, entry, whole)
    elif before.entry == entry:
        segment = before
    else:
        segment = replace(before, entry=entry, kept=read_kept(folder, entry))
    shape = (segment.vectors.dtype.name, segment.vectors.shape[1])
    if shape != (manifest["dtype"], manifest["dim"]):
        raise malformed(folder / segment.name, "its array", shape)
    return segment


def _has_dropped_many(segment: Segment) -> bool:
    return len(segment) - len(segment.rows) > MOST_DROPPED * len(segment)


def _is_as_checked(folder: Path, segment: Segment) -> bool:
    return segment.stamp == file_stamp(f"{folder}/{segment.name}")


def _open_whole(folder: Path) -> StoreVersion | None:
    """The newest version whose manifest is whole, without the segments that are damaged."""
    for number in dict.fromkeys([newest_version(folder), *versions(folder)]):
        try:
            manifest = read_manifest(folder, number)
        except DamagedError as error:
            logger.warning("%s", error)
            continue
        segments = []
        for entry in manifest["segments"]:
            try:
                segments.append(_mended(folder, manifest, entry))
            except StoreError as error:
                logger.warning("%d vectors are lost: %s", entry["count"], error)
        return _version(folder, manifest, segments)
    return None


def _mended(folder: Path, manifest: Mapping[str, Any], entry: dict[str, Any]) -> Segment:
    """A segment of which every byte is looked at; its tables are written again if need be."""
    try:
        return _opened(folder, manifest, entry, {}, whole=True)
    except StoreError as error:
        if "ids" not in entry:  # It has no tables
            raise
        logger.warning("%s", error)
    return _opened(folder, manifest, mended(folder, entry), {}, whole=True)


def _version(
    folder: Path,
    manifest: Mapping[str, Any],
    segments: Sequence[Segment],
    stamp: Stamp | None = None,
) -> StoreVersion:
    return StoreVersion(
        folder,
        manifest["version"],
        manifest["dim"],
        np.dtype(manifest["dtype"]),
        dict(manifest["info"]),
        tuple(segments),
        stamp,
        manifest.get("pictures"),
    )
