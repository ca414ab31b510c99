"""What a labelling run did and what may be said of its labels, in JSON values.

Public: :class:`LabelReport`, :class:`ClassLine`, :class:`Labelled`, :func:`make_report`,
:func:`assumptions` and :func:`remarks`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.files import write_text
from alphaclip.indexing.calibration import (
    Calibration,
    Method,
    Reliability,
    reliability,
)
from alphaclip.indexing.dataset.samples import open_dataset
from alphaclip.indexing.labelling.deciding import OVER_ALL, Decision
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson, needed
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import Promise, share_of_risk
from alphaclip.indexing.labelling.promise.recall import Recall
from alphaclip.indexing.labelling.report_words import (
    MOST_NAMED,
    NAME_CHARACTERS,
    summary_lines,
)
from alphaclip.indexing.labelling.scoring.choosing import Choice
from alphaclip.pages.page import one_line

if TYPE_CHECKING:
    from alphaclip.indexing.act.actions import Action
    from alphaclip.indexing.labelling.review.runs import Labelling
    from alphaclip.indexing.labelling.scoring.scored import Scored
    from alphaclip.indexing.retrieval.index import SearchIndex

JSON_NAME = "labels.json"


@dataclass(frozen=True)
class ClassLine:
    """One class in the report: how many regions were taken for it, and of these written; and of
    the random sample, how many taken for it pass the threshold, of these are right, and were
    reviewed in all; and the recall of those that are of it."""

    name: str
    answered: int
    written: int
    passed: int = 0
    right: int = 0
    reviewed: int = 0
    recall: Recall | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with the share of right ones in the sample, None of nothing, and
        Clopper and Pearson's interval of it, at a confidence of 0.9."""
        estimate = self.right / self.passed if self.passed else None
        interval = list(clopper_pearson(self.right, self.passed))
        recall = self.recall and self.recall.to_dict()
        return asdict(self) | {"estimate": estimate, "interval": interval, "recall": recall}


