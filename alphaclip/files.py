"""Files that are there whole or not at all, as they were written, and one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from alphaclip.errors import AlphaClipError, brief

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table
    from pyarrow.parquet import ParquetFile

PARTIAL = ".part"
"""How the name of a file ends that is still being written; a dead process may leave one."""

CHECKSUM = "checksum"
"""In JSON files of which earlier versions had no checksum: their own SHA-256."""

ABANDONED = 3600.0
"""Seconds after which such a file was left by a dead process, where no lock tells."""

_PATIENCE = 60.0
"""Seconds to wait for another process that changes the same small file."""

LOCK, HOLDER = "writer.lock", "writer.txt"
"""The file that a folder's writer holds, and the one that says who that is."""

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
    with replacing(path) as partial, partial.open("wb") as stream:
        write(stream)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file, for what takes a path; at the end it is flushed, and renamed.

    Its folder is made if need be. An error leaves the file before in its place.

    Raises:
        StoreError: if it cannot be written, as on a full disk
    """
    make_folder(path.parent)
    with _partial(path.parent, path.name) as partial:
        yield partial
        with partial.open("rb+") as stream:
            _flush(stream)
        partial.replace(path)
        flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, as :func:`write_atomically` does.

    Half a pair of surrogates, as in the name of a file that is no UTF-8, is written as its escape,
    which is JSON's as well.
    """
    content = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda stream: stream.write(content))


