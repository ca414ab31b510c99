"""Downloads that are checked, can be ended, and go on; from a server of the test's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.weights.base_weights import download_base, find_base
from alphaclip.weights.downloads import download

CONTENT = bytes(range(256)) * 16_000
"""Four blocks, about."""

SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPOSITORY = "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"
FILE = "open_clip_model.safetensors"


class Hub(BaseHTTPRequestHandler):
    """A file, or the rest of one, with the headers that the Hugging Face hub gives.

    Args:
        log: gets the range that each request asks for
        gives_parts: whether it answers with the rest
        breaks_at: the byte after which it hangs up
    """

    def __init__(self, log: list[str], gives_parts: bool, breaks_at: int, *args: object) -> None:
        self.log, self.gives_parts, self.breaks_at = log, gives_parts, breaks_at
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        asked = self.headers.get("Range") or ""
        self.log.append(asked)
        start = int(asked[6:-1]) if asked and self.gives_parts else 0
        self._answer(start)
        self.wfile.write(CONTENT[start : self.breaks_at])

    def _answer(self, start: int = 0) -> None:
        found = self.path in ("/weights.bin", f"/{REPOSITORY}/resolve/main/{FILE}")
        self.send_response(404 if not found else 206 if start else 200)
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", f'"{SHA256}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def address(request: pytest.FixtureRequest, log: list[str]) -> Iterator[str]:
    """Of the server; its parameter is what :class:`Hub` is given."""
    gives_parts, breaks_at = getattr(request, "param", (True, len(CONTENT)))
    handler = partial(Hub, log, gives_parts, breaks_at)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Ended(AlphaClipError):
    """What a Stop button raises."""


def end(what: str, done: int, total: int) -> None:
    raise Ended(f"at {done} of {total} {what}")


@pytest.mark.parametrize("address", [(True, len(CONTENT)), (False, len(CONTENT))], indirect=True)
def test_download__goes_on_where_it_was_ended(address: str, log: list[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.bin"
    with pytest.raises(Ended, match=r"at 2 of 5 MB of weights\.bin"):
        download(f"{address}/weights.bin", path, len(CONTENT), SHA256, end)
    assert not path.exists()
    told: list[int] = []
    tell = lambda what, done, total: told.append(done)  # noqa: E731
    download(f"{address}/weights.bin", path, len(CONTENT), SHA256, tell)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert log == ["", f"bytes={1 << 20}-"]
    assert told[-1] == 5
    download("http://127.0.0.1:9/not-asked-again", path, len(CONTENT), SHA256)


@pytest.mark.parametrize("address", [(True, 1_500_000)], indirect=True)
def test_download__says_that_it_was_cut_off(address: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with pytest.raises(CheckpointError, match="cut off after 1,500,000 of 4,096,000"):
        download(f"{address}/weights.bin", path, len(CONTENT), SHA256)
    assert not path.exists()


def test_download__what_was_published_is_another_file(address: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing was kept"):
        download(f"{address}/weights.bin", tmp_path / "file", len(CONTENT), "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_download__no_room(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="free some"):
        download("http://127.0.0.1:9/file", tmp_path / "file", 1 << 60, SHA256)


def test_download__another_process_is_at_it(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "file.lock"),
        pytest.raises(CheckpointError, match="by another process"),
    ):
        download("http://127.0.0.1:9/file", tmp_path / "file", 10, SHA256)


@pytest.fixture
def hub(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache; the hub itself is the test's server."""
    from huggingface_hub import constants

    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_download_base__goes_on_and_is_found_in_the_hubs_cache(hub: Path, log: list[str]) -> None:
    model = "ViT-B-16", "datacomp_xl_s13b_b90k"
    with pytest.raises(Ended, match=f"MB of {REPOSITORY}"):
        download_base(*model, end)
    assert find_base(*model) is None
    path = download_base(*model, lambda *counts: None)
    assert path == find_base(*model)
    assert path.is_relative_to(hub)
    assert path.read_bytes() == CONTENT
    assert log[0] == ""
    assert log[-1] == f"bytes={1 << 20}-"


@pytest.mark.parametrize("address", [(True, 1000)], indirect=True)
def test_download_base__says_how_else_to_get_it(hub: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"cut off.*hf download laion"):
        download_base("ViT-B-16", "datacomp_xl_s13b_b90k", lambda *counts: None)
