"""Files that are there whole or not at all, and one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table
    from pyarrow.parquet import ParquetFile

PARTIAL = ".part"
"""How the name of a file ends that is still being written; a dead process may leave one."""

BLOCK = 1 << 20
"""Bytes that are read at a time: of larger blocks neither hashing nor copying gets faster."""

LARGEST_JSON = 1 << 30
"""Bytes: twice the longest that is written here, a manifest of a million skipped regions."""

LARGEST_CONFIG = 1 << 26
"""Bytes of a JSON file in a model's folder: a tokenizer's, the longest, has half."""

DEEPEST_JSON = 256
"""Lists and objects in each other: a view's expressions may have 200, MongoDB's limit, and Python's
recursion ends at 1,000."""

UNPACKED_TIMES, UNPACKED_ALWAYS = 256, 1 << 28
"""How many times its size a compressed file may be when it is unpacked, and how many bytes any may
be: ids, which are all different, are 10 times as large, masks that are all equal 100 times."""

Stamp = tuple[int, int, int]


class StoreError(AlphaClipError):
    """What is kept in files is missing, damaged, of a newer format, or cannot be written."""


class DamagedError(StoreError):
    """A file is missing, or not what was written."""


class StoreBusyError(StoreError):
    """Somebody else is writing to the folder."""


class HashingWriter:
    """A file that is written from start to end, and its SHA-256 with it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes | memoryview) -> int:
        """Writes bytes; returns how many."""
        self._digest.update(content)
        self.size += len(content)
        self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        """Passes on what is buffered."""
        self._stream.flush()

    @property
    def sha256(self) -> str:
        """Of what was written so far, as 64 hexadecimal digits."""
        return self._digest.hexdigest()


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under another name, flushes it to the disk, and renames it.

    Its folder is made if need be.

    Raises:
        StoreError: if it cannot be written, as on a full disk
    """
    make_folder(path.parent)
    with _partial(path.parent, path.name) as partial:
        with partial.open("wb") as stream:
            write(stream)
            _flush(stream)
        partial.replace(path)
        flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, as :func:`write_atomically` does."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def write_by_hash(
    folder: Path, suffix: str, write: Callable[[HashingWriter], object]
) -> tuple[Path, str, int]:
    """Writes a file that is named by its content; one that is there already stays.

    The folder is made if need be; one that is a link is refused. The suffix begins with its dot.

    Returns:
        path, SHA-256 and size in bytes
    """
    make_folder(refuse_link(folder))
    with _partial(folder) as partial:
        with partial.open("wb") as stream:
            hashing = HashingWriter(stream)
            write(hashing)
            _flush(stream)
        path = folder / f"{hashing.sha256[:24]}{suffix}"
        if not is_whole(path, hashing.sha256, hashing.size):
            partial.replace(path)
        flush_folder(folder)
    return path, hashing.sha256, hashing.size


def read_json(path: Path, largest: int | None = LARGEST_JSON) -> Any:
    """Reads a JSON file; ``largest`` is the most bytes that it may have.

    Raises:
        OSError: it is missing, or cannot be read
        AlphaClipError: it is too large, or see :func:`parse_json`
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if largest is not None and size > largest:
            raise _no_json(path, f"it has {size:,} bytes, expected at most {largest:,}")
        return parse_json(file.read(), path)


def parse_json(text: str | bytes, source: str | Path) -> Any:
    """Parses JSON; ``source`` says in messages where it is from.

    Raises:
        AlphaClipError: it is no JSON, or deeper than :data:`DEEPEST_JSON`
    """
    too_deep = f"lists and objects lie in each other more than {DEEPEST_JSON} deep"
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise _no_json(source, too_deep) from error
    except (ValueError, MemoryError) as error:
        raise _no_json(source, str(error) or "too large") from error
    level = [content] if isinstance(content, (dict, list)) else []
    for _ in range(DEEPEST_JSON):
        if not level:
            return content
        values = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [one for inner in values for one in inner if isinstance(one, (dict, list))]
    raise _no_json(source, too_deep)


def open_parquet(path: Path) -> ParquetFile:
    """Opens a Parquet file, of which nothing is unpacked yet; texts that repeat will be kept once.

    Raises:
        OSError: it is missing, or cannot be read
        AlphaClipError: it is none, or see :func:`check_unpacked`
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, read_metadata

    try:
        metadata = read_metadata(path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        # A value that repeats takes no room in the file
        check_unpacked(path, sum(c.total_uncompressed_size + 8 * c.num_values for c in columns))
        repeat = {c.path_in_schema for c in columns if c.has_dictionary_page}
        texts = [field.name for field in metadata.schema.to_arrow_schema() if _is_text(field.type)]
        return ParquetFile(path, read_dictionary=[name for name in texts if name in repeat])
    except (pa.ArrowException, MemoryError) as error:
        raise AlphaClipError(f"{path} is no Parquet file: {error!s:.200}") from error


def check_table(path: Path, table: Table | RecordBatch) -> None:
    """Looks whether what was read of a Parquet file may become Python's or NumPy's values.

    Raises:
        AlphaClipError: see :func:`check_unpacked`
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for column in table.columns:
        for chunk in getattr(column, "chunks", [column]):
            if pa.types.is_dictionary(chunk.type):
                lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
                size += pc.sum(lengths).as_py() or 0
            else:
                size += chunk.nbytes
    check_unpacked(path, size)


