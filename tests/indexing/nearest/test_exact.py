"""Exact search in memory, against the search by blocks and plain NumPy."""

import faiss
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest import exact
from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.exact import ExactIndex, build_exact, open_gpu, search_few
from alphaclip.indexing.nearest.metrics import METRICS, Metric
from alphaclip.indexing.store.table import VectorTable

DIM = 32


def make_table(dtype: str, total: int = 5000, dropped: int = 500) -> VectorTable:
    """Three segments, the second of which is dropped as a whole."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((total, DIM), np.float32) * 3
    if dtype == "float16":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(dtype)
    kept = np.setdiff1d(np.arange(total), np.arange(1000, 1100))
    rows = np.sort(rng.choice(kept, max(0, len(kept) - dropped), replace=False))
    segments = (vectors[:1000], vectors[1000:1100], vectors[1100:])
    return VectorTable(segments, ("a", "b", "c"), rows, DIM, np.dtype(dtype))


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((40, DIM)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_search__is_the_scan(dtype: str, metric: Metric, queries: np.ndarray) -> None:
    table = make_table(dtype)
    index = ExactIndex(table, metric)
    rng = np.random.default_rng(2)
    for part in (None, 0.1, 0.01, 0.001):
        places = None
        if part is not None:
            places = np.sort(rng.choice(len(table), int(part * len(table)), replace=False))
        for count in (1, 9, 40):
            truth, expected = scan_top(table, queries[:count], 20, metric, places)
            several = [index.search(queries[:count], 20, places)]
            if places is not None:
                several.append(search_few(table, queries[:count], 20, metric, places))
            for scores, found in several:
                assert (scores.dtype, found.dtype) == (np.float32, np.int64)
                np.testing.assert_array_equal(found, expected)
                np.testing.assert_allclose(scores, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_search__a_vector_finds_itself(dtype: str, metric: Metric) -> None:
    table = make_table(dtype)
    places = np.array([0, 700, 4000])
    own = table.take(places).astype(np.float32)
    scores, found = ExactIndex(table, metric).search(own, 5)
    expected = {
        "cosine": np.ones(3),
        "dotproduct": (own * own).sum(axis=1),
        "euclidean": np.zeros(3),
    }[metric]
    here = found == places[:, None]
    assert here.any(axis=1).all()
    np.testing.assert_allclose(scores[here], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("threshold", [1, 1_000_000])
def test_search__distances_are_exact_however_faiss_multiplies(
    threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", threshold)
    table = make_table("float32")
    index = ExactIndex(table, "euclidean")
    for start in range(0, 300, 3):
        three = np.arange(start, start + 3)
        scores, found = index.search(table.take(three), 5)
        np.testing.assert_array_equal(found[:, 0], three)
        np.testing.assert_allclose(scores[:, 0], 0, atol=1e-6)


def test_build_exact__holds_the_bytes_of_the_table() -> None:
    import faiss

    table = make_table("float16")
    index = build_exact(table, "cosine")
    codes = faiss.vector_to_array(index.codes).view(np.float16).reshape(-1, DIM)
    np.testing.assert_array_equal(codes, np.concatenate(table.segments)[table.slots])
    assert index.ntotal == len(table)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_search__more_than_there_are_and_nothing(dtype: str, queries: np.ndarray) -> None:
    table = make_table(dtype)
    index = ExactIndex(table, "cosine")
    assert index.search(queries[:1], 10_000)[1].shape == (1, len(table))
    assert index.search(queries[:2], 5, np.array([7, 9]))[1].shape == (2, 2)
    assert index.search(queries, 5, np.empty(0, np.int64))[1].shape == (40, 0)
    assert index.search(queries, 0)[1].shape == (40, 0)
    assert index.search(queries[:0], 5)[1].shape == (0, 5)
    rows = np.empty(0, np.int64)
    empty = VectorTable(table.segments, table.names, rows, DIM, table.dtype)
    assert ExactIndex(empty, "cosine").search(queries, 5)[1].shape == (40, 0)
    assert ExactIndex(VectorTable((), (), rows, DIM, table.dtype), "cosine").search(queries, 5)
    assert build_exact(empty, "cosine").ntotal == 0


def test_search__zero_vectors_have_cosine_0(queries: np.ndarray) -> None:
    rows = np.zeros((3, DIM), np.float32)
    rows[1] = queries[0] * 50
    table = VectorTable((rows,), ("a",), np.arange(3), DIM, rows.dtype)
    scores, found = ExactIndex(table, "cosine").search(queries[:1], 3)
    assert found.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(scores, [[1, 0, 0]], atol=1e-6)


def test_search__bad_queries(queries: np.ndarray) -> None:
    index = ExactIndex(make_table("float16"), "cosine")
    with pytest.raises(AlphaClipError, match="was the query made by another encoder"):
        index.search(queries[:, :9], 5)
    queries[0, 0] = np.nan
    with pytest.raises(AlphaClipError, match="not finite"):
        index.search(queries, 5)


def test_gpu__searches_that_it_can_do_go_there(queries: np.ndarray) -> None:
    """An index on the CPU stands in for the one on the GPU."""
    table = make_table("float16")
    index = ExactIndex(table, "cosine", build_exact(table, "cosine"))
    for k in (20, 3000):
        assert "_index" not in vars(index)
        truth, expected = scan_top(table, queries[:5], k, "cosine")
        scores, found = index.search(queries[:5], k)
        np.testing.assert_array_equal(found[:, :20], expected[:, :20])
        np.testing.assert_allclose(scores, truth, atol=1e-6)
    assert "_index" in vars(index)


def test_gpu__with_too_little_memory_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(table: VectorTable, metric: Metric) -> None:
        raise RuntimeError("Error in alloc\nout of memory")

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(exact, "build_gpu", fail)
    assert open_gpu(make_table("float16"), "cosine") is None
    assert "out of memory" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_gpu__is_the_scan(dtype: str, metric: Metric, queries: np.ndarray) -> None:
    table = make_table(dtype)
    opened = open_gpu(table, metric)
    assert opened is not None
    index = ExactIndex(table, metric, opened)
    for count, k in ((1, 20), (40, 20), (1, 3000)):
        truth, expected = scan_top(table, queries[:count], k, metric)
        scores, found = index.search(queries[:count], k)
        assert (found == expected).mean() > 0.99
        np.testing.assert_allclose(scores, truth, rtol=1e-4, atol=1e-4)
    assert "_index" in vars(index)  # made for the k that a GPU cannot find
    assert index.search(queries[:1], 5, np.array([3, 4]))[1].shape == (1, 2)
