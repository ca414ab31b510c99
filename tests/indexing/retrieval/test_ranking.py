"""Queries of several parts, on five vectors whose cosines can be read off."""

import numpy as np
import pytest

from alphaclip import Region
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.nearest.engine import open_engine
from alphaclip.indexing.retrieval.queries import Example, parts_of, unit_vectors
from alphaclip.indexing.retrieval.ranking import Ranked, Ranking, find
from alphaclip.indexing.store.table import VectorTable

ROWS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0.6, 0, 0.8]], np.float16
)  # fmt: skip
X, Y, Z = np.eye(3, dtype=np.float32)


def search(query, k=5, negative=None, only=None, min_score=None, groups=None, **options) -> Ranked:
    table = VectorTable((ROWS,), ("rows",), np.arange(5), 3, np.dtype(np.float16))
    against = None if negative is None else unit_vectors(negative)
    ranking = Ranking.of(unit_vectors(np.array(query)), against, **options)
    engine = open_engine(table, "cosine")
    return find(engine, table, ranking, k, only, min_score, groups)


def test_find__one_vector() -> None:
    found = search(X, k=3)
    assert found.rows.tolist() == [0, 3, 4]
    np.testing.assert_allclose(found.scores, [1, 0.6, 0.6], atol=1e-3)
    np.testing.assert_array_equal(found.scores, found.rank_scores)


def test_find__the_largest_or_the_mean_of_several() -> None:
    assert search([X, Y], k=2).rows.tolist() == [0, 1]
    mean = search([X, Y], k=2, aggregate="mean")
    assert mean.rows[0] == 3
    assert mean.scores[0] == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_find__what_to_avoid_moves_down_but_scores_stay(aggregate: str) -> None:
    found = search(X, negative=Y, aggregate=aggregate)
    assert found.rows.tolist() == [0, 4, 3, 2, 1]
    np.testing.assert_allclose(found.scores, [1, 0.6, 0.6, 0, 0], atol=1e-3)
    np.testing.assert_allclose(found.rank_scores, [1, 0.6, 0.2, 0, -0.5], atol=1e-3)


def test_find__several_to_avoid() -> None:
    against = np.stack([Y, Z])
    largest = search(X, negative=against)
    np.testing.assert_allclose(largest.rank_scores[:3], [1, 0.2, 0.2], atol=1e-3)
    mean = search(X, negative=against, aggregate="mean")
    np.testing.assert_allclose(mean.rank_scores[:3], [1, 0.4, 0.4], atol=1e-3)


def test_find__weights_change_the_order_only() -> None:
    found = search([X, Y], k=2, weights=[1, 3])
    assert found.rows.tolist() == [1, 3]
    np.testing.assert_allclose(found.scores, [1, 0.8], atol=1e-3)
    np.testing.assert_allclose(found.rank_scores, [1.5, 1.2], atol=1e-3)


def test_find__least_similar_first() -> None:
    found = search(X, reverse=True)
    assert found.rows[-1] == 0
    assert (np.diff(found.scores) >= 0).all()


def test_find__only_some_rows() -> None:
    assert search(X, only=np.array([1, 3])).rows.tolist() == [3, 1]
    assert search(X, only=np.zeros(0, np.int64)).rows.tolist() == []


def test_find__lowest_score() -> None:
    assert search(X, min_score=0.5).rows.tolist() == [0, 3, 4]
    assert search(X, k=None, min_score=0.9).rows.tolist() == [0]
    assert search(X, negative=X, min_score=0.5, k=1).rows.tolist() == [0]


def test_find__all() -> None:
    assert sorted(search(X, k=None).rows.tolist()) == [0, 1, 2, 3, 4]


def test_find__the_best_of_each_group() -> None:
    groups = np.array([0, 0, 1, 0, 1])
    assert search(X, groups=groups.take).rows.tolist() == [0, 4]
    assert search(Y, k=1, groups=groups.take).rows.tolist() == [1]
    assert search(X, k=1, groups=groups.take, min_score=0.5).rows.tolist() == [0]


@pytest.mark.parametrize("more", [1, 2, 8])
@pytest.mark.parametrize("min_score", [None, 0.1, 0.7, 2.0])
@pytest.mark.parametrize("options", [{}, {"negative": Y}, {"reverse": True}])
def test_find__the_best_of_each_group_as_of_all(
    monkeypatch: pytest.MonkeyPatch, more: int, min_score: float | None, options: dict
) -> None:
    """However few rows are found at first."""
    monkeypatch.setattr("alphaclip.indexing.retrieval.ranking.MORE", more)
    groups = np.array([0, 0, 1, 0, 1])
    every = search(X, k=None, min_score=min_score, **options).rows.tolist()
    best = [row for at, row in enumerate(every) if groups[row] not in groups[every[:at]]]
    for k in (1, 2, 3):
        found = search(X, k=k, groups=groups.take, min_score=min_score, **options)
        assert found.rows.tolist() == best[:k]


def test_find__parts_that_cancel_out() -> None:
    found = search([X, -X], aggregate="mean")
    assert len(found.rows) == 5
    np.testing.assert_allclose(found.scores, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregate": "median"}, "expected one of max, mean"),
        ({"weights": [1, 2]}, "expected 1 positive numbers"),
        ({"weights": [-1]}, "expected 1 positive numbers"),
    ],
)
def test_ranking__bad_options(options: dict, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        search(X, **options)


def test_find__another_dimension() -> None:
    with pytest.raises(AlphaClipError, match="holds vectors of 3 numbers"):
        search(np.ones(4))


def test_parts_of__one_or_several() -> None:
    region = ("photo.jpg", Region.whole_image())
    assert parts_of("apple") == ["apple"]
    assert parts_of(region) == [region]
    assert parts_of(["apple", Example("1"), region]) == ["apple", Example("1"), region]
    for wrong in ([], 7, ["apple", 7], [region, ("photo.jpg", "no region")]):
        with pytest.raises(AlphaClipError, match="query is"):
            parts_of(wrong)  # type: ignore[arg-type]
