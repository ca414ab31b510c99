"""What becomes of each region, what waits for a person, and the report of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.labelling.deciding import OVER_ALL, Decision
from alphaclip.indexing.labelling.promise.calibration import (
    Calibration,
    Reliability,
    calibrate,
    reliability,
)
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.report import ClassLine, LabelReport
from alphaclip.indexing.labelling.review.reviewing import ReviewBook, most_informative

if TYPE_CHECKING:
    from alphaclip.indexing.act.actions import Action
    from alphaclip.indexing.labelling.review.runs import Labelling
    from alphaclip.indexing.labelling.scoring.scored import Scored
    from alphaclip.indexing.retrieval.index import SearchIndex

QUEUE = 500
"""Regions that are put in order for review; more wait behind them."""

_POOL = 10
"""Times ``QUEUE`` the least sure regions are compared with each other."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What becomes of the regions of an index.

    Attributes:
        passes: bool (n,), whose answer may be written
        held: bool (n,), new ones that are held back, as they are not like the reviewed ones
        known: int64 (k,), places of those that people gave an answer for
        names: of the known, the class, or None for "none of these"
        drift: the comparison of new regions with the reviewed ones
    """

    passes: np.ndarray
    held: np.ndarray
    known: np.ndarray
    names: Sequence[str | None]
    drift: Drift | None

    def rest(self, sample: np.ndarray) -> np.ndarray:
        """Places of regions that wait for a person, but for the sample: int64 (r,)."""
        waits = ~self.passes
        waits[self.known] = False
        waits[sample] = False
        return np.flatnonzero(waits)


def calibration_of(scored: Scored) -> Calibration:
    """Learned from the regions that the scorer was trained on, by scorers that did not see them."""
    answers, classes = scored.held_out(), scored.classes
    right = [
        classes.is_right(classes.name(a), classes.name(t))
        for a, t in zip(answers.places.tolist(), scored.truths.tolist(), strict=True)
    ]
    return calibrate(answers.scores, np.array(right, bool), answers.places)


def score_columns(scored: Scored, calibration: Calibration) -> np.ndarray:
    """What is written as the score: a probability, or without any review the rank score.

    Returns:
        float32 (n,)
    """
    answers = scored.answers
    if calibration.is_ranking:
        return answers.scores.astype(np.float32)
    return calibration.probabilities(answers.scores, answers.places)


def queue_of(scored: Scored, book: ReviewBook, outcome: Outcome) -> tuple[list[str], int]:
    """Label ids that wait for a person, the most informative first, and how many wait in all."""
    drawn = [label for draw in book.draws for label in draw.label_ids]
    # Whoever skipped a region is not asked again, nor who disagreed: a queue of them never ends.
    left_out = scored.places([*drawn, *book.settled("training")])
    rest = outcome.rest(left_out[left_out >= 0])
    margins = scored.answers.margins[rest]
    pool = rest[np.argsort(margins, kind="stable")[: QUEUE * _POOL]]
    if not len(pool):
        return [], 0
    order = most_informative(scored.vectors(pool), scored.answers.margins[pool], QUEUE, _POOL)
    return scored.label_ids(pool[order]), len(rest)


def make_report(
    index: SearchIndex,
    labelling: Labelling,
    scored: Scored,
    decision: Decision,
    outcome: Outcome,
    action: Action,
    calibration: Calibration,
) -> LabelReport:
    """Says what a run did."""
    by_class = {name: one for name, one in decision.promises.items() if name != OVER_ALL}
    return LabelReport(
        run=_facts(index, labelling, scored, action),
        counts=_counts(scored, outcome, decision, action),
        promise=decision.promises.get(OVER_ALL),
        by_class=by_class,
        classes=_lines(scored, decision, outcome),
        choice=scored.choice,
        calibration=calibration.method,
        reliability=_reliability(scored, decision, calibration),
        drift=outcome.drift,
        samples=max(len(labelling.draws), 1),
    )


def _facts(
    index: SearchIndex, labelling: Labelling, scored: Scored, action: Action
) -> dict[str, Any]:
    return {
        "dataset": index.dataset.name,
        "index": index.key,
        "index_version": scored.now.version.number,
        "model": index.info()["encoder"],
        "into": labelling.into,
        "run": action.id,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _counts(scored: Scored, outcome: Outcome, decision: Decision, action: Action) -> dict[str, int]:
    waiting = len(outcome.rest(np.zeros(0, np.int64)))
    return {
        "regions": len(scored),
        "none of these": int((~scored.is_candidate).sum()),
        "written": action.count,
        "left as they were": action.left,
        "by people": sum(name is not None for name in outcome.names),
        "waiting": waiting,
        "held back": int(outcome.held.sum()),
        "sample": len(decision.sample) + len(decision.unreviewed),
        "sample to review": len(decision.unreviewed),
    }


def _lines(scored: Scored, decision: Decision, outcome: Outcome) -> tuple[ClassLine, ...]:
    places, classes = scored.answers.places, scored.classes
    answered = np.bincount(places, minlength=len(classes) + 1)
    passing = np.bincount(places[outcome.passes], minlength=len(classes) + 1)
    people = Counter(outcome.names)
    sure = decision.passes(scored)[decision.sample]
    found = places[decision.sample]
    lines = []
    for place, name in enumerate(classes.names):
        mine = sure & (found == place)
        counts = (int(answered[place]), int(passing[place]) + people[name])
        right = int((mine & decision.correct).sum())
        lines.append(ClassLine(name, *counts, int(mine.sum()), right))
    return tuple(lines)


def _reliability(
    scored: Scored, decision: Decision, calibration: Calibration
) -> Reliability | None:
    """On the sample, which the calibration has not seen."""
    mine = scored.is_candidate[decision.sample]
    if calibration.is_ranking or not mine.any():
        return None
    chances = score_columns(scored, calibration)[decision.sample[mine]]
    return reliability(chances, decision.correct[mine])
