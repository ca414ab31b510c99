"""Pictures that are not on this machine: on object stores and web servers, by fsspec.

Addresses are those of fsspec, as ``s3://bucket/1.jpg``; so are the ways to name credentials, which
are never part of an address: it is written into stores and messages.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 1 << 30
"""Of one picture: a file of a GiB is none, and must not fill the memory."""

REMEMBERED_BYTES = 256 << 20
"""Of pictures that were read last: the App draws several crops of one, one after the other."""

_NEEDS = 'pip install "alphaclip-fiftyone[remote]"'

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class RemoteError(OSError):
    """A picture cannot be had from where it is; says why, and names no address."""


def is_remote(path: object) -> bool:
    """Whether a path is an address: it names a protocol."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def read_remote(address: str) -> bytes:
    """The content of a picture; what was read lately is remembered, up to a limit.

    Raises:
        FileNotFoundError: if it is missing
        RemoteError: if it is too large or out of reach, its protocol needs a package, or the
            address has credentials in it
    """
    content = _read_lately.get(address)
    if content is None:
        files, path = _files_of(address)
        content = _asked(lambda: _read(files, path))
        _read_lately.add(address, content)
    return content


def remote_version(address: str) -> str:
    """What changes when a picture is written again: its size, time and tag.

    Raises:
        FileNotFoundError, RemoteError: as :func:`read_remote`
    """
    files, path = _files_of(address)
    about = _asked(lambda: files.info(path))
    names = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created")
    return " ".join(f"{about[name]}" for name in names if about.get(name) is not None)


def without_credentials(address: str) -> str:
    """An address as messages name it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Lately:
    """Contents by address; those that were used longest ago go first."""

    def __init__(self) -> None:
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, address: str) -> bytes | None:
        with self._lock:
            if address in self._contents:
                self._contents.move_to_end(address)
            return self._contents.get(address)

    def add(self, address: str, content: bytes) -> None:
        with self._lock:
            self._contents[address] = content
            while sum(map(len, self._contents.values())) > REMEMBERED_BYTES:
                self._contents.popitem(last=False)


_read_lately = _Lately()


def _files_of(address: str) -> tuple[Any, str]:
    if "@" in urlsplit(address).netloc:
        raise RemoteError(
            "its address has credentials: take them out, and name them in the environment"
        )
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise RemoteError(f"pictures elsewhere need fsspec: {_NEEDS}") from error
    return _asked(lambda: url_to_fs(address))


def _read(files: Any, path: str) -> bytes:
    with files.open(path, "rb") as file:
        content: bytes = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RemoteError(f"it has more than {MOST_BYTES:,} bytes: it is no picture")
    return content


def _asked(ask: Callable[[], Any]) -> Any:
    """What a file system answers; each has errors of its own."""
    try:
        return ask()
    except (FileNotFoundError, RemoteError):
        raise
    except ImportError as error:
        raise RemoteError(f"{error}; {_NEEDS}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RemoteError(
            f"cannot be read ({reason:.200}): check address, network and credentials"
        ) from error
