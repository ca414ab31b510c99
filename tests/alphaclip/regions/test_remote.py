"""Pictures at addresses: of a file system in memory, and of a web server of this machine."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

import alphaclip
from alphaclip.errors import ImageError
from alphaclip.regions import remote
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

PIXELS = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture(params=["memory", "http"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a folder with a picture, and a file that is none."""
    Image.fromarray(PIXELS).save(tmp_path / "1.png")
    (tmp_path / "text.png").write_text("no picture")
    if request.param == "memory":
        files = fsspec.filesystem("memory")
        files.put(str(tmp_path), f"/{tmp_path.name}", recursive=True)
        yield f"memory://{tmp_path.name}"
        files.rm(f"/{tmp_path.name}", recursive=True)
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    server.requests = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_open__by_address(folder: str) -> None:
    assert np.array_equal(open_image(f"{folder}/1.png"), PIXELS)


def test_open__what_is_wrong(folder: str) -> None:
    with pytest.raises(ImageError, match=r"2\.png: no such file: check the path"):
        open_image(f"{folder}/2.png")
    with pytest.raises(ImageError, match=r"text\.png: not a picture"):
        open_image(f"{folder}/text.png")


def test_version__of_what_is_there(folder: str, tmp_path: Path) -> None:
    before = remote.remote_version(f"{folder}/1.png")
    if folder.startswith("http"):  # whose servers seldom have tags
        os.utime(tmp_path / "1.png", (0, 0))
        assert remote.remote_version(f"{folder}/1.png") != before
    with pytest.raises(FileNotFoundError):
        remote.remote_version(f"{folder}/2.png")


def test_encode__a_region_at_an_address(folder: str, tmp_path: Path) -> None:
    encoder, regions = alphaclip.load("alphaclip-nano"), [Region.from_box([0.1, 0.1, 0.5, 0.5])]
    here = encoder.encode_regions(str(tmp_path / "1.png"), regions)
    assert np.array_equal(encoder.encode_regions(f"{folder}/1.png", regions), here)


def test_read__remembers_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "REMEMBERED_BYTES", 10)
    monkeypatch.setattr(remote, "_read_lately", remote._Lately())
    files = fsspec.filesystem("memory")
    for name in "abc":
        files.pipe(f"/lately/{name}", name.encode() * 4)
        remote.read_remote(f"memory://lately/{name}")
    files.rm("/lately", recursive=True)
    assert remote.read_remote("memory://lately/c") == b"cccc"
    with pytest.raises(FileNotFoundError):
        remote.read_remote("memory://lately/a")


def test_read__anew_once_its_version_was_asked_for() -> None:
    files, address = fsspec.filesystem("memory"), "memory://changed"
    files.pipe("/changed", b"before")
    assert remote.read_remote(address) == b"before"
    files.pipe("/changed", b"after")
    assert remote.read_remote(address) == b"before"
    assert remote.read_remote(address, anew=True) == b"after"
    files.pipe("/changed", b"later")
    remote.remote_version(address)
    assert remote.read_remote(address) == b"later"


def test_read__no_file_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MOST_BYTES", 3)
    fsspec.filesystem("memory").pipe("/large", b"1234")
    with pytest.raises(remote.RemoteError, match="more than 3 bytes"):
        remote.read_remote("memory://large")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://key:secret@bucket/1.jpg", "s3://bucket/1.jpg: its address has credentials"),
        ("nosuch://bucket/1.jpg", "nosuch://bucket/1.jpg: cannot be read"),
        (
            "http://127.0.0.1:1/1.jpg?n=7&X-Sig=secret",
            r"1.jpg\?n=7&X-Sig=...: cannot be read .*Conn",
        ),
        ("http://[v/1.jpg", "cannot be read"),
        ("abfs://container@account.dfs.core.windows.net/1.jpg", "adlfs"),
    ],
)
def test_read__refuses(address: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        open_image(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["/data/1.jpg", "C:\\1.jpg", "1.jpg", "a:b", b"s3://b", None])
def test_is_remote__not_of_files(path: object) -> None:
    assert not remote.is_remote(path)
