"""Pictures that are not on this machine: on object stores and web servers, by fsspec.

Addresses are those of fsspec, as ``s3://bucket/1.jpg``; so are the ways to name credentials, which
are never part of an address: it is written into stores. Of one that is signed, messages leave the
signature out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

MOST_BYTES = 1 << 30
"""Of one picture: a file of a GiB is none, and must not fill the memory."""

REMEMBERED_BYTES = 256 << 20
"""Of pictures that were read last: the App draws several crops of one, one after the other."""

_VERSION = (
    "size", "ETag", "etag", "LastModified", "last_modified", "Last-Modified", "mtime", "created"
)  # fmt: skip
"""What file systems call it that tells a file from the one before."""

_NEEDS = 'pip install "alphaclip-fiftyone[remote]"'

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_USER = re.compile(r"\b(?!(?:abfs|wasb)s?:)([a-z][a-z0-9+.-]+://)[^/\s?#]*@", re.IGNORECASE)
"""Who reads an address, and with which password; in Azure's, a container stands before the @."""

_SIGNED = re.compile(
    r"(?<=[?&])([^=&\s]*(?:auth|cred|key|pass|policy|secret|sig|token)[^=&\s]*=)[^&\s'\"]+",
    re.IGNORECASE,
)
"""Names of the parameters by which an address is signed, and their values."""


class RemoteError(OSError):
    """A picture cannot be had from where it is; says why, and names no address."""


def is_remote(path: object) -> bool:
    """Whether a path is an address: it names a protocol."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def read_remote(address: str, anew: bool = False) -> bytes:
    """The content of a picture; what was read lately is remembered, up to a limit.

    Args:
        address: of the picture
        anew (False): read it again, as it may be another now

    Raises:
        FileNotFoundError: if it is missing
        RemoteError: if it is too large or out of reach, its protocol needs a package, or the
            address has credentials in it
    """
    content = None if anew else _read_lately.get(address)
    if content is None:
        files, path = _files_of(address)
        content = _asked(lambda: _read(files, path))
        _read_lately.add(address, content)
    return content


def remote_version(address: str) -> str:
    """What changes when a picture is written again: its size, time and tag. What is read of it
    after that is of this version or a later one.

    Raises:
        FileNotFoundError, RemoteError: as :func:`read_remote`
    """
    files, path = _files_of(address)
    about = _asked(lambda: files.info(path))
    _read_lately.drop(address)
    return " ".join(f"{about[name]}" for name in _VERSION if about.get(name) is not None)


def without_credentials(text: str) -> str:
    """A text with addresses, or one of them, as messages show it."""
    return _SIGNED.sub(r"\1...", _USER.sub(r"\1", text))


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

    def drop(self, address: str) -> None:
        with self._lock:
            self._contents.pop(address, None)


_read_lately = _Lately()


def _files_of(address: str) -> tuple[Any, str]:
    if _USER.search(address):
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
    except RemoteError:
        raise
    except ImportError as error:
        raise RemoteError(f"{error}; {_NEEDS}") from error
    except Exception as error:
        # A web server that refuses, or does not answer, has no such file either, fsspec says
        cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
        if cause is None or getattr(cause, "status", None) == 404:
            raise
        reason = without_credentials(f"{type(cause).__name__}: {cause}")
        raise RemoteError(
            f"cannot be read ({reason:.200}): check address, network and credentials"
        ) from error
