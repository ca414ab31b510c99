"""Encoders side by side on one set in one setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from alphaclip.training.datasets.examples import SIZES
from alphaclip.training.evaluation.outcome_files import slug
from alphaclip.training.evaluation.outcomes import Outcome
from alphaclip.training.evaluation.report.published import Published, find_published, published_on
from alphaclip.training.evaluation.report.statistics import (
    Comparison,
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
        found = {name for line in self.lines for name in line.groups}
        return sorted(found, key=lambda name: (name not in SIZES, _place(name), name))

    @property
    def name(self) -> str:
        """A file name for its plots."""
        return slug((self.task, self.set, self.setting))


def make_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Compares the outcomes of each set in each setting with the first of them.

    Args:
        outcomes: of any tasks, the encoder to compare with before the others

    Returns:
        tables by task, set and setting
    """
    ordered = sorted(outcomes, key=_key)
    return [_table(*key, list(group)) for key, group in groupby(ordered, key=_key)]


def _key(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.task, outcome.set, outcome.setting


def _place(name: str) -> int:
    return SIZES.index(name) if name in SIZES else 0


def _table(task: str, set_name: str, setting: str, outcomes: Sequence[Outcome]) -> Table:
    return Table(
        task, set_name, setting, tuple(_lines(outcomes)), tuple(published_on(task, set_name))
    )


def _lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line for each; one whose metric is not made of rows, or has none, has no interval."""
    judged = [outcome for outcome in outcomes if outcome.rows and outcome.estimator != "none"]
    found = compare(judged) if judged else []
    comparisons = {id(outcome): one for outcome, one in zip(judged, found, strict=True)}
    has_first = id(outcomes[0]) in comparisons
    return [_line(outcome, comparisons.get(id(outcome)), has_first) for outcome in outcomes]


def _line(outcome: Outcome, comparison: Comparison | None, has_first: bool) -> Line:
    published = find_published(outcome, outcome.primary)
    if comparison is None:
        return Line(outcome, _bare(outcome), None, {}, published)
    difference = comparison.difference if has_first else None
    return Line(outcome, comparison.own, difference, group_intervals(outcome), published)


def _bare(outcome: Outcome) -> Interval:
    nan = float("nan")
    pictures = {row.example for row in outcome.rows}
    value = outcome.metrics.get(outcome.primary, nan)
    return Interval(value, nan, nan, len(outcome.rows), len(pictures))
