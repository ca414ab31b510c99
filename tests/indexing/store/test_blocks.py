"""What is read of large files is compared with their checksums, each time."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from alphaclip.files import DamagedError, StoreError
from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.exact import ExactIndex
from alphaclip.indexing.nearest.metrics import Metric
from alphaclip.indexing.store import segments
from alphaclip.indexing.store.blocks import CheckedArray
from alphaclip.indexing.store.segments import RowIds
from alphaclip.indexing.store.store import StoreVersion, open_store, writing

ROWS = 600
SHAPES = {"rows in a block": (40, np.float16), "a block each": (300, np.float32)}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A store of two segments, all tables with them; a row of the first is dropped."""
    monkeypatch.setattr(segments, "LARGE", 0)
    dim, dtype = request.param
    vectors = np.random.default_rng(0).standard_normal((ROWS, dim), np.float32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)
    with writing(tmp_path) as writer:
        parts = []
        for some in (np.arange(500), np.arange(500, ROWS)):
            ids = RowIds.of([f"s{row // 3:05d}" for row in some], [f"ü{row:05d}" for row in some])
            parts.append(writer.add([vectors[some]], ids, dim, dtype))
        parts[0] = parts[0].keeping(np.arange(500) != 7)
        writer.publish(parts, dim, np.dtype(dtype), {"field": "fälder", "metric": "cosine"})
    return tmp_path


@contextmanager
def flipped(path: Path, byte: int, bit: int) -> Iterator[None]:
    """A file of which a bit is another, and nothing that the system says of it."""

    def flip() -> None:
        times = path.stat()
        with path.open("r+b") as file:
            file.seek(byte)
            value = file.read(1)[0]
            file.seek(byte)
            file.write(bytes([value ^ 1 << bit]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    flip()
    yield
    flip()


def answers(version: StoreVersion, query: np.ndarray) -> list[list]:
    """What is read of a version in each of its ways."""
    rows = np.array([3, 598, 250, 12])
    top = [column.tolist() for column in scan_top(version.table, query, 5, "cosine")]
    ids = [getattr(version.ids_of(rows), name).tolist() for name in ("sample_ids", "fingerprints")]
    return [version.table.take(rows).tolist(), *top, *ids, version.ids.keys.tolist()]


@pytest.mark.parametrize("opened", [False, True], ids=["before it is opened", "after"])
def test_flips(folder: Path, opened: bool) -> None:
    rng = random.Random(0)
    whole = open_store(folder)
    query = whole.table.take(np.array([100])).astype(np.float32)
    right, named = answers(whole, query), 0
    files = sorted(path for path in folder.rglob("data/*"))
    assert len(files) == 2 * 5 + 1
    for path in rng.choices(files, k=150):
        version = open_store(folder)
        with flipped(path, rng.randrange(path.stat().st_size), rng.randrange(8)):
            try:
                found = answers(version if opened else open_store(folder), query)
            except DamagedError as error:
                assert path.name in str(error)
                named += 1
            else:
                assert found == right
    assert 10 < named < 140


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_flips__of_what_a_search_reads(folder: Path, metric: Metric) -> None:
    """Of each row, under one opened index."""
    version = open_store(folder)
    engine = ExactIndex(version.table, metric)
    query = version.table.take(np.array([100])).astype(np.float32)
    engine.search(query, 5)
    first = version.segments[0]
    size, path = first.vectors.dtype.itemsize * version.dim, folder / first.name
    with flipped(path, path.stat().st_size - size * (500 - 101), 6):
        with pytest.raises(DamagedError, match=path.name):
            version.table.take(np.array([100]))
        with pytest.raises(DamagedError, match=path.name):
            scan_top(version.table, query, 5, metric)
        assert version.table.take(np.array([390])).shape == (1, version.dim)
    scan_top(version.table, query, 5, metric)


def test_writers_look_at_every_byte(folder: Path) -> None:
    version = open_store(folder)
    path = folder / version.segments[1].entry["vectors"]["file"]
    with flipped(path, path.stat().st_size - 1, 0):
        assert len(open_store(folder)) == ROWS - 1
        with pytest.raises(DamagedError, match=path.name):
            open_store(folder, whole=True)
        with pytest.raises(DamagedError, match=path.name), writing(folder):
            pass
        with writing(folder, mend=True) as writer:
            assert writer.base is not None and len(writer.base) == 499


@pytest.mark.parametrize("what", ["ids", "blocks of ids", "blocks of vectors"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_tables_that_are_damaged(
    folder: Path, what: str, damage: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost but time, and a writer that mends writes them again."""
    version = open_store(folder)
    query = version.table.take(np.array([100])).astype(np.float32)
    right, entry = answers(version, query), version.segments[0].entry
    file = entry[what.split()[-1]]
    path = folder / (file["blocks"] if what.startswith("blocks") else file)["file"]
    damage(path)
    assert answers(open_store(folder), query) == right
    with pytest.raises(DamagedError, match=path.name):
        open_store(folder, whole=True)
    with writing(folder, mend=True) as writer:
        assert writer.base is not None and writer.base.segments[0].entry == entry
    assert answers(open_store(folder, whole=True), query) == right


def test_version_that_is_cleared_away__is_read_on(folder: Path) -> None:
    version = open_store(folder)
    for path in folder.rglob("data/*"):
        path.unlink()
    assert len(version.ids_of(np.array([5])).keys) == len(version.table.take(np.array([5]))) == 1
    assert len(version.ids.keys) == ROWS - 1


def test_small_segments_have_no_tables(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        ids = RowIds.of(["a", "b"])
        made = writer.publish([writer.add([np.eye(2)], ids, 2, np.float32)], 2, np.dtype("f4"), {})
    assert [*made.segments[0].entry] == ["count", "vectors", "rows"]
    assert "blocks" not in made.segments[0].entry["vectors"]
    assert isinstance(made.segments[0].vectors, CheckedArray)
    path = tmp_path / made.segments[0].name
    with flipped(path, path.stat().st_size - 1, 0), pytest.raises(DamagedError, match=path.name):
        made.table.take(np.array([1]))


def test_flips_of_a_header(folder: Path) -> None:
    """Which has no checksum: what it says is what the manifest says."""
    version = open_store(folder)
    query = version.table.take(np.array([100])).astype(np.float32)
    right, entry = answers(version, query), version.segments[0].entry
    for kind in ("vectors", "ids"):
        path = folder / entry[kind]["file"]
        for bit in range(0, 8 * 120, 3):
            with flipped(path, bit // 8, bit % 8):
                try:
                    found = answers(open_store(folder), query)
                except DamagedError as error:
                    assert path.name in str(error)
                else:
                    assert found == right


def test_tables_that_are_damaged__and_the_disk_is_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only for speed takes no vectors with it."""

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    version = open_store(folder)
    (folder / version.segments[0].entry["ids"]["file"]).unlink()
    monkeypatch.setattr(segments, "write_by_hash", full)
    with writing(folder, mend=True) as writer:
        assert writer.base is not None and len(writer.base) == ROWS - 1
        assert "ids" not in writer.base.segments[0].entry
        assert writer.base.ids.keys.tolist() == version.ids.keys.tolist()
