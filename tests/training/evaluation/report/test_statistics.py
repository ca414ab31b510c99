"""Intervals: against scipy where it can do the same, else by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from alphaclip.errors import AlphaClipError
from alphaclip.training.evaluation.outcomes import Outcome, Row
from alphaclip.training.evaluation.report import statistics
from alphaclip.training.evaluation.report.statistics import compare, group_intervals, interval


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand-made cases are small."""
    monkeypatch.setattr(statistics, "LEAST_PICTURES", 2)


def rows_of(
    correct: list[float], examples: list[str] | None = None, truths: list[str] | None = None
) -> tuple[Row, ...]:
    examples = examples or [f"p{i}" for i in range(len(correct))]
    truths = truths or [""] * len(correct)
    return tuple(
        Row(f"r{i}", example, value, truth=truth)
        for i, (value, example, truth) in enumerate(zip(correct, examples, truths, strict=True))
    )


def outcome_of(rows: tuple[Row, ...], encoder: str = "a", **kwargs: object) -> Outcome:
    return Outcome("regions", "set", encoder, {}, rows, primary="top-1", **kwargs)


def test_interval__of_one_region_a_picture_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).random(80) < 0.7
    found = interval([rows_of(values.astype(float).tolist())], resamples=20_000)
    theirs = bootstrap(
        (values.astype(float),), np.mean, n_resamples=20_000, method="percentile", rng=0
    ).confidence_interval
    assert found.value == pytest.approx(100 * values.mean())
    assert found.low == pytest.approx(100 * theirs.low, abs=0.7)
    assert found.high == pytest.approx(100 * theirs.high, abs=0.7)
    assert (found.rows, found.pictures) == (80, 80)


def test_interval__of_a_difference_agrees_with_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    ours = (rng.random(120) < 0.8).astype(float)
    base = np.where(rng.random(120) < 0.8, ours, 1 - ours)
    found = interval([rows_of(ours.tolist()), rows_of(base.tolist())], resamples=20_000)
    theirs = bootstrap(
        (ours, base),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        n_resamples=20_000,
        method="percentile",
        paired=True,
        vectorized=True,
        rng=0,
    ).confidence_interval
    assert found.value == pytest.approx(100 * (ours - base).mean())
    assert found.low == pytest.approx(100 * theirs.low, abs=0.7)
    assert found.high == pytest.approx(100 * theirs.high, abs=0.7)


def test_interval__regions_of_a_picture_are_drawn_together() -> None:
    """Ten regions a picture that are all right or all wrong tell no more than one of them."""
    values = np.random.default_rng(3).random(60) < 0.6
    pictures = [f"p{i}" for i in range(60)]
    one = interval([rows_of(values.astype(float).tolist(), pictures)])
    ten = interval(
        [rows_of(np.repeat(values, 10).astype(float).tolist(), np.repeat(pictures, 10).tolist())]
    )
    assert (ten.value, ten.low, ten.high) == pytest.approx((one.value, one.low, one.high))
    assert (ten.rows, ten.pictures) == (600, 60)


def test_interval__two_pictures_have_three_draws() -> None:
    """One region, right, and three, wrong: 100, 25 or 0 with chances of 1/4, 1/2 and 1/4."""
    rows = rows_of([1.0, 0.0, 0.0, 0.0], ["a", "b", "b", "b"])
    narrow, wide = interval([rows], confidence=0.4), interval([rows], confidence=0.98)
    assert (narrow.value, narrow.low, narrow.high) == (25.0, 25.0, 25.0)
    assert (wide.low, wide.high) == (0.0, 100.0)


def test_interval__class_mean_weighs_classes_alike() -> None:
    rows = rows_of([1, 1, 1, 0, 0, 1], list("abcdef"), ["x", "x", "x", "x", "y", "z"])
    found = interval([rows], "class-mean")
    assert found.value == pytest.approx(100 * (0.75 + 0 + 1) / 3)
    assert found.low < found.value < found.high


