"""What was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

MOST = 12
"""Confusions in a report: what is seen at a glance, two rows of six crops."""


@dataclass(frozen=True)
class Confusion:
    """Things of one class that were taken for another.

    Attributes:
        answer: the class that they were taken for
        truth: their class
        count: how many they are
        mistake: number of the one with the highest score
        example: number of a right one to compare it with, the surest of the truth; where none was
            right, of the answer; None if there is neither
    """

    answer: str | None
    truth: str | None
    count: int
    mistake: int
    example: int | None


def find_confusions(
    answers: Sequence[str | None],
    truths: Sequence[str | None],
    right: Sequence[bool],
    scores: Sequence[float],
    most: int = MOST,
) -> list[Confusion]:
    """The most frequent confusions; equally frequent ones by the score of the surest.

    Args:
        answers: what each thing was taken for
        truths: what each is
        right: whether the answer will do
        scores: how sure each answer is; NaN where that is not known
        most: confusions at most
    """
    sure = [-1e9 if isnan(score) else score for score in scores]
    mistakes: dict[tuple[str | None, str | None], list[int]] = {}
    examples: dict[str | None, int] = {}
    for one in sorted(range(len(sure)), key=lambda number: -sure[number]):
        if right[one]:
            examples.setdefault(truths[one], one)
        else:
            mistakes.setdefault((answers[one], truths[one]), []).append(one)
    frequent = sorted(mistakes.items(), key=lambda item: -len(item[1]))[:most]
    return [
        Confusion(answer, truth, len(some), some[0], examples.get(truth, examples.get(answer)))
        for (answer, truth), some in frequent
    ]
