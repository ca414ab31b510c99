"""Versions of a store: published, opened, joined, mended and cleared away."""

import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from alphaclip.files import PARTIAL, StoreError, write_atomically
from alphaclip.indexing.store import segments, store
from alphaclip.indexing.store.manifests import FORMAT, manifest_path, versions, write_manifest
from alphaclip.indexing.store.segments import RowIds, Segment
from alphaclip.indexing.store.store import (
    StoreVersion,
    StoreWriter,
    collect_garbage,
    open_store,
    writing,
)

DIM = 2
FLOAT32 = np.dtype(np.float32)


def piece(writer: StoreWriter, numbers: Iterable[int]) -> Segment:
    """Vectors that say what their ids say."""
    values = list(numbers)
    vectors = np.array([[number, 1] for number in values], np.float32).reshape(-1, DIM)
    return writer.add([vectors], RowIds.of([f"{number}" for number in values]), DIM, FLOAT32)


def publish(folder: Path, *pieces: Iterable[int], drop: Iterable[int] = ()) -> StoreVersion:
    """Adds pieces, and drops vectors by number."""
    with writing(folder) as writer:
        gone = [f"{number}".encode() for number in drop]
        old = writer.base.segments if writer.base else ()
        kept = [segment.keeping(~np.isin(segment.ids.keys, gone)) for segment in old]
        new = [piece(writer, numbers) for numbers in pieces]
        return writer.publish([*kept, *new], DIM, FLOAT32, {"name": "ä"})


def numbers_in(version: StoreVersion) -> list[int]:
    """Which vectors there are, checked against their ids and each way of reading them."""
    numbers = [int(key) for key in version.ids.keys]
    vectors = version.table.take(np.arange(len(version)))
    assert vectors[:, 0].tolist() == numbers
    blocks = np.concatenate(
        [*(vectors for _, vectors in version.table.blocks(3)), np.zeros((0, DIM), np.float32)]
    )
    assert np.array_equal(blocks, vectors)
    assert len(set(numbers)) == len(numbers) == len(version)
    return numbers


def test_publish_and_open(tmp_path: Path) -> None:
    published = publish(tmp_path, range(5))
    opened = open_store(tmp_path)
    assert numbers_in(published) == numbers_in(opened) == [0, 1, 2, 3, 4]
    assert (opened.number, opened.dim, opened.dtype) == (1, DIM, FLOAT32)
    assert opened.info == {"name": "ä"}
    publish(tmp_path, [9], drop=[1])
    assert numbers_in(open_store(tmp_path)) == [0, 2, 3, 4, 9]
    assert numbers_in(opened) == [0, 1, 2, 3, 4]


def test_no_vectors(tmp_path: Path) -> None:
    publish(tmp_path, range(3))
    publish(tmp_path, drop=range(3))
    opened = open_store(tmp_path)
    assert numbers_in(opened) == []
    assert opened.dim == DIM
    assert numbers_in(publish(tmp_path, [7])) == [7]
    assert len(publish(tmp_path / "other", []).segments) == 0


def test_known_versions_are_not_read_again(tmp_path: Path) -> None:
    first = publish(tmp_path, range(100))
    assert open_store(tmp_path, first) is first
    publish(tmp_path, [200], drop=[3])
    second = open_store(tmp_path, first)
    assert second.segments[0].vectors is first.segments[0].vectors
    assert numbers_in(second) == [*range(3), *range(4, 100), 200]
    assert numbers_in(first) == [*range(100)]
    assert open_store(tmp_path, second) is second


def test_same_vectors_of_other_rows(tmp_path: Path) -> None:
    """Two pieces share the file of their vectors."""
    with writing(tmp_path) as writer:
        vectors = np.ones((3, DIM), np.float32)
        pieces = [
            writer.add([vectors], RowIds.of([f"{name}{row}" for row in range(3)]), DIM, FLOAT32)
            for name in "ab"
        ]
        assert pieces[0].name == pieces[1].name
        monster = writer.publish(pieces[:1], DIM, FLOAT32, {})
        write_manifest(
            tmp_path,
            {
                "format": FORMAT,
                "version": 2,
                "dim": DIM,
                "dtype": "float32",
                "segments": [each.entry for each in reversed(pieces)],
                "info": {},
            },
        )
        writer.add([vectors], pieces[1].ids, DIM, FLOAT32)
    both = open_store(tmp_path, monster)
    assert both.ids.keys.tolist() == [b"b0", b"b1", b"b2", b"a0", b"a1", b"a2"]


