"""Indexes on the disk: used whole or not at all."""

import hashlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from alphaclip.files import StoreError
from alphaclip.indexing.nearest.cache import Cached, describe, load_cache, load_relative, save_cache
from alphaclip.indexing.nearest.engine import move_cache
from alphaclip.indexing.nearest.ivf import kind_name
from alphaclip.indexing.nearest.ivf_building import build_ivf
from alphaclip.indexing.store.table import VectorTable

DIM = 16


@pytest.fixture(scope="module")
def table() -> VectorTable:
    vectors = np.random.default_rng(0).standard_normal((3000, DIM)).astype(np.float32)
    rows = np.arange(2, 3000)
    return VectorTable((vectors[:1000], vectors[1000:]), ("a", "b"), rows, DIM, vectors.dtype)


@pytest.fixture(scope="module")
def index(table: VectorTable) -> faiss.IndexIVF:
    return build_ivf(table, "cosine")


@pytest.fixture
def saved(tmp_path: Path, table: VectorTable, index: faiss.IndexIVF) -> Path:
    return save_cache(tmp_path / "cache", index, facts_of(table, index))


def facts_of(table: VectorTable, index: faiss.IndexIVF) -> dict:
    tuned = {
        "nprobe": 8,
        "oversample": 8,
        "recall": {"k": 100, "region": 1.0},
        "trained_on": len(table),
    }
    kind = {"kind": kind_name(index.nlist, DIM, index.by_residual), "nlist": index.nlist}
    return {**describe(table, "cosine"), **kind, **tuned}


def load(saved: Path, table: VectorTable) -> Cached | None:
    return load_cache(saved.parent, table, "cosine")


