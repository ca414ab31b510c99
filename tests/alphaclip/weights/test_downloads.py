"""Downloads that are checked, can be ended, and go on; from a server of the test's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.weights.base_weights import download_base, find_base
from alphaclip.weights.downloads import download
from tests.alphaclip.hub_server import Site, serve, use_hub

CONTENT = bytes(range(256)) * 16_000
"""Four blocks, about."""

SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPOSITORY = "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"
FILE = "open_clip_model.safetensors"


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    """Its parameter is what it does other than it should."""
    files = {REPOSITORY: {FILE: CONTENT}, "weights/of": {"weights.bin": CONTENT}}
    return Site(files, **getattr(request, "param", {}))


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    with serve(site) as address:
        yield f"{address}/weights/of/resolve/main"


class Ended(AlphaClipError):
    """What a Stop button raises."""


def end(what: str, done: int, total: int) -> None:
    raise Ended(f"at {done} of {total} {what}")


@pytest.mark.parametrize("site", [{}, {"gives_parts": False}], indirect=True)
def test_download__goes_on_where_it_was_ended(address: str, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.bin"
    with pytest.raises(Ended, match=r"at 2 of 5 MB of weights\.bin"):
        download(f"{address}/weights.bin", path, len(CONTENT), SHA256, end)
    assert not path.exists()
    told: list[int] = []
    tell = lambda what, done, total: told.append(done)  # noqa: E731
    download(f"{address}/weights.bin", path, len(CONTENT), SHA256, tell)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert site.log == ["weights.bin", f"weights.bin bytes={1 << 20}-"]
    assert told[-1] == 5
    download("http://127.0.0.1:9/not-asked-again", path, len(CONTENT), SHA256)


@pytest.mark.parametrize("site", [{"breaks_at": 1_500_000}], indirect=True)
def test_download__says_that_it_was_cut_off(address: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with pytest.raises(CheckpointError, match="cut off after 1,500,000 of 4,096,000"):
        download(f"{address}/weights.bin", path, len(CONTENT), SHA256)
    assert not path.exists()


def test_download__what_was_published_is_another_file(address: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing was kept"):
        download(f"{address}/weights.bin", tmp_path / "file", len(CONTENT), "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_download__names_no_signature(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"http://127.0.0.1:9/file cannot be had") as caught:
        download("http://127.0.0.1:9/file?Signature=secret", tmp_path / "file", 10, SHA256)
    assert "secret" not in str(caught.value)


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
def hub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub's cache; the hub itself is the test's server."""
    with serve(site) as address:
        use_hub(address, tmp_path / "hub", monkeypatch)
        yield tmp_path / "hub"


def test_download_base__goes_on_and_is_found_in_the_hubs_cache(hub: Path, site: Site) -> None:
    model = "ViT-B-16", "datacomp_xl_s13b_b90k"
    with pytest.raises(Ended, match=f"MB of {REPOSITORY}"):
        download_base(*model, end)
    assert find_base(*model) is None
    path = download_base(*model)
    assert path == find_base(*model)
    assert path.is_relative_to(hub)
    assert path.read_bytes() == CONTENT
    assert site.log == [FILE, f"{FILE} bytes={1 << 20}-"]


@pytest.mark.parametrize("site", [{"breaks_at": 1000}], indirect=True)
def test_download_base__says_how_else_to_get_it(hub: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"cut off.*hf download laion"):
        download_base("ViT-B-16", "datacomp_xl_s13b_b90k")
