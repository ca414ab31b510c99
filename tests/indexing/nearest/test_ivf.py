"""Approximate search: recall, with and without restrictions; building and extending."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import faiss
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest import ivf, ivf_building
from alphaclip.indexing.nearest.brute_force import scan_top
from alphaclip.indexing.nearest.ivf import IvfIndex
from alphaclip.indexing.nearest.ivf_building import build_ivf, count_lists, extend_ivf, held_slots
from alphaclip.indexing.nearest.metrics import METRICS, Metric
from alphaclip.indexing.nearest.tuning import make_queries, tune
from alphaclip.indexing.store.table import VectorTable

DIM = 32
TOTAL = 20_000


def make_vectors(dtype: str, total: int = TOTAL, seed: int = 0) -> np.ndarray:
    """Clusters of vectors, as those of pictures are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((300, DIM))
    vectors = centres[rng.integers(300, size=total)] + 0.5 * rng.standard_normal((total, DIM))
    if dtype == "float16":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(dtype)


def make_table(dtype: str) -> VectorTable:
    vectors = make_vectors(dtype)
    rows = np.setdiff1d(np.arange(TOTAL), np.arange(5, TOTAL, 17))
    segments = (vectors[:12_000], vectors[12_000:])
    return VectorTable(segments, ("a", "b"), rows, DIM, np.dtype(dtype))