def test_interval__class_mean_agrees_with_scipy_where_every_picture_has_every_class() -> None:
    rng = np.random.default_rng(4)
    common, rare = (rng.random((50, 3)) < 0.9).astype(float), (rng.random(50) < 0.4).astype(float)
    correct = np.column_stack([common, rare])
    pictures = np.repeat([f"p{i}" for i in range(50)], 4).tolist()
    rows = rows_of(correct.ravel().tolist(), pictures, ["x", "x", "x", "y"] * 50)
    theirs = bootstrap(
        (common.mean(axis=1), rare),
        lambda x, y, axis: (np.mean(x, axis=axis) + np.mean(y, axis=axis)) / 2,
        n_resamples=20_000,
        method="percentile",
        paired=True,
        vectorized=True,
        rng=0,
    ).confidence_interval
    found = interval([rows], "class-mean", resamples=20_000)
    assert found.low == pytest.approx(100 * theirs.low, abs=0.5)
    assert found.high == pytest.approx(100 * theirs.high, abs=0.5)


def test_interval__class_that_was_not_drawn_does_not_count() -> None:
    """A draw without class y is the mean of x alone: 100, not 50."""
    rows = rows_of([1.0] * 9 + [0.0], truths=["x"] * 9 + ["y"])
    found = interval([rows], "class-mean")
    assert (found.value, found.low, found.high) == (50.0, 50.0, 100.0)


def test_interval__same_seed_same_interval() -> None:
    rows = rows_of(np.random.default_rng(5).random(40).tolist())
    assert interval([rows], seed=1) == interval([rows], seed=1)
    assert interval([rows], seed=1) != interval([rows], seed=2)


def test_interval__few_pictures_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "LEAST_PICTURES", 10)
    nine, ten = (interval([rows_of([1.0] * n + [0.0])]) for n in (8, 9))
    assert nine.value == pytest.approx(100 * 8 / 9)
    assert np.isnan([nine.low, nine.high]).all()
    assert ten.low < ten.value < ten.high


def test_interval__one_picture_has_none() -> None:
    found = interval([rows_of([1.0, 0.0], ["a", "a"])])
    assert found.value == 50.0
    assert np.isnan([found.low, found.high]).all()


def test_compare__difference_is_of_the_rows_of_both_in_any_order() -> None:
    first = outcome_of(rows_of([1, 0, 1, 0]))
    second = outcome_of(tuple(reversed(rows_of([1, 1, 1, 0])[1:])), "b")
    base, other = compare([first, second])
    assert base.difference is None
    assert base.own.value == 50.0
    assert other.own.value == pytest.approx(200 / 3)
    assert other.difference is not None
    assert other.difference.value == pytest.approx(100 / 3)
    assert other.difference.rows == 3


def test_compare__equal_answers_differ_by_nothing_for_certain() -> None:
    rows = rows_of([1, 0, 1, 0, 1])
    _, other = compare([outcome_of(rows), outcome_of(rows, "b")])
    assert other.difference is not None
    assert (other.difference.value, other.difference.low, other.difference.high) == (0, 0, 0)
    assert other.own.low < other.own.high


def test_compare__nothing_in_common_has_no_difference() -> None:
    rows = rows_of([1, 0, 1, 0])
    _, other = compare([outcome_of(rows[:2]), outcome_of(rows[2:], "b")])
    assert other.difference is None


def test_compare__other_sets_are_refused() -> None:
    first = outcome_of(rows_of([1, 0]))
    with pytest.raises(AlphaClipError, match="differ"):
        compare([first, Outcome("regions", "other", "b", {}, first.rows, primary="top-1")])


def test_compare__outcome_without_rows_is_named() -> None:
    with pytest.raises(AlphaClipError, match="b: nothing was judged"):
        compare([outcome_of(rows_of([1, 0])), outcome_of((), "b")])


def test_group_intervals__each_group_alone_and_none_for_a_single_one() -> None:
    rows = tuple(Row(f"{i}", f"p{i}", float(i < 6), group="large" if i < 8 else "small")
                 for i in range(12))  # fmt: skip
    found = group_intervals(outcome_of(rows))
    assert {name: part.value for name, part in found.items()} == {"large": 75.0, "small": 0.0}
    assert group_intervals(outcome_of(rows[:8])) == {}
