"""Files of weights from the internet, of known size and SHA-256; what was cut off goes on."""

from __future__ import annotations

import math
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from alphaclip.errors import CheckpointError
from alphaclip.files import BLOCK, file_sha256, is_whole, make_folder

Progress = Callable[[str, int, int], None]
"""Called with what is counted, how much is done, and how much there is; what it raises ends the
download, which goes on when it is asked for again."""

SUFFIX = ".download"
"""Of a file that is not here in full."""

_TIMEOUT = 60
"""Seconds without an answer after which a download is given up."""

_MB = 1_000_000


def download(
    url: str,
    path: Path,
    size: int,
    sha256: str,
    progress: Progress | None = None,
    name: str = "",
    rooms: float = 1.1,
) -> None:
    """Downloads a file, or what is missing of it, and no more bytes than it has.

    Args:
        url: of the file
        path: where it is once it is here in full
        size: in bytes
        sha256: in hexadecimal digits
        progress (None): told how many MB are here; what it raises ends the download, which goes on
            when it is asked for again. None shows a bar in the terminal
        name (""): of the file, where its path does not say it
        rooms: how many times its size is to be free on the disk

    Raises:
        CheckpointError: there is no room, another process downloads it, it cannot be had, or it is
            not what was published; says what to do
    """
    from filelock import FileLock, Timeout

    if is_whole(path, sha256, size):
        return
    make_folder(path.parent)
    name = name or path.name
    part = path.with_name(f"{path.name}{SUFFIX}")
    lock = part.with_suffix(".lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                _check_room(part, name, size, rooms)
                with _shown(progress, name, size) as show:
                    _fetch(url, part, size, show, name)
                _check(url, part, size, sha256)
                part.replace(path)
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        told = f"{name} is being downloaded by another process: wait until it is done"
        raise CheckpointError(told) from error


@contextmanager
def _shown(progress: Progress | None, name: str, size: int) -> Iterator[Progress]:
    if progress is not None:
        yield progress
        return
    with tqdm(desc=name, total=math.ceil(size / _MB), unit="MB") as bar:
        yield lambda what, done, total: bar.update(done - bar.n)


def _fetch(url: str, part: Path, size: int, progress: Progress, name: str) -> None:
    """Adds what is missing to a file; all of it again, where the server gives no parts."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        if done >= size:
            return
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as page, part.open("ab") as out:
            if done and page.status != 206:
                done = out.truncate(0)
            while done <= size and (block := page.read(BLOCK)):
                done += out.write(block)
                progress(f"MB of {name}", math.ceil(done / _MB), math.ceil(size / _MB))
    except (OSError, HTTPException) as error:
        raise CheckpointError(
            f"{_named(url)} cannot be had ({error}): try again, which goes on"
        ) from error


def _check(url: str, part: Path, size: int, sha256: str) -> None:
    done, digest = part.stat().st_size, file_sha256(part)
    if done < size:
        raise CheckpointError(
            f"{_named(url)} was cut off after {done:,} of {size:,} bytes: try again, which goes on"
        )
    if digest != sha256:
        part.unlink()
        raise CheckpointError(
            f"{_named(url)} gave {done:,} of {size:,} bytes with SHA-256 {digest}, published is "
            f"{sha256}: nothing was kept, try again"
        )


def _named(url: str) -> str:
    """As messages name it: the hub signs the addresses of its files."""
    return url.partition("?")[0]


def _check_room(part: Path, name: str, size: int, rooms: float) -> None:
    free = shutil.disk_usage(part.parent).free
    needed = rooms * size - (part.stat().st_size if part.is_file() else 0)
    if free < needed:
        raise CheckpointError(
            f"{part.parent} has room for {free / _MB:,.0f} MB, {name} needs "
            f"{math.ceil(needed / _MB):,}: free some, or keep weights elsewhere (ALPHACLIP_MODELS, "
            "HF_HOME)"
        )