def check_unpacked(path: Path, size: int) -> None:
    """Looks whether a compressed file may be so many bytes when it is unpacked.

    Raises:
        AlphaClipError: it is far more than real data can be, so it was made to fill the memory
    """
    if size > UNPACKED_ALWAYS + UNPACKED_TIMES * path.stat().st_size:
        raise AlphaClipError(
            f"{path} would be {size / 1e6:,.0f} MB when it is unpacked, far more than a file of "
            "its size can be: it is refused"
        )


def link_or_copy(source: Path, path: Path) -> None:
    """Puts a file that never changes into a second folder, in the place of what is there.

    A hard link, where the file system has them, takes neither time nor room; as the file never
    changes, nobody can tell it from a copy.
    """
    with _partial(path.parent, path.name) as partial:
        try:
            os.link(source, partial)
        except OSError:
            with source.open("rb") as content, partial.open("wb") as stream:
                shutil.copyfileobj(content, stream, BLOCK)
                _flush(stream)
        partial.replace(path)
        flush_folder(path.parent)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def is_whole(path: Path, sha256: str, size: int) -> bool:
    """Whether a file is there and has this SHA-256 and size in bytes; a link to one is none.

    Raises:
        StoreError: if it is there and cannot be read
    """
    try:
        status = path.lstat()
        is_same_size = S_ISREG(status.st_mode) and status.st_size == size
        return is_same_size and file_sha256(path) == sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they outlive a power cut.

    Raises:
        StoreError: if it cannot be made
    """
    try:
        if folder.is_dir():
            return
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush_folder(folder.parent)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def file_stamp(path: Path) -> Stamp | None:
    """Tells a file from another of its name, and from itself written over; None if it is gone.

    Returns:
        inode, size in bytes, and time of change
    """
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def flush_folder(folder: Path) -> None:
    """Makes sure that the names in a folder outlive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Makes this process the one that writes to a folder; the lock ends with the process.

    Raises:
        StoreBusyError: if there is another; says which process, and on which machine
        StoreError: if the folder cannot be written
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    holder, lock = folder / "writer.txt", FileLock(folder / "writer.lock")
    refuse_link(holder)
    refuse_link(folder / "writer.lock")
    try:
        lock.acquire(timeout=0)
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", "utf-8")
    except Timeout as error:
        name = ""
        with suppress(OSError, UnicodeDecodeError):
            # Who wrote last; the file is empty for a moment while the next one says so.
            name = holder.read_text("utf-8")
        raise StoreBusyError(
            f"{folder} is being written by {name or 'another process'}: wait until it is done, "
            "then try again"
        ) from error
    except (OSError, NotImplementedError) as error:
        lock.release()
        raise _cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def refuse_link(path: Path) -> Path:
    """The path again, of what has to lie in its own folder: through a link, files of others would
    be read, written over and deleted.

    Raises:
        StoreError: if it is a link
    """
    if path.is_symlink():
        raise StoreError(
            f"{path} is a link, which nothing in the folder of an index may be: remove it, or "
            "put in its place what it leads to"
        )
    return path


def unreadable(path: Path, error: OSError) -> StoreError:
    """Says that the system does not let a file be read."""
    if isinstance(error, FileNotFoundError):
        return DamagedError(f"{path} is missing: was the index deleted, or replaced?")
    return StoreError(f"{path} cannot be read ({error.strerror or error})")


@contextmanager
def _partial(folder: Path, name: str = "") -> Iterator[Path]:
    """Where to write a file before it gets its name; what is left there is deleted."""
    partial = folder / f"{name}.{uuid4().hex[:16]}{PARTIAL}"
    try:
        yield partial
    except OSError as error:
        raise _cannot_write(folder / name, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_dictionary(kind)


def _no_json(source: str | Path, reason: str) -> AlphaClipError:
    return AlphaClipError(f"{source} cannot be read as JSON: {reason}")


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _cannot_write(path: Path, error: OSError | NotImplementedError) -> StoreError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"{path}: the disk is full; what was written before is whole: make room, then run it "
            "again"
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(f"{path} is read-only for this process: what is there can be read only")
    return StoreError(f"{path} cannot be written ({error}); what was written before is whole")
