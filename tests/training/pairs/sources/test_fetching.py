"""Fetching pictures: what comes, what does not and why, and that nothing is asked for twice."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.format.records import Skipped
from alphaclip.training.pairs.sources import http_client
from alphaclip.training.pairs.sources.fetching import PictureFile, PictureStore
from alphaclip.training.pairs.sources.http_client import FetchFailure, FetchSettings, get

from .picture_server import PictureServer, picture

LOCAL = FetchSettings(
    timeout=60, most_seconds=60, most_bytes=500_000, most_pixels=50_000, allow_private=True
)
HASTY = replace(LOCAL, timeout=0.5, most_seconds=1)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def server() -> Iterator[PictureServer]:
    with PictureServer().running() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path / "cache", LOCAL)


def test_open__the_file_as_it_was(server: PictureServer, store: PictureStore) -> None:
    assert store.open(f"{server.url}/good.jpg") == PictureFile(picture(1), "jpg")
    assert store.open(f"{server.url}/good.png") == PictureFile(picture(2, "PNG"), "png")
    assert store.open(f"{server.url}/to-good") == PictureFile(picture(1), "jpg")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing-here", "missing (404)"),
        ("huge", "too large"),
        ("endless", "too large"),
        ("cut", "broken off"),
        ("page", "not a picture"),
        ("half", "damaged picture"),
        ("gif", "another format"),
        ("many-pixels", "too large"),
        ("to-file", "redirected elsewhere than http(s)"),
        ("to-ftp", "redirected elsewhere than http(s)"),
        ("to-itself", "redirected elsewhere than http(s)"),
        ("forbidden", "not allowed"),
        ("error", "server error"),
        ("no-ai", "its site refuses"),
    ],
)
def test_open__what_goes_wrong_has_a_reason(
    server: PictureServer, store: PictureStore, path: str, reason: str
) -> None:
    found = store.open(f"{server.url}/{path}")
    assert isinstance(found, Skipped)
    assert found.reason == reason
    assert path in found.detail


@pytest.mark.parametrize("path", ["slow", "drip"])
def test_open__slow_servers_are_given_up(server: PictureServer, tmp_path: Path, path: str) -> None:
    found = PictureStore(tmp_path, HASTY).open(f"{server.url}/{path}")
    assert isinstance(found, Skipped)
    assert found.reason == "timed out"


@pytest.mark.parametrize(
    "place",
    ["file:///etc/hostname", "ftp://example.org/a.jpg", "http://", "http://[::1", "gopher://x/y"],
)
def test_open__other_addresses_are_not_even_tried(store: PictureStore, place: str) -> None:
    found = store.open(place)
    assert isinstance(found, Skipped)
    assert found.reason == "not an http(s) address"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0"])
def test_get__private_addresses_are_refused(server: PictureServer, host: str) -> None:
    port, before = server.url.rpartition(":")[2], len(server.requests)
    with pytest.raises(FetchFailure) as caught:
        get(f"http://{host}:{port}/good.jpg", replace(LOCAL, allow_private=False))
    assert caught.value.reason in ("private address", "no connection")
    assert len(server.requests) == before


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_is_public__by_address(address: str, public: bool) -> None:
    assert http_client._is_public(address) == public


def test_get__a_name_is_looked_up_once_and_the_checked_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int, **_: object) -> list:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(place: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(place)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    for scheme, port in (("http", 80), ("https", 443)):
        answers = iter(["93.184.216.34", "127.0.0.1"])
        with pytest.raises(FetchFailure, match="no connection"):
            get(f"{scheme}://changing.example/a.jpg", FetchSettings())
        assert asked.pop() == ("93.184.216.34", port)


def test_get__no_connection_is_said(store: PictureStore) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = store.open(f"http://127.0.0.1:{port}/a.jpg")
    assert isinstance(found, Skipped)
    assert found.reason == "no connection"


def test_open_all__in_order_and_never_twice(server: PictureServer, tmp_path: Path) -> None:
    server.pictures |= {f"/n{n}.jpg": picture(n) for n in range(40)}
    places = [f"{server.url}/n{n}.jpg" if n % 3 else f"{server.url}/gone{n}" for n in range(40)]
    first = PictureStore(tmp_path, LOCAL)
    found = list(first.open_all(places))
    assert first.fetched == 40
    for number, made in enumerate(found):
        if number % 3:
            assert made == PictureFile(picture(number), "jpg")
        else:
            assert isinstance(made, Skipped)
            assert made.reason == "missing (404)"
    before = len(server.requests)
    second = PictureStore(tmp_path, LOCAL)
    assert list(second.open_all(places)) == found
    assert second.fetched == 0
    assert len(server.requests) == before


def test_open__retry_asks_again_only_where_it_may_help(
    server: PictureServer, tmp_path: Path
) -> None:
    places = [f"{server.url}/error", f"{server.url}/gone-for-good"]
    list(PictureStore(tmp_path, LOCAL).open_all(places))
    again = PictureStore(tmp_path, replace(LOCAL, retry=True))
    assert [made.reason for made in again.open_all(places) if isinstance(made, Skipped)] == [
        "server error",
        "missing (404)",
    ]
    assert again.fetched == 1


def test_open__damaged_cache_is_fetched_again(server: PictureServer, tmp_path: Path) -> None:
    PictureStore(tmp_path, LOCAL).open(f"{server.url}/missing")
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text("{")
    again = PictureStore(tmp_path, LOCAL)
    assert isinstance(again.open(f"{server.url}/missing"), Skipped)
    assert again.fetched == 1


def test_open__paths_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "out.jpg").write_bytes(picture(2))
    (tmp_path / "in" / "b.jpg").write_bytes(b"nothing")
    store = PictureStore(tmp_path / "cache", root=tmp_path / "in")
    assert store.open("a.jpg") == PictureFile(picture(1), "jpg")
    reasons = [store.open(place) for place in ("../out.jpg", "/etc/hostname", "b.jpg", "c.jpg")]
    assert [made.reason for made in reasons if isinstance(made, Skipped)] == [
        "path outside the folder",
        "path outside the folder",
        "not a picture",
        "missing",
    ]
    assert isinstance(PictureStore(tmp_path / "cache").open("a.jpg"), Skipped)


def test_settings__out_of_range() -> None:
    with pytest.raises(AlphaClipError, match="timeout is 0"):
        FetchSettings(timeout=0)
