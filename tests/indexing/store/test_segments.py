"""Pieces of a store: what is written is what is read, and what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest

from alphaclip.files import DamagedError, StoreError
from alphaclip.indexing.store.segments import (
    RowIds,
    as_bytes,
    as_text,
    check_file,
    read_ids,
    read_segment,
    repeated_text,
    with_kept_file,
    write_ids,
    write_segment,
)

FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
LABELS = ["a", "a-much-longer-id-than-twenty-four", "ä€🦊"]
IDS = RowIds.of(["s1", "s2", "s2"], LABELS, "großes.fälder", ["f" * 32, "", "g" * 32])
EYE = np.eye(3, dtype=np.float32)


def columns(ids: RowIds) -> list[list[bytes]]:
    found = (ids.sample_ids, ids.label_ids, ids.fields, ids.fingerprints)
    return [column.tolist() for column in found]


@pytest.mark.parametrize("dtype", [FLOAT16, FLOAT32])
def test_round_trip(tmp_path: Path, dtype: np.dtype) -> None:
    written = write_segment(tmp_path, [EYE[:1], EYE[1:]], IDS, 3, dtype)
    segment = read_segment(tmp_path, written.entry)
    assert segment.vectors.dtype == dtype
    assert np.array_equal(segment.vectors[:], EYE)
    assert columns(segment.ids) == columns(IDS)
    assert as_text(segment.ids.label_ids).tolist() == LABELS
    assert as_text(segment.ids.fields).tolist() == ["großes.fälder"] * 3
    assert segment.rows.tolist() == [0, 1, 2]
    assert segment.kept is None
    again = write_segment(tmp_path, [EYE], IDS, 3, dtype)
    assert again.entry == written.entry
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_no_rows(tmp_path: Path) -> None:
    segment = write_segment(tmp_path, [], RowIds.of([]), 3, FLOAT16)
    read = read_segment(tmp_path, segment.entry)
    assert read.vectors.shape == (0, 3)
    assert len(read.ids) == len(read.rows) == 0
    assert len(read.ids.keys) == 0


def test_kept(tmp_path: Path) -> None:
    rows = 19
    ids = RowIds.of([f"{row}" for row in range(rows)])
    whole = write_segment(tmp_path, [np.ones((rows, 1))], ids, 1, FLOAT32)
    even = whole.keeping(np.arange(rows) % 2 == 0)
    assert even.keeping(np.ones(rows, bool)).rows.tolist() == list(range(0, rows, 2))
    assert even.keeping(np.arange(rows) > 9).rows.tolist() == [10, 12, 14, 16, 18]
    assert whole.keeping(np.ones(rows, bool)).kept is None
    read = read_segment(tmp_path, with_kept_file(tmp_path, even).entry)
    assert read.rows.tolist() == list(range(0, rows, 2))
    assert "kept" not in with_kept_file(tmp_path, whole).entry
    none = with_kept_file(tmp_path, whole.keeping(np.zeros(rows, bool)))
    assert read_segment(tmp_path, none.entry).rows.tolist() == []


@pytest.mark.parametrize(
    ("blocks", "dtype", "message"),
    [
        ([[[1, 0], [0, 1], [np.nan, 0]]], FLOAT16, r"the vector of ä€🦊 is \[nan"),
        ([[[1, 0], [0, 1], [np.nan, 0]]], FLOAT32, "finite numbers$"),
        ([[[1, 0], [0, 1], [np.inf, 0]]], FLOAT32, "finite numbers$"),
        ([[[1, 0], [0, 1], [1e39, 0]]], FLOAT32, "finite numbers$"),
        ([[[1, 0], [0, 1], [0, 0]]], FLOAT16, "of length 1"),
        ([[[1, 0], [0, 1], [0.5, 0]]], FLOAT16, "of length 1"),
        ([[[1, 0], [0, 1]]], FLOAT16, "there are 2 vectors, but 3 ids"),
        ([[[1, 0]], [[0, 1], [0, 1], [0, 1]]], FLOAT16, "more vectors than ids: expected 3"),
        ([[[1, 0], [0, 1], [0, 1], [0, 0]]], FLOAT16, "more vectors than ids: expected 3"),
        ([[[1, 0, 0]]], FLOAT16, r"shape \(1, 3\): expected \(n, 2\)"),
        ([[1, 0]], FLOAT16, r"shape \(2,\): expected \(n, 2\)"),
    ],
)
def test_unusable_vectors(tmp_path: Path, blocks: list, dtype: np.dtype, message: str) -> None:
    arrays = [np.array(block, np.float64) for block in blocks]
    with pytest.raises(StoreError, match=message):
        write_segment(tmp_path, arrays, IDS, 2, dtype)
    assert not list((tmp_path / "data").iterdir())


def test_large_numbers_are_finite(tmp_path: Path) -> None:
    write_segment(tmp_path, [np.full((3, 2), 3e38)], IDS, 2, FLOAT32)


def test_id_twice(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="id ä occurs twice"):
        write_segment(tmp_path, [EYE], RowIds.of(["1", "2", "1"], ["ä", "b", "ä"]), 3, FLOAT16)
    with pytest.raises(StoreError, match="id 1 occurs twice"):
        write_segment(tmp_path, [EYE], RowIds.of(["1", "2", "1"]), 3, FLOAT16)
    write_segment(tmp_path, [EYE], RowIds.of(["1", "2", "3"], ["ä", "b", "ä"]), 3, FLOAT16)


def test_columns_of_different_lengths() -> None:
    with pytest.raises(StoreError, match=r"'sample_ids': 3, 'label_ids': 2"):
        RowIds.of(["1", "2", "3"], ["a", "b"])
    with pytest.raises(StoreError, match="different lengths"):
        RowIds.of(["1"], ["a"], "field", [])


def test_row_ids() -> None:
    joined = RowIds.joined([RowIds.of([], [], "f", []), IDS, RowIds.of(["s"], ["long" * 9])])
    assert joined.label_ids.tolist() == [*IDS.label_ids.tolist(), b"long" * 9]
    assert len(RowIds.joined([])) == 0
    assert columns(RowIds.joined([IDS] * 9)) == [column * 9 for column in columns(IDS)]
    assert IDS.keys is IDS.label_ids
    samples = RowIds.of(["x", "y"])
    assert samples.keys is samples.sample_ids
    assert columns(IDS.take(np.array([2, 0])))[1] == ["ä€🦊".encode(), b"a"]
    assert len(IDS.take(np.zeros(3, bool))) == 0


def test_text_and_bytes() -> None:
    assert as_text(as_bytes(LABELS)).tolist() == LABELS
    assert as_text(as_bytes(np.array(LABELS, object))).tolist() == LABELS
    assert as_text(as_bytes(["ab", "c", ""])).tolist() == ["ab", "c", ""]
    assert as_text(repeated_text("ä", 2)).tolist() == ["ä", "ä"]
    assert as_bytes([]).tolist() == as_text(as_bytes([])).tolist() == []
    raw = np.array([b"a"])
    assert as_bytes(raw) is raw


@pytest.mark.parametrize("kind", ["vectors", "rows", "kept"])
def test_damage_is_named(tmp_path: Path, kind: str) -> None:
    whole = write_segment(tmp_path, [EYE], IDS, 3, FLOAT16)
    entry = with_kept_file(tmp_path, whole.keeping(np.arange(3) > 0)).entry
    path = tmp_path / entry[kind]["file"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DamagedError, match=f"{path.name} is damaged"):
        read_segment(tmp_path, entry)
    path.unlink()
    with pytest.raises(DamagedError, match=f"{path.name} is missing"):
        read_segment(tmp_path, entry)
    path.mkdir()
    with pytest.raises(StoreError, match=path.name):
        read_segment(tmp_path, entry)


def test_gone_between_check_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a version is cleared away while it is opened."""
    from alphaclip.indexing.store import blocks, segments

    whole = write_segment(tmp_path, [EYE], IDS, 3, FLOAT16)
    entry = with_kept_file(tmp_path, whole.keeping(np.arange(3) > 0)).entry
    for kind in ("vectors", "rows", "kept"):
        name = entry[kind]["file"]

        def check_and_delete(folder: Path, file: dict, name: str = name) -> None:
            check_file(folder, file)
            if file["file"] == name:
                (folder / name).rename(folder / "hidden")

        with monkeypatch.context() as patched:
            patched.setattr(blocks, "check_file", check_and_delete)
            patched.setattr(segments, "check_file", check_and_delete)
            with pytest.raises(DamagedError, match="is missing"):
                read_segment(tmp_path, entry)
        (tmp_path / "hidden").rename(tmp_path / name)


def test_ids_by_themselves(tmp_path: Path) -> None:
    file = write_ids(tmp_path, "list.parquet", IDS)
    assert columns(read_ids(tmp_path, file)) == columns(IDS)
    empty = write_ids(tmp_path, "empty.parquet", RowIds.of([]))
    assert len(read_ids(tmp_path, empty)) == 0
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedError, match=r"list\.parquet is damaged"):
        read_ids(tmp_path, file)
