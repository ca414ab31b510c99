"""Encoders side by side on one set in one setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from alphaclip.training.datasets.examples import SIZES
from alphaclip.training.evaluation.outcomes import Outcome, slug
from alphaclip.training.evaluation.report.published import Published, find_published, published_on
from alphaclip.training.evaluation.report.statistics import (
    Interval,
    compare,
    group_intervals,
)


@dataclass(frozen=True)
class Line:
    """One encoder in a table.

    Attributes:
        outcome: what it reached
        own: its primary metric; without interval where that is not made of rows
        difference: to the first encoder of the table, on the rows of both
        groups: its primary metric on each part of the set
        published: the same system's published figure in the same protocol
    """

    outcome: Outcome
    own: Interval
    difference: Interval | None
    groups: dict[str, Interval]
    published: Published | None


@dataclass(frozen=True)
class Table:
    """Encoders on one set in one setting.

    Attributes:
        task: its name
        set: its name
        setting: its short name; may be empty
        lines: in the order in which the encoders were given
        published: everything that papers report on this set
    """

    task: str
    set: str
    setting: str
    lines: tuple[Line, ...]
    published: tuple[Published, ...]

    @property
    def primary(self) -> str:
        """The metric that is compared."""
        return self.lines[0].outcome.primary

    @property
    def groups(self) -> list[str]:
        """The parts of the set, sizes from small to large, others by name."""
        names = {name for line in self.lines for name in line.groups}
        return [size for size in SIZES if size in names] + sorted(names - set(SIZES))

    @property
    def name(self) -> str:
        """A file name for its plots."""
        return slug((self.task, self.set, self.setting))


def make_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Compares the outcomes of each set in each setting with the first of them.

    Args:
        outcomes: of any tasks, the encoder to compare with before the others
    """

    def key(outcome: Outcome) -> tuple[str, str, str]:
        return outcome.task, outcome.set, outcome.setting

    return [
        Table(*names, tuple(_lines(list(group))), tuple(published_on(*names[:2])))
        for names, group in groupby(sorted(outcomes, key=key), key=key)
    ]


def spell_interval(figure: Interval, sign: str = "") -> str:
    """A figure with its interval, where it has one; ``sign`` is that of format strings."""
    if math.isnan(figure.low):
        return f"{figure.value:{sign}.2f}" if sign else spell_number(figure.value)
    return f"{figure.value:{sign}.2f} [{figure.low:{sign}.2f}, {figure.high:{sign}.2f}]"


def spell_number(value: float | None) -> str:
    """A figure, or a dash where there is none; large whole ones are counts."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value == round(value) and value > 100 else f"{value:.2f}"


def _lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line for each; one whose metric is not made of rows, or has none, has no interval."""
    judged = [outcome for outcome in outcomes if outcome.rows and outcome.estimator != "none"]
    intervals = compare(judged) if judged else []
    comparisons = {id(outcome): one for outcome, one in zip(judged, intervals, strict=True)}
    lines = []
    for outcome in outcomes:
        published = find_published(outcome, outcome.primary)
        comparison = comparisons.get(id(outcome))
        if comparison is None:
            nan, pictures = float("nan"), {row.example for row in outcome.rows}
            value = outcome.metrics.get(outcome.primary, nan)
            own = Interval(value, nan, nan, len(outcome.rows), len(pictures))
            lines.append(Line(outcome, own, None, {}, published))
        else:
            # without an interval of the first there is nothing to take a difference to
            difference = comparison.difference if id(outcomes[0]) in comparisons else None
            groups = group_intervals(outcome)
            lines.append(Line(outcome, comparison.own, difference, groups, published))
    return lines