@dataclass(frozen=True, eq=False)
class LabelReport:
    """What a run did.

    Attributes:
        run: its facts in JSON values: dataset, index, version, model, run id, target, time
        counts: regions by what became of them, such as ``written`` and ``waiting``
        promise: over all classes; None if each has its own, or none was asked
        by_class: the promise of each class, by name
        recall: of what is written by machine, over all classes; None without a promise, and where
            each class has its own
        classes: a line for each class
        choice: which scorer was taken; None if none could be chosen
        calibration: how probabilities were made; ``ranking`` if there are none
        reliability: how good they are; None without reviews
        drift: the comparison with the reviewed sample; None if there was nothing to compare
        samples: random samples that were drawn so far
        tests: of these, how many were tested or given up
        next_sample: how many answers another test would take; 0 if too few regions are left
        spent: share of the risk that the tests may have spent, this one included; above 1 only
            where an earlier version drew some of the samples
        is_lost: whether the sample would fail its test even if all that waits of it were right
        pictures: the regions that show what was done, see
            :func:`alphaclip.indexing.labelling.report_pictures.pick_regions`
    """

    run: Mapping[str, Any]
    counts: Mapping[str, int]
    promise: Promise | None = None
    by_class: Mapping[str, Promise] = field(default_factory=dict)
    recall: Recall | None = None
    classes: tuple[ClassLine, ...] = ()
    choice: Choice | None = None
    calibration: Method = "ranking"
    reliability: Reliability | None = None
    drift: Drift | None = None
    samples: int = 1
    tests: int = 0
    next_sample: int = 0
    spent: float = 0.0
    is_lost: bool = False
    pictures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def promises(self) -> list[Promise]:
        """All that were asked."""
        return [*([self.promise] if self.promise else []), *self.by_class.values()]

    @property
    def outcome(self) -> Literal["done", "not reachable", "moved"]:
        """``moved`` if new regions differ, ``not reachable`` if no promise could be made."""
        if self.drift is not None and self.drift.moved:
            return "moved"
        promises = self.promises
        return "not reachable" if promises and not any(p.is_made for p in promises) else "done"

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with outcome and assumptions."""
        return {
            "outcome": self.outcome,
            "run": dict(self.run),
            "counts": dict(self.counts),
            "promise": self.promise and self.promise.to_dict(),
            "by_class": {name: promise.to_dict() for name, promise in self.by_class.items()},
            "recall": self.recall and self.recall.to_dict(),
            "classes": [line.to_dict() for line in self.classes],
            "choice": self.choice and self.choice.to_dict(),
            "scores": _SCORES[self.calibration],
            "calibration": self.calibration,
            "reliability": self.reliability and self.reliability.to_dict(),
            "drift": self.drift and self.drift.to_dict(),
            "samples": self.samples,
            "tests": self.tests,
            "next_sample": self.next_sample,
            "risk_spent": self.spent,
            "is_lost": self.is_lost,
            "pictures": dict(self.pictures),
            "at_once": 1,  # promises that share the risk: each has its own
            "remarks": remarks(self),
            "assumptions": assumptions(self),
        }

    def __str__(self) -> str:
        return "\n".join(summary_lines(self.to_dict()))

    def write(self, folder: Path) -> Path:
        """Writes ``labels.json`` into a folder, which is made; returns its path.

        Raises:
            StoreError: if it cannot be written
        """
        write_text(folder / JSON_NAME, json.dumps(self.to_dict(), indent=1, ensure_ascii=False))
        return folder / JSON_NAME

    def save_html(self, path: str | Path) -> Path:
        """Writes the report as pictures, one HTML file that needs no other; returns its path.

        Raises:
            AlphaClipError: if the dataset is gone, or the file cannot be written
        """
        from alphaclip.indexing.labelling.report_page import write_label_page

        return write_label_page(open_dataset(self.run["dataset"]), self.to_dict(), Path(path))


@dataclass(frozen=True, eq=False)
class Labelled:
    """What becomes of the regions of an index in a run.

    Attributes:
        passes: bool (n,), whose answer may be written
        held: bool (n,), new ones that are held back, as they are not like the reviewed ones
        reviewed: int64 (k,), rows of those that people gave an answer for
        names: of these, the class, or None for "none of these"
        drift: the comparison of new regions with the reviewed ones
    """

    passes: np.ndarray
    held: np.ndarray
    reviewed: np.ndarray
    names: Sequence[str | None]
    drift: Drift | None

    @property
    def waits(self) -> np.ndarray:
        """Which regions wait for a person: bool (n,)."""
        waits = ~self.passes
        waits[self.reviewed] = False
        return waits


def make_report(
    index: SearchIndex,
    state: Labelling,
    scored: Scored,
    decision: Decision,
    labelled: Labelled,
    action: Action,
    calibration: Calibration,
    scores: np.ndarray,
    pictures: Mapping[str, Any],
) -> LabelReport:
    """Says what a run did; ``scores`` are those that are written, float32 (n,)."""
    classes, answered = scored.classes, scored.answers.classes
    run = {
        "dataset": index.dataset.name,
        "index": index.key,
        "field": index.field,
        "index_version": scored.snapshot.version.number,
        "model": scored.model,
        "into": state.into,
        "run": action.id,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    counts = {
        "regions": len(scored),
        "none of these": int((~scored.is_candidate).sum()) - len(scored.failed),
        "not answered": len(scored.failed),
        "written": action.count,
        "left as they were": action.left,
        "by people": sum(name is not None for name in labelled.names),
        "waiting": int(labelled.waits.sum()),
        "held back": int(labelled.held.sum()),
        "sample": len(decision.sample) + len(decision.unreviewed),
        "sample to review": len(decision.unreviewed),
    }
    sizes = [
        np.bincount(some, minlength=len(classes) + 1)
        for some in (answered, answered[labelled.passes])
    ]
    people = Counter(labelled.names)
    sure = decision.passes[decision.sample]
    recalls = _recalls(state, decision, len(classes))
    lines = []
    for number, name in enumerate(classes.names):
        reviewed = answered[decision.sample] == number
        mine = sure & reviewed
        written = int(sizes[1][number]) + people[name]
        right, seen = int((mine & decision.correct).sum()), int(reviewed.sum())
        counts_of = (int(sizes[0][number]), written, int(mine.sum()), right, seen)
        lines.append(ClassLine(name, *counts_of, recalls.get(number)))
    # How good the probabilities are shows the sample, which the calibration has not seen.
    mine, good = scored.is_candidate[decision.sample], None
    if not calibration.is_ranking and mine.any():
        good = reliability(scores[decision.sample[mine]], decision.correct[mine])
    return LabelReport(
        run=run,
        counts=counts,
        promise=decision.promises.get(OVER_ALL),
        by_class={name: one for name, one in decision.promises.items() if name != OVER_ALL},
        recall=recalls.get(None),
        classes=tuple(lines),
        choice=scored.choice,
        calibration=calibration.common.method,
        reliability=good,
        drift=labelled.drift,
        samples=max(len(state.draws), 1),
        tests=len(state.draws) - (not state.tested_with and bool(state.draws)),
        next_sample=decision.next_sample,
        spent=sum(draw.get("share", 1.0) for draw in state.draws),
        is_lost=decision.is_lost,
        pictures=pictures,
    )


def _recalls(state: Labelling, decision: Decision, classes: int) -> dict[int | None, Recall]:
    """By number of a class, and over all of them by None; nothing where the sample cannot tell."""
    if not decision.is_promised or state.draws[-1].get("per_class"):
        return {}
    confidence = next(iter(decision.promises.values())).confidence
    is_recalled, truths = decision.passes[decision.sample] & decision.correct, decision.truths
    groups: dict[int | None, np.ndarray] = {None: truths != classes}
    groups |= {int(one): truths == one for one in np.unique(truths) if 0 <= one < classes}
    counted = {one: Recall.of(is_recalled[mine], confidence) for one, mine in groups.items()}
    return {one: recall for one, recall in counted.items() if recall is not None}


def remarks(report: LabelReport) -> list[str]:
    """What to do next where a precision cannot be promised, and of which classes little is known,
    in plain words; nothing where none was asked for."""
    if not report.promises:
        return []
    least, told = _least(report, max(report.tests, 1)), [_next_step(report)]
    lines = [
        (one_line(line.name, NAME_CHARACTERS), line.answered, line.reviewed)
        for line in report.classes
    ]
    told.append(_listed(_NO_REGION, [name for name, answered, _ in lines if not answered]))
    if any(seen for *_, seen in lines):
        unreviewed = [name for name, answered, seen in lines if answered and not seen]
        told.append(_listed(_UNREVIEWED, unreviewed))
    if not report.counts.get("sample to review"):
        few = [f"{name} ({seen})" for name, _, seen in lines if 0 < seen < least]
        told.append(_listed(_FEW.format(least), few))
    return [line for line in told if line]


def _next_step(report: LabelReport) -> str:
    """What follows a sample that has failed, or is going to."""
    missed = [promise for promise in report.promises if not promise.is_made]
    waits = bool(report.counts.get("sample to review"))
    if not missed or (waits and not report.is_lost):
        return ""
    test = report.tests + waits + 1
    if not report.next_sample:
        return _NO_FURTHER.format(_least(report, test))
    told = _LOST if waits else _FAILED if len(missed) == len(report.promises) else _SOME_FAILED
    how = "" if told is _FAILED else " with `retrain`"
    return f"{told} {_NEXT.format(how, test, report.next_sample)}"


def _least(report: LabelReport, test: int) -> int:
    """How many answers a test needs, if all are right."""
    asked = report.promises[0]
    return needed(0, asked.precision, 1 - share_of_risk(test) * (1 - asked.confidence))


def _listed(said: str, names: Sequence[str]) -> str:
    """Some names behind what is said of them; empty if there is none."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{said} {', '.join(names[:MOST_NAMED])}{more}." if names else ""


