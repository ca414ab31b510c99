"""One picture from one http(s) address: bounded in time and size, never from private networks.

Redirects are followed to http(s) only. A name is looked up once, and the connection goes to an
address that was checked, so that a name which changes its address in between gains nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from alphaclip.errors import AlphaClipError

TEMPORARY = frozenset({"timed out", "no connection", "broken off", "server error"})
"""Reasons that may be gone at another time."""

_CHUNK = 1 << 16
_REFUSING = {"noai", "noimageai", "noindex", "noimageindex"}
"""What a site says in ``X-Robots-Tag`` that wants no training on its pictures."""


@dataclass(frozen=True)
class FetchSettings:
    """What is fetched, and how.

    Attributes:
        timeout: seconds without any answer
        most_seconds: for the whole of a picture
        most_bytes: of a picture's file
        most_pixels: of a picture
        threads: that fetch at a time
        allow_private: also local and private addresses, and through the environment's proxies,
            of which nobody can say here where they lead
        allow_refused: also pictures whose site refuses training, by ``X-Robots-Tag``
        retry: tries again what failed for a reason in :data:`TEMPORARY` in an earlier run
        user_agent: what servers are told
    """

    timeout: float = 10.0
    most_seconds: float = 60.0
    most_bytes: int = 30_000_000
    most_pixels: int = 50_000_000
    threads: int = 16
    allow_private: bool = False
    allow_refused: bool = False
    retry: bool = False
    user_agent: str = "alphaclip-fiftyone"

    def __post_init__(self) -> None:
        for name in ("timeout", "most_seconds", "most_bytes", "most_pixels", "threads"):
            if not getattr(self, name) > 0:
                raise AlphaClipError(f"{name} is {getattr(self, name)}: expected more than 0")


class FetchFailure(Exception):
    """A picture that cannot be had.

    Args:
        reason: a few words, the same for all of a kind
        detail: what was wrong this time
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def get(url: str, settings: FetchSettings) -> bytes:
    """Fetches what is at an address.

    Args:
        url: http or https
        settings: the limits

    Raises:
        FetchFailure: if it cannot be had, or breaks a limit
    """
    _check_scheme(url)
    deadline = time.monotonic() + settings.most_seconds
    try:
        request = Request(url, headers={"User-Agent": settings.user_agent})
        with _opener(settings).open(request, timeout=settings.timeout) as answer:
            return _read(answer, settings, deadline)
    except FetchFailure:
        raise
    except HTTPError as error:
        error.close()
        raise _http_failure(error) from error
    except URLError as error:
        raise _connection_failure(error.reason) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _connection_failure(error) from error


def _check_scheme(url: str, reason: str = "not an http(s) address") -> None:
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError as error:
        raise FetchFailure(reason, str(error)) from error
    if scheme not in ("http", "https") or not host:
        raise FetchFailure(reason, scheme)


def _opener(settings: FetchSettings) -> OpenerDirector:
    opener = OpenerDirector()
    handlers: list[Any] = [_Redirects(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()]
    if settings.allow_private:
        handlers += [ProxyHandler(), HTTPHandler(), HTTPSHandler()]
    else:
        handlers += [_PublicHandler(), _PublicTlsHandler()]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


class _Redirects(HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        _check_scheme(newurl, "redirected elsewhere than http(s)")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _PublicConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connect_public(self.host, self.port, self.timeout)


class _PublicTlsConnection(http.client.HTTPSConnection, _PublicConnection):
    """Wraps the socket of `_PublicConnection`, which is next in line."""


class _PublicHandler(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicConnection, req)


class _PublicTlsHandler(HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicTlsConnection, req, context=ssl.create_default_context())


def _connect_public(host: str, port: int, timeout: float | None) -> socket.socket:
    places = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    public = sorted(place for place in places if _is_public(place))
    if not public:
        raise FetchFailure("private address", f"{host} is {', '.join(sorted(places))}")
    failure: OSError | None = None
    for place in public:
        try:
            return socket.create_connection((place, port), timeout)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} cannot be reached")


def _is_public(place: str) -> bool:
    address = ipaddress.ip_address(place.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    checked = mapped or address
    return checked.is_global and not checked.is_multicast


def _read(answer: Any, settings: FetchSettings, deadline: float) -> bytes:
    said = {word.strip().lower() for word in answer.headers.get("X-Robots-Tag", "").split(",")}
    if said & _REFUSING and not settings.allow_refused:
        raise FetchFailure("its site refuses", f"X-Robots-Tag: {', '.join(sorted(said))}")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > settings.most_bytes:
        raise FetchFailure("too large", f"{length} bytes, the limit is {settings.most_bytes}")
    content = bytearray()
    while chunk := answer.read1(_CHUNK):
        content += chunk
        if len(content) > settings.most_bytes:
            raise FetchFailure("too large", f"more than {settings.most_bytes} bytes")
        if time.monotonic() > deadline:
            raise FetchFailure("timed out", f"not whole after {settings.most_seconds:g} seconds")
    if length.isdigit() and len(content) < int(length):
        raise FetchFailure("broken off", f"{len(content)} of {length} bytes")
    return bytes(content)


def _http_failure(error: HTTPError) -> FetchFailure:
    if error.code in (404, 410):
        return FetchFailure(f"missing ({error.code})")
    if error.code in (401, 403, 451):
        return FetchFailure("not allowed", str(error.code))
    if 300 <= error.code < 400:
        return FetchFailure("redirected elsewhere than http(s)", str(error.reason)[:200])
    if error.code == 429 or error.code >= 500:
        return FetchFailure("server error", str(error.code))
    return FetchFailure("refused by the server", str(error.code))


def _connection_failure(cause: Any) -> FetchFailure:
    detail = f"{type(cause).__name__}: {cause}"[:200]
    if isinstance(cause, TimeoutError):
        return FetchFailure("timed out", detail)
    if isinstance(cause, http.client.InvalidURL) or not isinstance(
        cause, (OSError, http.client.HTTPException)
    ):
        return FetchFailure("not an http(s) address", detail)
    if isinstance(cause, (http.client.IncompleteRead, ConnectionResetError)):
        return FetchFailure("broken off", detail)
    return FetchFailure("no connection", detail)
