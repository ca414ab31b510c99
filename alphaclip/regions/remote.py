"""Pictures that are not on this machine: on object stores and web servers, by fsspec.

Addresses are those of fsspec, as ``s3://bucket/1.jpg``; so are the ways to name credentials, which
are never part of an address: it is written into stores and messages.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from alphaclip.errors import ImageError

MOST_BYTES = 1 << 30
"""Of one picture: a file of a GiB is none, and must not fill the memory."""

REMEMBERED_BYTES = 256 << 20
"""Of pictures that were read last: the App draws several crops of one, one after the other."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_remote(path: object) -> bool:
    """Whether a path is an address: it names a protocol."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def read_remote(address: str) -> bytes:
    """The content of a picture; what was read lately is remembered, up to a limit.

    Raises:
        ImageError: if it is missing, too large or out of reach, its protocol needs a package, or
            the address has credentials in it; names it
    """
    content = _read_lately.get(address)
    if content is None:
        files, path = _files_of(address)
        content = _asked(address, lambda: _read(files, path, address))
        _read_lately.add(address, content)
    return content


def remote_version(address: str) -> str | None:
    """What changes when a picture is written again: size, time and tag; None if it is not there.

    Raises:
        ImageError: if it is out of reach, or as :func:`read_remote`
    """
    files, path = _files_of(address)
    try:
        about = _asked(address, lambda: files.info(path))
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    names = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created")
    return " ".join(f"{about[name]}" for name in names if about.get(name) is not None)


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
        protocol = address.partition("://")[0]
        raise ImageError(
            f"a picture at {protocol}://... has credentials in its address: take them out, and "
            "name them in the environment"
        )
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImageError(f"{address}: {_NEEDS}") from error
    return _asked(address, lambda: url_to_fs(address))


_NEEDS = 'pictures elsewhere need fsspec: pip install "alphaclip-fiftyone[remote]"'


def _read(files: Any, path: str, address: str) -> bytes:
    with files.open(path, "rb") as file:
        content: bytes = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ImageError(f"{address} has more than {MOST_BYTES:,} bytes: it is no picture")
    return content


def _asked(address: str, ask: Any) -> Any:
    """What a file system answers; each has errors of its own."""
    try:
        return ask()
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{address}: no such file, or no server: check the address") from error
    except ImportError as error:
        raise ImageError(f"{address}: {error}; {_NEEDS}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ImageError(
            f"{address} cannot be read ({reason:.200}): check address, network and credentials"
        ) from error