def update_text(path: Path, change: Callable[[str | None], str]) -> None:
    """Changes a small text, one process after the other, so that none undoes another's change.

    Args:
        path: its folder is made if need be; an equal text is not written again
        change: the text that is there, None if there is none or it is no UTF-8, to the new one

    Raises:
        StoreError: if it cannot be written, or another process takes too long
    """
    from filelock import FileLock, Timeout

    def is_changed() -> tuple[bool, str]:
        before = None
        with suppress(FileNotFoundError, UnicodeDecodeError):
            before = path.read_text("utf-8")
        text = change(before)
        return text != before, text

    try:
        # Where nothing changes, the folder need not be one that can be written.
        if not is_changed()[0]:
            return
        make_folder(path.parent)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_PATIENCE):
            changed, text = is_changed()
            if changed:
                write_text(path, text)
    except Timeout as error:
        raise StoreBusyError(
            f"{path} is being changed by another process: try again later"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise _cannot_write(path, error) from error


def write_checked(path: Path, content: Mapping[str, Any], key: str = "sha256") -> None:
    """Writes an object as JSON that carries its own SHA-256, under ``key``, in one step."""
    plain = json.loads(json.dumps(content))
    write_text(path, json.dumps({**plain, key: _checksum(path.name, plain)}, indent=1))


def read_checked(
    path: Path,
    remedy: str,
    key: str = "sha256",
    optional: bool = False,
    check: Callable[[dict[str, Any], Path], object] | None = None,
) -> dict[str, Any] | None:
    """Reads what :func:`write_checked` wrote; None if there is no such file.

    Args:
        path: of the file
        remedy: how the message of an error ends
        key: as it was written with
        optional (False): whether a file without checksum, as older versions wrote it, will do
        check (None): looks whether it is an object that is written here, and raises DamagedError if
            not: anybody can write one with a SHA-256 that is right

    Raises:
        DamagedError: if it is not what was written, is a link, or another file was renamed to it
        StoreError: if it cannot be read
    """
    if path.is_symlink():
        raise DamagedError(f"{path} is a link: {remedy}")
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except AlphaClipError as error:
        raise DamagedError(f"{path} is damaged: {remedy}") from error
    stated = content.pop(key, None) if isinstance(content, dict) else ""
    if not (optional and stated is None) and stated != _checksum(path.name, content):
        raise DamagedError(f"{path} is damaged: {remedy}")
    try:
        if check is not None:
            check(content, path)
    except DamagedError as error:
        raise DamagedError(f"{error}: {remedy}") from error
    return dict(content)


CHECKSUMS = "checksums.json"
"""In a folder of files that each have their own form: the SHA-256 of each, by name."""


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Notes what some files of a folder hold, in the folder."""
    content = {name: file_sha256(folder / name) for name in sorted(names)}
    write_text(folder / CHECKSUMS, json.dumps(content, indent=1))


def check_folder(folder: Path) -> None:
    """Compares the files of a folder with what was noted of them; without a note, all is well.

    Raises:
        DamagedError: if one is another; names it
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        return
    remedy = f"put it back as it was, or, if somebody changed it on purpose, delete {path}"
    try:
        noted = dict(read_json(path, LARGEST_CONFIG))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(f"{path} is damaged: {remedy}") from error
    for name, sha256 in noted.items():
        file = folder / Path(name).name
        if not file.is_file() or file_sha256(file) != sha256:
            raise DamagedError(f"{file} is not what was written there: {remedy}")


def remove_partials(folder: Path, older: float = 0.0) -> None:
    """Deletes what dead processes left half-written in a folder and the folders in it.

    Args:
        folder: need not exist
        older: seconds since they were written to; 0 takes all, for who holds the folder's lock
    """
    for partial in folder.rglob(f"*{PARTIAL}"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime >= older:
                partial.unlink()


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
        repeated = [name for name in texts if name in repeat]
        return ParquetFile(path, metadata=metadata, read_dictionary=repeated)
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
    changes, nobody can tell it from a copy. The folder is for the caller to flush, once for all.
    """
    with _partial(path.parent, path.name) as partial:
        try:
            os.link(source, partial)
        except OSError:
            with source.open("rb") as content, partial.open("wb") as stream:
                shutil.copyfileobj(content, stream, BLOCK)
                _flush(stream)
        partial.replace(path)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def is_same(path: Path, other: Path) -> bool:
    """Whether two names are of one file."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def is_whole(path: Path, sha256: str, size: int) -> bool:
    """Whether a file is there and has this SHA-256 and size in bytes; a link to one is none.

    Raises:
        StoreError: if it is there and cannot be read
    """
    try:
        return has_size(path, size) and file_sha256(path) == sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def has_size(path: Path, size: int) -> bool:
    """Whether a file is there and has this size in bytes; a link to one is none.

    Raises:
        StoreError: if that cannot be seen
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error
    return S_ISREG(status.st_mode) and status.st_size == size


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


def file_stamp(path: Path | str) -> Stamp | None:
    """Tells a file from another of its name, and from itself written over; None if it is gone.

    Returns:
        inode, size in bytes, and time of change
    """
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - asked of hundreds at each search
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def flush_folder(folder: Path) -> None:
    """Makes sure that the names in a folder outlive a power cut, where the system can.

    Raises:
        StoreError: if the disk fails
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _cannot_write(folder, error) from error


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Makes this process the one that writes to a folder; the lock ends with the process.

    Raises:
        StoreBusyError: if there is another; says which process, and on which machine
        StoreError: if the folder cannot be written
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    holder, lock = folder / HOLDER, FileLock(folder / LOCK)
    refuse_link(holder)
    refuse_link(folder / LOCK)
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


@contextmanager
def deleting(folder: Path, last: Callable[[], Sequence[Path]] = tuple) -> Iterator[None]:
    """Deletes a folder after what is done inside; nobody writes to it meanwhile.

    Args:
        folder: that writers lock; if it is not there, nothing is deleted
        last (tuple): gives the files by which it is found, so that one whose deletion was cut off
            can be deleted again

    Raises:
        StoreBusyError: if it is being written; then nothing is done
    """
    if not folder.is_dir():
        yield
        return
    with writer_lock(folder):
        yield
        index_files, own = list(last()), [folder / HOLDER, folder / LOCK]
        first = [path for path in folder.iterdir() if path not in (*index_files, *own)]
        # The lock's file goes while it is held: whoever waits for it sees that it has no name any
        # more, and makes another.
        for path in (*first, *index_files, *own):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
    with suppress(OSError):
        folder.rmdir()


def folder_in_environment(variable: str) -> Path | None:
    """The folder that an environment variable names, absolute; None if it names none.

    Raises:
        StoreError: if it begins with the home of a user that there is not
    """
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser().absolute() if named else None
    except RuntimeError as error:
        raise StoreError(f"{variable} is {named!r}: there is no such home folder") from error


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


def malformed(where: object, name: str, value: object) -> DamagedError:
    """Says that something was read that nobody wrote here."""
    return DamagedError(f"{where} is not what is written here: {name} is {brief(value)}")


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


def _checksum(name: str, content: Mapping[str, Any]) -> str:
    """The file's name is part of it: a manifest under the name of another version is damaged."""
    return hashlib.sha256(json.dumps([name, content], sort_keys=True).encode()).hexdigest()


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