def test_pieces_stay_few_and_nothing_is_lost(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    there: set[int] = set()
    for turn in range(40):
        new = range(100 * turn, 100 * turn + int(rng.integers(0, 9)))
        gone = [number for number in there if rng.random() < 0.05]
        version = publish(tmp_path, new, drop=gone)
        there = there - set(gone) | set(new)
        assert set(numbers_in(version)) == there
        assert set(numbers_in(open_store(tmp_path))) == there
        rows = [len(segment.rows) for segment in version.segments]
        assert all(one >= 2 * other for one, other in pairwise(rows))
        assert sum(map(len, version.segments)) <= len(version) / (1 - store.MOST_DROPPED) + 1


def test_one_dropped_row_does_not_copy_the_store(tmp_path: Path) -> None:
    first = publish(tmp_path, range(100))
    second = publish(tmp_path, drop=[7])
    assert second.segments[0].name == first.segments[0].name
    third = publish(tmp_path, drop=range(50))
    assert third.segments[0].name != first.segments[0].name
    assert third.segments[0].kept is None


def test_large_segments_stay_until_they_are_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LARGE", 128 + 5 * DIM * 4)
    first = publish(tmp_path, range(10), range(10, 20), [20], [21])
    assert [len(segment.rows) for segment in first.segments] == [10, 10, 2]
    second = publish(tmp_path, [22], drop=[0, *range(10, 15)])
    assert [len(segment.rows) for segment in second.segments] == [9, 8]
    assert second.segments[0].name == first.segments[0].name
    with writing(tmp_path) as writer:
        whole = writer.compact()
        assert whole is not None and [len(one) for one in whole.segments] == [17]
        assert (whole.info, numbers_in(whole)) == (second.info, numbers_in(second))
        assert writer.compact() is None
    publish(tmp_path, range(30, 40))
    monkeypatch.setattr(store, "FULL_BYTES", 20 * DIM * 4)
    with writing(tmp_path) as writer:
        assert writer.compact() is None
    assert numbers_in(open_store(tmp_path)) == [*numbers_in(second), *range(30, 40)]


def test_compact__nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with writing(tmp_path) as writer:
            assert writer.compact() is None
        publish(tmp_path, [])


def test_wrong_pieces(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        three = writer.add([np.ones((1, 3))], RowIds.of(["a"]), 3, FLOAT32)
        half = writer.add([np.eye(1, 2)], RowIds.of(["a"]), DIM, np.float16)
        for wrong, message in ((three, "float32 vectors of 3 numbers"), (half, "float16 vectors")):
            with pytest.raises(StoreError, match=message):
                writer.publish([wrong], DIM, FLOAT32, {})
    assert not versions(tmp_path)


def test_newer_format_is_left_alone(tmp_path: Path) -> None:
    publish(tmp_path, range(3))
    newer = {"format": FORMAT + 1, "version": 2, "parts": "of another kind"}
    write_manifest(tmp_path, newer)
    before = sorted(tmp_path.rglob("*"))
    for mend in (False, True):
        with pytest.raises(StoreError, match="upgrade"), writing(tmp_path, mend):
            pass
    for call in (open_store, collect_garbage):
        with pytest.raises(StoreError, match="upgrade"):
            call(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_mend__a_piece(tmp_path: Path) -> None:
    version = publish(tmp_path, range(100), [200])
    path = tmp_path / version.segments[0].name
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(StoreError, match=path.name):
        open_store(tmp_path)
    with pytest.raises(StoreError, match=path.name), writing(tmp_path):
        pass
    with writing(tmp_path, mend=True) as writer:
        assert writer.base is not None
        assert numbers_in(writer.base) == [200]
        again = piece(writer, range(100))
        writer.publish([again, *writer.base.segments], DIM, FLOAT32, {})
    assert numbers_in(open_store(tmp_path)) == [*range(100), 200]


def test_mend__a_manifest(tmp_path: Path) -> None:
    publish(tmp_path, range(10))
    publish(tmp_path, [20])
    manifest_path(tmp_path, 2).write_text("{")
    with pytest.raises(StoreError, match=r"manifest-000002\.json is damaged"):
        open_store(tmp_path)
    with writing(tmp_path, mend=True) as writer:
        assert writer.base is not None
        assert numbers_in(writer.base) == [*range(10)]
        writer.publish([*writer.base.segments, piece(writer, [30])], DIM, FLOAT32, {})
    assert versions(tmp_path) == [3, 1]
    assert numbers_in(open_store(tmp_path)) == [*range(10), 30]


def test_mend__a_manifest_that_is_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (10, 20, 30):
        publish(tmp_path, [number])
    opened = open_store(tmp_path)
    manifest_path(tmp_path, 3).unlink()
    for before in (None, opened):
        with pytest.raises(StoreError, match=r"manifest-000003\.json is missing: .*update\(\)"):
            open_store(tmp_path, before)
    with pytest.raises(StoreError, match="is missing"), writing(tmp_path):
        pass
    with writing(tmp_path, mend=True) as writer:
        assert writer.base is not None and numbers_in(writer.base) == [10, 20]
        assert "manifest-000003.json is missing" in caplog.text
        writer.publish([*writer.base.segments, piece(writer, [40])], DIM, FLOAT32, {})
    assert versions(tmp_path) == [4, 2]
    assert numbers_in(open_store(tmp_path)) == [10, 20, 40]


@pytest.mark.parametrize("content", [None, "{", '{"version": 99}', ""])
def test_a_store_that_does_not_say_which_version_is_the_newest(
    tmp_path: Path, content: str | None
) -> None:
    publish(tmp_path, [1])
    (tmp_path / "newest.json").unlink()
    if content is not None:
        (tmp_path / "newest.json").write_text(content)
    assert numbers_in(open_store(tmp_path)) == [1]
    assert publish(tmp_path, [2]).number == 2


def test_mend__all_manifests(tmp_path: Path) -> None:
    publish(tmp_path, range(10))
    publish(tmp_path, [20])
    for version in (1, 2):
        manifest_path(tmp_path, version).write_text("")
    with writing(tmp_path, mend=True) as writer:
        assert writer.base is None
        writer.publish([piece(writer, [30])], DIM, FLOAT32, {})
    assert versions(tmp_path) == [3]
    assert numbers_in(open_store(tmp_path)) == [30]


def test_adopt(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made = publish(source, range(5)).segments[0]
    with writing(tmp_path / "store") as writer:
        adopted = writer.adopt(source, made.entry)
        assert adopted.entry == made.entry
        here = tmp_path / "store" / made.name
        here.unlink()
        here.write_bytes(b"damaged")
        writer.publish([writer.adopt(source, made.entry)], DIM, FLOAT32, {})
    shutil.rmtree(source)
    assert numbers_in(open_store(tmp_path / "store")) == [*range(5)]


def test_adopt__damaged_or_missing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made = publish(source, range(5)).segments[0]
    (source / made.name).write_bytes(b"damaged")
    with writing(tmp_path / "store") as writer:
        with pytest.raises(StoreError, match="is damaged"):
            writer.adopt(source, made.entry)
        (source / made.name).unlink()
        (tmp_path / "store" / made.name).unlink()
        with pytest.raises(StoreError, match="missing"):
            writer.adopt(source, made.entry)


def test_garbage(tmp_path: Path) -> None:
    for number in range(3):
        publish(tmp_path, [number])
    assert versions(tmp_path) == [3, 2]
    abandoned = [tmp_path / f"manifest-000004.json.0{PARTIAL}", tmp_path / "data" / f"a{PARTIAL}"]
    for path in abandoned:
        path.write_text("half of a file")
    cache = tmp_path / "cache"
    cache.mkdir()
    write_atomically(cache / "index.faiss", lambda stream: stream.write(b"kept"))
    assert sorted(collect_garbage(tmp_path)) == sorted(path.name for path in abandoned)
    assert collect_garbage(tmp_path) == []
    assert (cache / "index.faiss").exists()
    assert numbers_in(open_store(tmp_path)) == [0, 1, 2]


def test_cleared_away_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest version is opened instead."""
    publish(tmp_path, [0])
    publish(tmp_path, [1], drop=[0])
    read = store.read_manifest

    def slow(folder: Path, number: int) -> dict:
        manifest = read(folder, number)
        if number == 2:
            monkeypatch.undo()
            for new in (2, 3):
                publish(tmp_path, [new], drop=[new - 1])
        return manifest

    monkeypatch.setattr(store, "read_manifest", slow)
    version = open_store(tmp_path)
    assert version.number == 4
    assert numbers_in(version) == [3]