@pytest.fixture(autouse=True)
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets restrictions to few places use the lists."""
    monkeypatch.setattr(ivf, "FEW", 1)


@pytest.fixture(scope="module")
def table() -> VectorTable:
    return make_table("float16")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "residual"])
def index(table: VectorTable, request: pytest.FixtureRequest) -> IvfIndex:
    built = build_ivf(table, "cosine", residual=request.param)
    queries = make_queries(table, "cosine", 0)
    tuned = tune(IvfIndex(table, "cosine", built, 1), table, "cosine", queries)
    return IvfIndex(table, "cosine", built, tuned.nprobe, tuned.oversample)


@pytest.fixture
def queries(table: VectorTable) -> np.ndarray:
    return make_queries(table, "cosine", 5)["shifted"][:50]


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_search__of_all_lists_is_nearly_the_scan(
    dtype: str, metric: Metric, residual: bool, queries: np.ndarray
) -> None:
    table = make_table(dtype)
    built = build_ivf(table, metric, residual=residual)
    np.testing.assert_array_equal(held_slots(built), table.slots)
    index = IvfIndex(table, metric, built, built.nlist)
    truth, expected = scan_top(table, queries, 20, metric)
    scores, found = index.search(queries, 20)
    assert (scores.dtype, found.dtype) == (np.float32, np.int64)
    assert recall(found, expected) > 0.99
    np.testing.assert_allclose(scores[:, 0], truth[:, 0], rtol=1e-3)


def test_tune__reaches_its_target(index: IvfIndex, table: VectorTable) -> None:
    queries = make_queries(table, "cosine", 0)
    assert set(queries) == {"shifted", "region"}
    tuned = tune(index, table, "cosine", queries)
    assert min(tuned.recalls.values()) >= 0.99
    assert (tuned.k, tuned.queries) == (100, 400)
    for kind, expected in tuned.recalls.items():
        _, truth = scan_top(table, queries[kind], 100, "cosine")
        _, found = index.search(queries[kind], 100, nprobe=tuned.nprobe)
        assert recall(found, truth) == pytest.approx(expected, abs=1e-3)


def test_tune__takes_more_candidates_where_those_of_all_lists_are_not_enough(
    index: IvfIndex, table: VectorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivf, "LEAST_CANDIDATES", 1)
    poor = IvfIndex(table, "cosine", index._index, 1, oversample=1)
    tuned = tune(poor, table, "cosine", make_queries(table, "cosine", 0))
    assert tuned.oversample == poor.oversample > 1
    assert min(tuned.recalls.values()) >= 0.99


def test_make_queries__texts_replace_the_stand_ins(table: VectorTable) -> None:
    texts = np.ones((3, DIM), np.float32)
    assert list(make_queries(table, "cosine", 0, lambda: texts)) == ["text", "region"]
    assert list(make_queries(table, "cosine", 0, lambda: texts[:0])) == ["shifted", "region"]


@pytest.mark.parametrize("part", [0.5, 0.1, 0.01, 0.001])
def test_search__restricted_loses_no_recall(
    index: IvfIndex,
    table: VectorTable,
    queries: np.ndarray,
    part: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ivf, "LARGEST_PART", 1)
    k = min(100, int(part * len(table)) - 1)
    whole = recall(index.search(queries, k)[1], scan_top(table, queries, k, "cosine")[1])
    rng = np.random.default_rng(3)
    places = np.sort(rng.choice(len(table), int(part * len(table)), replace=False))
    truth, expected = scan_top(table, queries, k, "cosine", places)
    scores, found = index.search(queries, k, places)
    assert np.isin(found, places).all()
    assert recall(found, expected) >= min(whole, 0.99)
    np.testing.assert_allclose(scores[:, 0], truth[:, 0], atol=0.02)


def test_search__far_places_are_found_too(
    index: IvfIndex, table: VectorTable, queries: np.ndarray
) -> None:
    """The restriction leaves most of the table, but nothing near the query."""
    near = scan_top(table, queries[:1], len(table) // 3, "cosine")[1][0]
    places = np.setdiff1d(np.arange(len(table)), near)
    scores, found = index.search(queries[:1], 50, places)
    assert found.shape == (1, 50)
    assert np.isin(found, places).all()
    assert len(np.unique(found)) == 50
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("k", [1, 10, 1000, 2500, 30_000])
def test_search__any_k(index: IvfIndex, table: VectorTable, queries: np.ndarray, k: int) -> None:
    _, expected = scan_top(table, queries, k, "cosine")
    _, found = index.search(queries, k)
    assert found.shape == (50, min(k, len(table)))
    assert recall(found, expected) >= 0.97


def test_search__with_given_nprobe_may_find_less(
    index: IvfIndex, table: VectorTable, queries: np.ndarray
) -> None:
    scores, found = index.search(queries, 1000, nprobe=1)
    assert ((found == -1) == np.isneginf(scores)).all()
    assert (found == -1).any()
    assert (found[:, 0] >= 0).all()


def test_search__rows_dropped_since_are_left_out(
    index: IvfIndex, table: VectorTable, queries: np.ndarray
) -> None:
    best = np.unique(index.search(queries, 5)[1])
    fewer = replace(table, slots=np.delete(table.slots, best))
    later = IvfIndex(fewer, "cosine", index._index, index.nprobe)
    _, expected = scan_top(fewer, queries, 20, "cosine")
    assert recall(later.search(queries, 20)[1], expected) >= 0.97


def test_search__from_several_threads(
    index: IvfIndex, table: VectorTable, queries: np.ndarray
) -> None:
    places = np.arange(0, len(table), 2)
    jobs = [(nprobe, only) for nprobe in (1, 8, None) for only in (None, places)] * 4

    def search(job: tuple[int | None, np.ndarray | None]) -> np.ndarray:
        return index.search(queries, 20, job[1], job[0])[1]

    with ThreadPoolExecutor(4) as pool:
        for found, job in zip(pool.map(search, jobs), jobs, strict=True):
            np.testing.assert_array_equal(found, search(job))


def test_search__bad_queries_and_nothing(index: IvfIndex, queries: np.ndarray) -> None:
    with pytest.raises(AlphaClipError, match="was the query made by another encoder"):
        index.search(queries[:, :9], 5)
    with pytest.raises(AlphaClipError, match="not finite"):
        index.search(np.full((1, DIM), np.nan), 5)
    assert index.search(queries, 5, np.empty(0, np.int64))[1].shape == (50, 0)
    assert index.search(queries, 0)[1].shape == (50, 0)
    assert index.search(queries[:0], 5)[1].shape == (0, 5)


def test_extend__is_what_building_would_hold(table: VectorTable, queries: np.ndarray) -> None:
    built = build_ivf(table, "cosine")
    more = make_vectors("float16", 3000, seed=4)
    rows = np.concatenate([table.slots[::2], np.arange(TOTAL + 10, TOTAL + 3000)])
    rows = np.union1d(rows, [5, 22])  # dropped before, and back again
    longer = VectorTable((*table.segments, more), ("a", "b", "c"), rows, DIM, table.dtype)
    extended = extend_ivf(built, longer, "cosine", table.names, len(table))
    assert extended is not None
    np.testing.assert_array_equal(held_slots(extended), rows)
    assert extended.ntotal == len(longer)
    found = IvfIndex(longer, "cosine", extended, extended.nlist).search(queries, 50)[1]
    assert recall(found, scan_top(longer, queries, 50, "cosine")[1]) >= 0.97


def test_extend__rows_of_another_segment_are_added_anew(table: VectorTable) -> None:
    other = make_vectors("float16", 8000, seed=7)
    changed = VectorTable((table.segments[0], other), ("a", "x"), table.slots, DIM, table.dtype)
    extended = extend_ivf(build_ivf(table, "cosine"), changed, "cosine", ("a", "b"), len(table))
    assert extended is not None
    np.testing.assert_array_equal(held_slots(extended), table.slots)
    own = changed.take(np.arange(15_000, 15_010)).astype(np.float32)
    found = IvfIndex(changed, "cosine", extended, extended.nlist).search(own, 1)[1]
    np.testing.assert_array_equal(found[:, 0], np.arange(15_000, 15_010))


def test_extend__trains_again_where_too_much_has_changed(table: VectorTable) -> None:
    built = build_ivf(table, "cosine")
    few = replace(table, slots=table.slots[: len(table) // 3])
    assert extend_ivf(built, few, "cosine", table.names, len(table)) is None
    assert extend_ivf(built, table, "cosine", table.names, len(table) // 2) is None
    assert extend_ivf(built, table, "cosine", ("x", "y"), len(table)) is None
    assert built.ntotal == len(table)


def test_build__tells_how_far_it_is(table: VectorTable) -> None:
    told: list[tuple[str, int, int]] = []
    built = build_ivf(table, "cosine", progress=lambda *state: told.append(state))
    assert told[-1] == ("vectors indexed", len(table), len(table))
    assert isinstance(built, faiss.IndexIVFPQFastScan)


def test_build__many_lists_of_residual_codes_for_many_vectors(
    table: VectorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = build_ivf(table, "cosine")
    monkeypatch.setattr(ivf_building, "RESIDUAL_FROM", len(table))
    many, distances = build_ivf(table, "cosine"), build_ivf(table, "euclidean")
    kinds = [IvfIndex(table, "cosine", one, 1).facts["type"] for one in (few, many, distances)]
    assert kinds == ["IVF16,PQ32x4fs", "IVF137,PQ32x4fsr", "IVF16,PQ32x4fs"]
    np.testing.assert_array_equal(held_slots(many), table.slots)


def test_count_lists() -> None:
    assert [count_lists(n, False) for n in (16, 160, 1000, 1_000_000)] == [1, 10, 16, 62]
    assert [count_lists(n, True) for n in (16, 160, 1000, 1_000_000)] == [1, 10, 32, 1000]
