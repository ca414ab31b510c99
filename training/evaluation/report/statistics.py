"""How sure a figure is, and a difference of two: the paired cluster bootstrap.

Pictures are drawn with replacement, not rows, because the regions of a picture are not
independent. All encoders are judged on the same draws, so that what is hard for all of them
cancels out of a difference. Intervals are percentile intervals (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13). Where classes have few regions, some are not
drawn at all and the mean over classes is one over fewer: such intervals are rough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.training.evaluation.outcomes import Estimator, Outcome, Row

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RESAMPLES = 10_000
"""Enough that the ends of an interval differ by little between two seeds."""

CONFIDENCE = 0.95
SEED = 5
"""Fixed, so that the same outcomes give the same report."""

LEAST_PICTURES = 10
"""Of fewer pictures no interval is given: five that are all right would have one of width 0."""

_CHUNK = 100
"""Draws in memory at once, each a number for every picture."""


@dataclass(frozen=True)
class Interval:
    """A figure and where it may lie.

    Attributes:
        value: on the rows themselves, in percent
        low: lower end; NaN where there are fewer than ``LEAST_PICTURES``
        high: upper end; NaN as ``low``
        rows: how many there are
        pictures: how many they are of
    """

    value: float
    low: float
    high: float
    rows: int
    pictures: int


@dataclass(frozen=True)
class Comparison:
    """One encoder beside the first.

    Attributes:
        encoder: its name
        own: its figure
        difference: its figure less the first one's, on the rows that both have; None for the first
    """

    encoder: str
    own: Interval
    difference: Interval | None


def compare(outcomes: Sequence[Outcome]) -> list[Comparison]:
    """The primary metric of several encoders on one set in one setting, a comparison for each.

    Raises:
        AlphaClipError: if an outcome has no rows, or they are of different settings
    """
    _check(outcomes)
    first = outcomes[0]
    comparisons = []
    for outcome in outcomes:
        own, difference = interval([outcome.rows], outcome.estimator), None
        paired = [_common(outcome, first), _common(first, outcome)]
        if outcome is not first and paired[0]:
            difference = interval(paired, outcome.estimator)
        comparisons.append(Comparison(outcome.encoder, own, difference))
    return comparisons


def group_intervals(outcome: Outcome) -> dict[str, Interval]:
    """The primary metric on the rows of each group; none where all rows are of one."""
    groups: dict[str, list[Row]] = {}
    for row in outcome.rows:
        groups.setdefault(row.group, []).append(row)
    if len(groups) < 2:
        return {}
    return {name: interval([rows], outcome.estimator) for name, rows in sorted(groups.items())}


def interval(
    sides: Sequence[Sequence[Row]],
    estimator: Estimator = "mean",
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Interval:
    """A figure of one encoder's rows, or the first's less the second's, in percent.

    Args:
        sides: one or two lists of rows; two have the same ids in the same order
        estimator: how a figure comes from rows
        resamples: how often the pictures are drawn
        confidence: share of the draws inside the interval
        seed: of the draws
    """
    rows = sides[0]
    values = [np.array([row.correct for row in side], float) for side in sides]
    correct = values[0] - values[1] if len(values) == 2 else values[0]
    sums, counts = _tables(rows, correct, estimator)
    pictures = int(sums.shape[0])
    value = float(_estimate(sums, counts, np.ones((1, pictures)))[0])
    if pictures < LEAST_PICTURES:
        return Interval(value, np.nan, np.nan, len(rows), pictures)
    draws = np.concatenate(
        [_estimate(sums, counts, drawn) for drawn in _draws(pictures, resamples, seed)]
    )
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high), len(rows), pictures)


def _check(outcomes: Sequence[Outcome]) -> None:
    empty = [outcome.encoder for outcome in outcomes if not outcome.rows]
    if not outcomes or empty:
        raise AlphaClipError(f"{', '.join(empty) or 'no encoder'}: nothing was judged")
    kinds = {(o.task, o.set, o.setting, o.primary, o.estimator) for o in outcomes}
    if len(kinds) > 1:
        raise AlphaClipError(
            f"these outcomes cannot be compared, they differ in task, set, setting or metric: "
            f"{sorted(kinds)}"
        )


def _common(outcome: Outcome, other: Outcome) -> list[Row]:
    """The rows that both have, in an order that does not depend on which is asked first."""
    ids = {(row.id, row.example) for row in other.rows}
    common = (row for row in outcome.rows if (row.id, row.example) in ids)
    return sorted(common, key=lambda row: (row.id, row.example))


def _tables(
    rows: Sequence[Row], correct: np.ndarray, estimator: Estimator
) -> tuple[csr_array, csr_array]:
    """Sums of ``correct`` and counts of rows, by picture and by column that is averaged apart."""
    from scipy.sparse import csr_array

    names = {"mean": "", "class-mean": "truth", "group-mean": "group"}
    if estimator not in names:
        raise AlphaClipError(f"a metric of estimator {estimator!r} has no interval")
    apart = [getattr(row, names[estimator]) if names[estimator] else "" for row in rows]
    pictures, at = np.unique([row.example for row in rows], return_inverse=True)
    columns, column = np.unique(apart, return_inverse=True)
    shape = len(pictures), len(columns)
    sums = csr_array((correct, (at, column)), shape=shape)
    counts = csr_array((np.ones(len(rows)), (at, column)), shape=shape)
    return sums, counts


def _draws(pictures: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is drawn: float64 (up to 100, pictures)."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        drawn = rng.integers(pictures, size=(size, pictures))
        drawn += np.arange(size)[:, None] * pictures
        counts = np.bincount(drawn.ravel(), minlength=size * pictures)
        yield counts.reshape(size, pictures).astype(float)


def _estimate(sums: csr_array, counts: csr_array, drawn: np.ndarray) -> np.ndarray:
    """The figure of each draw, in percent; columns without a drawn row do not count."""
    totals, sizes = (sums.T @ drawn.T).T, (counts.T @ drawn.T).T
    with np.errstate(invalid="ignore"):
        means = np.where(sizes > 0, totals / sizes, np.nan)
    return 100.0 * np.nanmean(means, axis=1)
