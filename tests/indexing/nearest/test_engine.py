"""Which search a table gets, and how its index outlives the process."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest import engine as engines
from alphaclip.indexing.nearest import ivf_building
from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.engine import Engine, open_engine
from alphaclip.indexing.nearest.exact import ExactIndex
from alphaclip.indexing.nearest.ivf import IvfIndex, kind_name
from alphaclip.indexing.nearest.metrics import METRICS, Metric
from alphaclip.indexing.store.table import VectorTable

DIM = 32
LIMIT = 1000


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "open_gpu", lambda table, metric: None)


def make_table(dtype: str = "float16", total: int = 6000) -> VectorTable:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, DIM))
    vectors = centres[rng.integers(200, size=total)] + 0.5 * rng.standard_normal((total, DIM))
    if dtype == "float16":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(dtype)
    rows = np.setdiff1d(np.arange(total), np.arange(5, total, 17))
    segments = (vectors[: total // 2], vectors[total // 2 :])
    return VectorTable(segments, ("a", "b"), rows, DIM, np.dtype(dtype))


def texts() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((20, DIM)).astype(np.float32)


def unused() -> np.ndarray:
    raise AssertionError("the cache holds what tuning found")


def check(engine: Engine, table: VectorTable, metric: Metric) -> None:
    queries = np.random.default_rng(1).standard_normal((10, DIM)).astype(np.float32)
    for places in (None, np.arange(0, len(table), 3)):
        _, expected = scan_top(table, queries, 20, metric, places)
        _, found = engine.search(queries, 20, places)
        same = [len(np.intersect1d(a, b)) / 20 for a, b in zip(found, expected, strict=True)]
        assert np.mean(same) > 0.97


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_open__small_is_exact_large_is_not(dtype: str, metric: Metric, tmp_path: Path) -> None:
    table = make_table(dtype)
    exact = open_engine(table, metric, tmp_path)
    assert isinstance(exact, ExactIndex)
    assert exact.facts["type"] == "exact"
    assert not names(tmp_path)
    engine = open_engine(table, metric, tmp_path, texts, exact_limit=LIMIT)
    assert isinstance(engine, IvfIndex)
    recall = engine.facts["recall"]
    assert engine.facts["type"] == kind_name(engine.nlist, DIM, residual=False)
    assert (recall["k"], recall["queries"]) == (100, 220)
    assert min(recall["text"], recall["region"]) >= 0.99
    json.dumps([exact.facts, engine.facts])
    for opened in (exact, engine):
        check(opened, table, metric)


def test_open__again_takes_the_cache(tmp_path: Path) -> None:
    table = make_table()
    first = open_engine(table, "cosine", tmp_path, texts, exact_limit=LIMIT)
    before = names(tmp_path)
    again = open_engine(table, "cosine", tmp_path, unused, exact_limit=LIMIT)
    assert again.facts == first.facts
    assert names(tmp_path) == before
    check(again, table, "cosine")


def test_open__without_a_folder_or_texts() -> None:
    table = make_table()
    engine = open_engine(table, "cosine", exact_limit=LIMIT)
    assert set(engine.facts["recall"]) == {"k", "queries", "shifted", "region"}
    check(engine, table, "cosine")


def test_open__a_cache_of_either_kind_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the kind that tables of this size had before, too."""
    table = make_table()
    plain = open_engine(table, "cosine", tmp_path, texts, exact_limit=LIMIT)
    monkeypatch.setattr(ivf_building, "RESIDUAL_FROM", LIMIT)
    monkeypatch.setattr(ivf_building, "LEAST_POINTS", 200)
    assert open_engine(table, "cosine", tmp_path, unused, LIMIT).facts == plain.facts
    residual = open_engine(table, "cosine", tmp_path / "other", texts, exact_limit=LIMIT)
    assert residual.facts["type"] == kind_name(28, DIM, residual=True)
    check(residual, table, "cosine")
    again = open_engine(table, "cosine", tmp_path / "other", unused, exact_limit=LIMIT)
    assert again.facts == residual.facts
    check(again, table, "cosine")


def test_open__extends_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table()
    open_engine(table, "cosine", tmp_path, texts, exact_limit=LIMIT)
    more = make_table(total=500).segments[0]
    rows = np.r_[table.slots[40:], np.arange(6000, 6000 + len(more))]
    longer = VectorTable((*table.segments, more), ("a", "b", "c"), rows, DIM, table.dtype)
    with monkeypatch.context() as patch:
        patch.setattr(engines, "build_ivf", unused)
        engine = open_engine(longer, "cosine", tmp_path, texts, exact_limit=LIMIT)
    assert engine.facts["trained_on"] == len(table)
    assert len(names(tmp_path)) == 4
    check(engine, longer, "cosine")
    check(open_engine(longer, "cosine", tmp_path, unused, LIMIT), longer, "cosine")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_open__a_few_dropped_rows_are_left_out(tmp_path: Path) -> None:
    table = make_table()
    open_engine(table, "cosine", tmp_path, texts, exact_limit=LIMIT)
    before = names(tmp_path)
    fewer = replace(table, slots=np.delete(table.slots, np.arange(0, 300, 7)))
    engine = open_engine(fewer, "cosine", tmp_path, unused, exact_limit=LIMIT)
    check(engine, fewer, "cosine")
    assert names(tmp_path) == before
    other = replace(table, slots=np.union1d(table.slots[3:], [5989]))
    assert 5989 not in table.slots
    check(open_engine(other, "cosine", tmp_path, texts, LIMIT), other, "cosine")
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_open__a_damaged_cache_is_built_again(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table()
    open_engine(table, "cosine", tmp_path, texts, exact_limit=LIMIT)
    (path,) = tmp_path.glob("*.faiss")
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[:-100])
    else:
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        check(open_engine(table, "cosine", tmp_path, texts, LIMIT), table, "cosine")
    assert str(path) in caplog.text
    caplog.clear()
    open_engine(table, "cosine", tmp_path, unused, exact_limit=LIMIT)
    assert not caplog.records


def test_open__where_nothing_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Root may write anywhere, so a file stands where the folder would be."""
    (tmp_path / "file").write_bytes(b"")
    table = make_table()
    engine = open_engine(table, "cosine", tmp_path / "file" / "cache", texts, LIMIT)
    check(engine, table, "cosine")
    assert "The index is kept in memory" in caplog.text


@pytest.mark.parametrize("segments", [(), (np.ones((3, DIM), np.float16),)])
def test_open__nothing_in_it(tmp_path: Path, segments: tuple) -> None:
    rows = np.empty(0, np.int64)
    names = ("a",) * len(segments)
    empty = VectorTable(segments, names, rows, DIM, np.dtype(np.float16))
    engine = open_engine(empty, "cosine", tmp_path, texts, exact_limit=0)
    assert engine.facts["type"] == "exact"
    scores, found = engine.search(texts(), 5)
    assert scores.shape == found.shape == (20, 0)


def test_open__vectors_that_are_all_zero(tmp_path: Path) -> None:
    zeros = np.zeros((2000, DIM), np.float32)
    table = VectorTable((zeros,), ("a",), np.arange(2000), DIM, zeros.dtype)
    engine = open_engine(table, "cosine", tmp_path, exact_limit=LIMIT)
    scores, found = engine.search(texts(), 5)
    assert not scores.any()
    assert found.shape == (20, 5)


def test_open__unknown_metric() -> None:
    with pytest.raises(AlphaClipError, match="metric is 'manhattan'"):
        open_engine(make_table(), "manhattan")
