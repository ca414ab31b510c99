"""Metrics, and exact search by blocks, against values worked out by hand and plain NumPy."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest import brute_force as scanning
from alphaclip.indexing.nearest.brute_force import Best, scan, scan_top
from alphaclip.indexing.nearest.metrics import (
    METRICS,
    Metric,
    check_metric,
    distance,
    prepare,
    prepare_rows,
    similarity,
)
from alphaclip.indexing.store.table import VectorTable

DTYPES = ("float16", "float32")


def make_table(dtype: str, total: int = 500, dropped: int = 100, dim: int = 8) -> VectorTable:
    """Two segments of random vectors, of unit length if float16, some dropped."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((total, dim), np.float32) * 3
    if dtype == "float16":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(dtype)
    rows = np.sort(rng.choice(total, total - dropped, replace=False))
    cut = total // 3
    return VectorTable((vectors[:cut], vectors[cut:]), ("a", "b"), rows, dim, np.dtype(dtype))


def plain(table: VectorTable, queries: np.ndarray, metric: Metric) -> np.ndarray:
    """All similarities, float64 (m, n), in plain NumPy."""
    rows = np.concatenate(table.segments)[table.slots].astype(np.float64)
    queries = queries.astype(np.float64)
    if metric == "euclidean":
        return -np.linalg.norm(queries[:, None] - rows[None], axis=2)
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        if table.dtype == np.float32:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return queries @ rows.T


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((7, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "expected", "distances"),
    [
        ("cosine", [0.6, 0.8, 0.0], [0.4, 0.2, 1.0]),
        ("dotproduct", [6.0, 4.0, 0.0], [-5.0, -3.0, 1.0]),
        ("euclidean", [-np.sqrt(17), -np.sqrt(18), -5.0], [np.sqrt(17), np.sqrt(18), 5.0]),
    ],
)
def test_similarity__by_hand(metric: Metric, expected: list[float], distances: list[float]) -> None:
    rows = np.array([[2, 0], [0, 1], [0, 0]], np.float32)
    query = prepare(np.array([[3.0, 4.0]]), metric, 2)
    scores = similarity(query, prepare_rows(rows, metric), metric)
    np.testing.assert_allclose(scores, [expected], atol=1e-6)
    np.testing.assert_allclose(distance(scores, metric), [distances], atol=1e-6)


def test_similarity__small_distances_far_from_the_origin() -> None:
    rows = np.full((2, 4), 1000, np.float32)
    rows[1, 0] += 0.25
    scores = similarity(rows[:1], rows, "euclidean")
    np.testing.assert_array_equal(scores, [[0, -0.25]])


def test_prepare__lengths_at_the_ends_of_float32() -> None:
    extreme = np.array([[3e38, 3e38], [1e-40, 0]], np.float32)
    expected = [[np.sqrt(0.5), np.sqrt(0.5)], [1, 0]]
    np.testing.assert_allclose(prepare(extreme, "cosine", 2), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.ones((1, 3)), r"query has shape \(1, 3\), the index holds vectors of 2 numbers"),
        (np.ones(2), r"query has shape \(2,\)"),
        (np.array([[1, np.nan]]), "not finite"),
        (np.array([[1, 1e300]]), "not finite"),
        (np.zeros((1, 2)), "has no direction"),
    ],
)
def test_prepare__bad_queries(queries: np.ndarray, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        prepare(queries, "cosine", 2)


def test_check_metric() -> None:
    assert [check_metric(name) for name in METRICS] == list(METRICS)
    with pytest.raises(AlphaClipError, match="expected one of: cosine, dotproduct, euclidean"):
        check_metric("manhattan")


@pytest.mark.parametrize("dtype", DTYPES)
def test_prepare_rows__converts_exactly(dtype: str) -> None:
    table = make_table(dtype, total=20_000)
    for segment in (*table.segments, table.segments[0][:9]):
        for out in (None, np.empty(segment.shape, np.float32)):
            rows = prepare_rows(segment, "dotproduct", out)
            assert rows.dtype == np.float32
            np.testing.assert_array_equal(rows, segment)
        assert prepare_rows(segment[:0], "cosine").shape == (0, 8)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scan__is_the_plain_ranking(
    dtype: str,
    metric: Metric,
    restricted: bool,
    queries: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "BLOCK", 64)
    table = make_table(dtype)
    rows = np.arange(3, len(table), 4) if restricted else np.arange(len(table))
    truth = plain(table, queries, metric)[:, rows]
    for least, sign in ((False, 1), (True, -1)):
        order = np.argsort(-sign * truth, axis=1, kind="stable")[:, :10]
        scores, found = scan_top(table, queries, 10, metric, rows if restricted else None, least)
        assert (scores.dtype, found.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(found, rows[order])
        np.testing.assert_allclose(scores, np.take_along_axis(truth, order, 1), atol=1e-5)
    parts = list(scan(table, queries, metric, rows if restricted else None))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate([here for here, _ in parts]), rows)
    np.testing.assert_allclose(np.hstack([scores for _, scores in parts]), truth, atol=1e-5)


def test_scan_top__more_than_there_are(queries: np.ndarray) -> None:
    table = make_table("float16")
    scores, found = scan_top(table, queries, 10_000, "cosine")
    assert scores.shape == found.shape == (7, 400)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (np.sort(found, axis=1) == np.arange(400)).all()


def test_scan_top__equals_come_in_order_of_row() -> None:
    rows = np.ones((6, 2), np.float32)
    rows[4] = 2
    table = VectorTable((rows,), ("a",), np.arange(6), 2, rows.dtype)
    _, found = scan_top(table, np.ones((1, 2)), 6, "dotproduct")
    assert found.tolist() == [[4, 0, 1, 2, 3, 5]]


def test_scan_top__nothing_to_find(queries: np.ndarray) -> None:
    table = make_table("float16")
    for few, rows, k in ((queries, np.empty(0, np.int64), 5), (queries, None, 0)):
        scores, found = scan_top(table, few, k, "cosine", rows)
        assert scores.shape == found.shape == (7, 0)
    assert scan_top(table, queries[:0], 5, "cosine")[0].shape == (0, 5)


def test_scan_top__many_queries_take_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "QUERIES", 4)
    monkeypatch.setattr(scanning, "BLOCK", 100)
    table = make_table("float16", dropped=0)
    sizes = [len(here) for here, _ in scan(table, np.ones((40, 8)), "cosine")]
    assert max(sizes) == 10
    assert sum(sizes) == 500


@pytest.mark.parametrize("k", [1, 5, 17, None])
@pytest.mark.parametrize("queries", [1, 3])
def test_best__of_equals_the_first_rows(queries: int, k: int | None) -> None:
    keys = np.random.default_rng(0).integers(0, 4, (queries, 200)).astype(np.float32)
    best = Best(k, queries, beside=1)
    for start in range(0, 200, 13):
        block = keys[:, start : start + 13]
        best.add(np.arange(start, start + block.shape[1]), block, 2 * block)
    rows, top, beside = best.ranked()
    expected = np.argsort(-keys, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(top, np.take_along_axis(keys, expected, 1))
    np.testing.assert_array_equal(beside, 2 * top)


def test_best__what_is_no_number_is_the_worst() -> None:
    keys = np.full((2, 50), np.nan, np.float32)
    keys[0, 30] = 1
    best = Best(3, 2)
    for start in (0, 50):
        best.add(np.arange(start, start + 50), keys)
    assert best.ranked()[0][0, :2].tolist() == [30, 80]
