"""Arrays in files that never change, compared with checksums, block by block, as they are read.

Whoever opens a large file would wait for its SHA-256 longer than for the answer. So each has a
table of the CRC-32 of its blocks beside it, which its manifest covers: what is read, and only that,
is compared, each time. What rots later is therefore found too, even where nothing that the system
says of the file tells it. Blocks are small, as a search reads many rows that lie far apart; who
reads rows in order compares groups of blocks, which takes half the time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from zlib_ng.zlib_ng import crc32

from alphaclip.files import (
    DamagedError,
    StoreError,
    has_size,
    is_whole,
    malformed,
    refuse_link,
    unreadable,
)

logger = logging.getLogger(__name__)

BLOCK_BYTES, TEXT_BYTES = 512, 4096
"""A block is as many rows as fit into so many bytes, and one at least: of fewer bytes, Python's
calls would take longer than the checksums. Texts are mostly read all at once."""

GROUP = 64
"""Blocks in a group."""

_MEND = "index.update() (alphaclip index update) embeds what it held again"


class CheckedArray:
    """The array of a file, of which nothing is returned that is not as it was written.

    Args:
        path: of the file, for messages
        array: mapped from it
        checksums (None): uint32, of its blocks, then of their groups; None makes them of what is
            there

    Attributes:
        dtype, shape: of the array
        checksums: see above
    """

    def __init__(self, path: Path, array: np.ndarray, checksums: np.ndarray | None = None) -> None:
        self.dtype, self.shape = array.dtype, array.shape
        self._path = path
        self._array = np.asarray(array)
        self._bytes = array.reshape(-1).view(np.uint8).data
        row = len(self._bytes) // max(1, len(array))
        most = BLOCK_BYTES if array.dtype.names is None else TEXT_BYTES
        self._rows = max(1, most // max(1, row))
        self._size = self._rows * row
        blocks = -(-len(array) // self._rows)
        groups = -(-blocks // GROUP)
        if checksums is None:
            sums = self._sums(self._bytes, range(blocks))
            sums += self._sums(self._bytes, range(groups), GROUP)
            checksums = np.array(sums, np.uint32)
        elif checksums.dtype != np.uint32 or checksums.shape != (blocks + groups,):
            raise malformed(path, "its table of checksums", checksums.shape)
        self.checksums, self._of_groups = checksums, checksums[blocks:]

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Some rows: a slice, which is not copied, or int64 (n,).

        Raises:
            DamagedError: if they were written over
        """
        found: np.ndarray = self._array[rows]
        if isinstance(rows, slice):
            begin, end, _ = rows.indices(len(self))
            rows_of_group = self._rows * GROUP
            first, last = begin // rows_of_group, -(-end // rows_of_group)
            sums = self._sums(self._bytes, range(first, last), GROUP)
            right = self._of_groups[first:last]
        elif self._rows == 1:
            # The copies are in the processor's cache, what they are of is not any more.
            copied = found.reshape(-1).view(np.uint8).data
            sums, right = self._sums(copied, range(len(found))), self.checksums[rows]
        else:
            some = list(set((rows // self._rows).tolist()))
            sums, right = self._sums(self._bytes, some), self.checksums[some]
        if sums != right.tolist():
            raise DamagedError(f"{self._path} is damaged: {_MEND}")
        return found

    def _sums(self, content: memoryview, blocks: Iterable[int], group: int = 1) -> list[int]:
        size = self._size * group
        return [crc32(content[block * size : (block + 1) * size]) for block in blocks]


def open_array(folder: Path, file: dict[str, Any], whole: bool = False) -> CheckedArray:
    """Opens the array of a file.

    Args:
        folder: of the store
        file: of the manifest
        whole (False): look at all of it now, by its table if there is one

    Raises:
        DamagedError: if it is missing or damaged, as far as was looked
        StoreError: if it cannot be read
    """
    path, checksums = _path(folder, file), _table(folder, file, whole)
    if checksums is None:
        check_file(folder, file)
    elif not has_size(path, file["bytes"]):
        raise _damaged(path)
    array = CheckedArray(path, map_array(path), checksums)
    if whole and checksums is not None:
        _ = array[:]  # In a fraction of the time of its SHA-256
    return array


def check_file(folder: Path, file: dict[str, Any]) -> None:
    """Looks whether a file is what its manifest says, every byte of it.

    Raises:
        DamagedError: if it is missing, damaged, or a link
        StoreError: if it cannot be read, or its folder is a link
    """
    path = _path(folder, file)
    if not is_whole(path, file["sha256"], file["bytes"]):
        raise _damaged(path)


def map_array(path: Path) -> np.ndarray:
    """The array of a file, of which nothing is read before it is looked at."""
    try:
        with path.open("rb") as file:
            content = mmap(file.fileno(), 0, access=ACCESS_READ)
        begin = 10 + int.from_bytes(content[8:10], "little")
        dtype, shape = _header(content[:begin])
        array = np.frombuffer(content, dtype, offset=begin).reshape(shape)
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # NumPy's reader of headers raises many kinds
        raise malformed(path, "its array", str(error)) from error
    return array if array.size else np.array(array)


@lru_cache(256)
def _header(content: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    """What a header says: that of segment files of one size is the same, and NumPy's reader of it
    takes longer than all else that is done to open one."""
    stream = BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its header is of another version")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if is_fortran or not shape:
        raise ValueError("it is not rows one after the other")
    return dtype, shape


def _table(folder: Path, file: dict[str, Any], whole: bool) -> np.ndarray | None:
    """The checksums beside a file; None if there are none that can be used."""
    if "blocks" not in file:
        return None
    try:
        check_file(folder, file["blocks"])
        return np.array(map_array(folder / file["blocks"]["file"]))
    except StoreError as error:
        if whole:
            raise
        logger.warning("%s; until then all of %s is read", error, file["file"])
        return None


def _path(folder: Path, file: dict[str, Any]) -> Path:
    path: Path = folder / file["file"]
    if path.parent != folder:
        refuse_link(path.parent)
    return path


def _damaged(path: Path) -> DamagedError:
    return DamagedError(f"{path} is {'damaged' if path.exists() else 'missing'}: {_MEND}")