def assumptions(report: LabelReport) -> list[str]:
    """What the figures rest on, in plain words."""
    told = [_SCORES[report.calibration]]
    if not report.promises:
        return [*told, "No precision was asked for, so none is promised."]
    told += [_PROMISE, *_ALWAYS]
    if report.recall is not None:
        told.append(_RECALL)
    elif report.by_class:
        told.append(_NO_RECALL)
    if len(report.by_class) > 1:
        told.append(_EACH)
    return [*told, (_SHARED if report.spent <= 1 else _UNSHARED).format(report.tests)]


_SCORES: dict[Method, str] = {
    "ranking": "Scores are a ranking, not probabilities: nothing was reviewed to calibrate them.",
    "share": (
        "All answers have the same probability, the share of right ones among the reviewed: they "
        "are too few, or too much alike, for a curve."
    ),
    "platt": (
        "Probabilities are a logistic curve of the score, fitted to reviewed regions; the "
        "reliability diagram shows how far they can be trusted."
    ),
    "isotonic": (
        "Probabilities are an isotonic regression of the score on reviewed regions; the "
        "reliability diagram shows how far they can be trusted."
    ),
}

_PROMISE = (
    "The threshold was found by testing a grid in fixed sequence with exact binomial tails "
    "(Learn then Test). The share of right labels is at least what was asked, unless the draw "
    "of the sample was unlucky, which has the stated probability at most."
)

