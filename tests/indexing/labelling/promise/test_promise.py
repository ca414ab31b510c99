"""Thresholds with a promise."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson, needed, tail_probability
from alphaclip.indexing.labelling.promise.promise import (
    fix_threshold,
    threshold_grid,
)


def test_needed__is_the_least_number_that_passes_the_exact_test() -> None:
    for wrong in range(4):
        enough = needed(wrong, 0.95, 0.9)
        chances = tail_probability(np.array([wrong] * 2), np.array([enough, enough - 1]), 0.95)
        assert chances[0] <= 0.1 < chances[1]
    assert needed(0, 0.95, 0.9) == 45, "0.95 ** 45 is just below 0.1"


def test_clopper_pearson__agrees_with_the_closed_forms() -> None:
    low, high = clopper_pearson(10, 10, 0.9)
    assert low == pytest.approx(0.05 ** (1 / 10)) and high == 1
    assert clopper_pearson(0, 10, 0.9) == pytest.approx((0, 1 - 0.05 ** (1 / 10)))
    assert clopper_pearson(0, 0) == (0, 1)


def test_threshold_grid__falls_from_the_room_for_two_wrong_to_all() -> None:
    candidates = np.arange(1000.0)
    grid = threshold_grid(candidates, 210, 0.95, 0.9)
    assert (np.diff(grid) < 0).all() and grid[-1] == 0 and len(grid) == 50
    assert (candidates >= grid[0]).mean() == pytest.approx(needed(2, 0.95, 0.9) / 210, abs=0.002)
    assert threshold_grid(candidates, 10, 0.95, 0.9).tolist() == [0]
    assert threshold_grid(np.ones(1000), 210, 0.95, 0.9).tolist() == [1]


def test_fix_threshold__passes_what_is_right_and_stops_where_it_is_wrong() -> None:
    candidates = np.arange(400.0)
    promise = fix_threshold(candidates, candidates >= 200, 0.9, candidates=candidates)
    assert promise.is_made
    assert 150 < promise.threshold < 200, "200 right ones leave room for a few wrong ones"
    passed = candidates >= promise.threshold
    assert (promise.passed, promise.right) == (passed.sum(), 200)
    chance = tail_probability(np.array([passed.sum() - 200]), np.array([passed.sum()]), 0.9)
    assert chance[0] <= 0.1
    assert promise.coverage == pytest.approx(passed.mean())
    assert promise.interval[0] < promise.estimate < promise.interval[1]


def test_fix_threshold__stops_at_the_first_failure() -> None:
    candidates = np.arange(400.0)
    correct = (candidates < 300) & (candidates > 10)
    promise = fix_threshold(candidates, correct, 0.6, candidates=candidates)
    assert correct.mean() > 0.7, "a threshold that lets everything pass would do"
    assert not promise.is_made


def test_fix_threshold__without_enough_reviews_says_how_many_are_missing() -> None:
    candidates = np.arange(1000.0)
    reviewed = candidates[::50]
    promise = fix_threshold(reviewed, np.ones(20, bool), 0.95, candidates=candidates)
    assert promise.threshold is None and promise.more == 25 and "not reachable" in promise.reason
    assert promise.estimate == 1 and promise.coverage == 0
    more = candidates[:45]
    assert fix_threshold(more, np.ones(45, bool), 0.95, candidates=candidates).is_made


def test_fix_threshold__of_one_region_is_answered_plainly() -> None:
    one = np.array([3.0])
    promise = fix_threshold(one, np.array([True]), 0.9, candidates=one)
    assert not promise.is_made and "with 1 candidates in all, review every one" in promise.reason


def test_fix_threshold__of_an_empty_sample_is_not_reachable() -> None:
    promise = fix_threshold(np.zeros(0), np.zeros(0, bool), 0.9, candidates=np.arange(100.0))
    assert not promise.is_made and promise.estimate is None and promise.more == 22


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": 1.0}, "100 % cannot be tested"),
        ({"precision": 1}, "100 % cannot be tested"),
        ({"precision": 95}, "between 0 and 1"),
        ({"confidence": 0}, "confidence is 0"),
        ({"scores": np.array([np.nan, 1])}, "not a finite number"),
        ({"correct": np.array([1, 0])}, "expected bool"),
        ({"correct": np.array([True])}, "expected \\(n,\\)"),
        ({"candidates": np.zeros(0)}, "0 candidates"),
    ],
)
def test_fix_threshold__refuses_bad_input(changed: dict, message: str) -> None:
    given = {
        "scores": np.array([1.0, 2.0]),
        "correct": np.array([True, False]),
        "precision": 0.9,
        "confidence": 0.9,
        "candidates": np.array([1.0, 2.0, 3.0]),
    }
    with pytest.raises(AlphaClipError, match=message):
        fix_threshold(**given | changed)