def test_load__is_what_was_saved(saved: Path, table: VectorTable, index: faiss.IndexIVF) -> None:
    limit = faiss.get_deserialization_vector_byte_limit()
    cached = load(saved, table)
    assert cached is not None
    assert faiss.get_deserialization_vector_byte_limit() == limit
    assert cached.facts["nprobe"] == 8
    assert cached.facts["faiss"] == faiss.__version__
    queries = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)
    for mine, theirs in zip(cached.index.search(queries, 9), index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sorted(path.suffix for path in saved.parent.iterdir()) == [".faiss", ".json"]


def test_load__of_other_rows_or_pieces_or_another_metric(saved: Path, table: VectorTable) -> None:
    for other in (
        replace(table, slots=table.slots[1:]),
        replace(table, slots=np.r_[0, table.slots[1:]]),
        replace(table, names=("a", "c")),
    ):
        assert load(saved, other) is None
    assert load_cache(saved.parent, table, "dotproduct") is None
    assert load_cache(saved.parent / "nowhere", table, "cosine") is None


@pytest.mark.parametrize("place", [0, 40, 5000, -1])
def test_load__a_flipped_byte(
    saved: Path, table: VectorTable, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved.with_suffix(".faiss")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert load(saved, table) is None
    assert f"{path} is damaged" in caplog.text


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_load__cut_short(
    saved: Path, table: VectorTable, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved.with_suffix(".faiss")
    path.write_bytes(path.read_bytes()[:size])
    assert load(saved, table) is None
    assert f"{path} is damaged" in caplog.text


def test_load__a_missing_file(
    saved: Path, table: VectorTable, caplog: pytest.LogCaptureFixture
) -> None:
    saved.with_suffix(".faiss").unlink()
    assert load(saved, table) is None
    assert f"{saved.with_suffix('.faiss')} cannot be read" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", "[" * 100_000, None])
def test_load__damaged_facts(
    saved: Path, table: VectorTable, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    changed = saved.read_text().replace('"nprobe": 8', '"nprobe": 0')
    saved.write_text(changed if content is None else content)
    assert load(saved, table) is None
    assert f"{saved} is damaged or of another version" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"nprobe": 0},
        {"nprobe": "8"},
        {"nprobe": 10**30},
        {"oversample": -1},
        {"pieces": None},
        {"recall": []},
        {"recall": {"k": 100, "region": "1.0"}},
        {"sha256": 7},
        {"format": "1"},
    ],
)
def test_load__facts_that_nobody_wrote_here(
    saved: Path, table: VectorTable, change: dict, caplog: pytest.LogCaptureFixture
) -> None:
    facts = {**json.loads(saved.read_text())["facts"], **change}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    saved.write_text(json.dumps({"facts": facts, "sha256": digest}))
    assert load(saved, table) is None
    assert f"{saved} is damaged or of another version" in caplog.text


def test_save__into_a_link(tmp_path: Path, table: VectorTable, index: faiss.IndexIVF) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(3):
        (tmp_path / "mine" / f"{number}.json").write_text("{}")
    (tmp_path / "cache").symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="cache is a link"):
        save_cache(tmp_path / "cache", index, facts_of(table, index))
    assert len(list((tmp_path / "mine").iterdir())) == 3


def test_load__a_foreign_index(
    saved: Path, table: VectorTable, caplog: pytest.LogCaptureFixture
) -> None:
    """The hash is right, but not the index: of another kind, and then of other numbers."""
    for foreign in (faiss.IndexFlatIP(DIM), build_ivf(table, "euclidean")):
        (other,) = save_foreign(saved, foreign)
        assert load(saved, table) is None
        assert f"{other.with_suffix('.faiss')} holds another index" in caplog.text
        caplog.clear()


def save_foreign(saved: Path, foreign: faiss.Index) -> list[Path]:
    facts = json.loads(saved.read_text())["facts"]
    for path in saved.parent.iterdir():
        path.unlink()
    path = save_cache(saved.parent, foreign, facts)
    path.replace(saved)
    path.with_suffix(".faiss").replace(saved.with_suffix(".faiss"))
    return [saved]


def test_load__an_older_one_where_the_newest_is_damaged(
    saved: Path, table: VectorTable, index: faiss.IndexIVF
) -> None:
    newer = save_cache(saved.parent, index, {**facts_of(table, index), "nprobe": 9})
    if newer == saved:  # the same bytes have the same name
        assert len(list(saved.parent.iterdir())) == 2
    again = build_ivf(table, "cosine", seed=1)
    newest = save_cache(saved.parent, again, facts_of(table, again))
    os.utime(newest, (4e9, 4e9))
    assert load(saved, table).facts["sha256"] == json.loads(newest.read_text())["facts"]["sha256"]
    newest.with_suffix(".faiss").write_bytes(b"damaged")
    assert load(saved, table).facts["nprobe"] == 9


def test_move__of_the_same_rows_in_other_files(
    saved: Path, table: VectorTable, index: faiss.IndexIVF
) -> None:
    vectors = table.take(np.arange(len(table)))
    rows = np.arange(len(table))
    after = VectorTable((vectors,), ("c",), rows, DIM, table.dtype)
    move_cache(saved.parent, table, after, "cosine")
    moved = load(saved, after)
    assert moved is not None and moved.facts["nprobe"] == 8
    query = vectors[:5]
    for mine, slots in zip(moved.index.search(query, 9)[1], index.search(query, 9)[1], strict=True):
        assert table.slots[mine].tolist() == slots.tolist()
    move_cache(saved.parent / "nowhere", table, after, "cosine")


def test_load_relative__shares_the_first_segment(saved: Path, table: VectorTable) -> None:
    first, second = table.segments
    longer = VectorTable((first, second, second), ("a", "b", "c"), table.slots, DIM, table.dtype)
    other = VectorTable((first, first), ("a", "x"), np.arange(2000), DIM, table.dtype)
    fewer = replace(table, slots=table.slots[5:])
    for relative, whole in ((longer, False), (other, False), (fewer, True)):
        assert load_relative(saved.parent, relative, "cosine") is not None
        same = load_relative(saved.parent, relative, "cosine", whole=True)
        assert (same is not None) == whole
    stranger = replace(table, names=("x", "b"))
    assert load_relative(saved.parent, stranger, "cosine") is None
    assert load_relative(saved.parent, table, "euclidean") is None


def test_save__keeps_the_newest_two(tmp_path: Path, table: VectorTable) -> None:
    saved = []
    for seed in range(4):
        index = build_ivf(table, "cosine", seed=seed)
        saved.append(save_cache(tmp_path, index, facts_of(table, index)))
        os.utime(saved[-1], (seed, seed))
    kept = {path.name for path in tmp_path.iterdir()}
    expected = [path.with_suffix(s).name for path in saved[2:] for s in (".json", ".faiss")]
    assert kept == set(expected)


def test_save__removes_what_dead_processes_left(
    tmp_path: Path, table: VectorTable, index: faiss.IndexIVF
) -> None:
    for name in ("old.faiss", "old.part", "new.faiss", "new.part"):
        (tmp_path / name).write_bytes(b"")
        if name.startswith("old"):
            os.utime(tmp_path / name, (1, 1))
    saved = save_cache(tmp_path, index, facts_of(table, index))
    kept = {"new.faiss", "new.part", saved.name, saved.with_suffix(".faiss").name}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_save__where_nothing_can_be_written(
    tmp_path: Path, table: VectorTable, index: faiss.IndexIVF, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError):
        save_cache(tmp_path / "file" / "cache", index, facts_of(table, index))
    assert load_cache(tmp_path / "file" / "cache", table, "cosine") is None