_ALWAYS = [
    "The reviewed sample was drawn uniformly at random from the candidates, all of it was "
    "reviewed, and until it was tested it was used for nothing else: no training, no choice of a "
    "model.",
    "The promise is about all candidates that pass, the reviewed ones included, as they were "
    "labelled by machine; putting right what the review found wrong only makes it better.",
    "Reviewers are taken to be right. Regions that were skipped, or that they disagreed on "
    "without a majority, count as wrong.",
    "For pictures that come later it is assumed that they are like the candidates "
    "(exchangeable). A new source, camera, place or season breaks that; the drift test sees large "
    "changes only.",
]

_RECALL = (
    "Recall is of what is written by machine: among the regions of the sample that people said to "
    "be of a class, the share that passes with the right one. Objects that have no region do not "
    "count. Its interval is computed as if the threshold had been fixed before the sample."
)
_NO_RECALL = (
    "What share of each class is labelled cannot be told: with a promise for each class, the "
    "sample has none of the regions that were taken for no class."
)
_EACH = (
    "Each class has a promise of its own at the stated confidence: of many classes, some may "
    "miss theirs."
)
_SHARED = (
    "The tests of a run share the risk: the first may spend half of it, each further one half of "
    "what is left, so that the confidence holds over all of them together. Tests so far: {}."
)
_UNSHARED = (
    "Tests so far: {}. An earlier version drew some of the samples and did not share the risk "
    "between them: the confidence is lower than stated if a sample was drawn anew because of what "
    "the one before showed."
)

_FAILED = "The test of the sample has failed."
_SOME_FAILED = "Of the classes that could not be promised another sample may tell more."
_LOST = (
    "The sample cannot pass its test, even if all that waits of it is right: review no more of it."
)
_NEXT = (
    "To learn from the answers in it and draw a new random sample, label again{}: test {} takes {} "
    "answers."
)
_NO_FURTHER = (
    "A new random sample would be too small for its test, which needs {} answers even if all are "
    "right: review what is left instead, ask for a larger sample, or for less."
)
_NO_REGION = "No region was taken for:"
_UNREVIEWED = "No reviewed region was taken for, so that nothing is known of:"
_FEW = "Too few were reviewed to promise anything of the class by itself, which takes {}:"
