"""What a labelling run did and what may be said of its labels: as JSON, and as a page to read.

Public: :class:`LabelReport`, :class:`ClassLine` and :func:`assumptions`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from alphaclip.indexing.files import write_atomically
from alphaclip.indexing.labelling.binomial import clopper_pearson
from alphaclip.indexing.labelling.calibration import Method, Reliability
from alphaclip.indexing.labelling.choosing import Choice
from alphaclip.indexing.labelling.drift import Drift
from alphaclip.indexing.labelling.promise import Promise

Outcome = Literal["done", "not reachable", "moved"]

JSON_NAME, PAGE_NAME = "labels.json", "labels.html"


@dataclass(frozen=True)
class ClassLine:
    """One class in the report.

    Attributes:
        name: of the class
        answered: regions that were taken for it
        written: of these, labels written
        passed: of the random sample, regions taken for it that pass the threshold
        right: of these, right ones
    """

    name: str
    answered: int
    written: int
    passed: int = 0
    right: int = 0

    @property
    def estimate(self) -> float | None:
        """The share of right ones in the sample; None of nothing."""
        return self.right / self.passed if self.passed else None

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, of that share, at a confidence of 0.9."""
        return clopper_pearson(self.right, self.passed)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with the estimate."""
        return asdict(self) | {"estimate": self.estimate, "interval": list(self.interval)}


@dataclass(frozen=True, eq=False)
class LabelReport:
    """What a run did.

    Attributes:
        run: its facts in JSON values: dataset, index, version, model, run id, target, time
        counts: regions by what became of them, such as ``written``, ``waiting``, ``none``
        promise: over all classes; None if each has its own, or none was asked
        by_class: the promise of each class, by name
        classes: a line for each class
        choice: which scorer was taken; None if none could be chosen
        calibration: how probabilities were made; ``ranking`` if there are none
        reliability: how good they are; None without reviews
        drift: the comparison with the reviewed sample; None if there was nothing to compare
        samples: random samples that were drawn so far
        at_once: promises that share the risk
    """

    run: Mapping[str, Any]
    counts: Mapping[str, int]
    promise: Promise | None = None
    by_class: Mapping[str, Promise] = field(default_factory=dict)
    classes: tuple[ClassLine, ...] = ()
    choice: Choice | None = None
    calibration: Method = "ranking"
    reliability: Reliability | None = None
    drift: Drift | None = None
    samples: int = 1
    at_once: int = 1

    @property
    def promises(self) -> list[Promise]:
        """All that were asked."""
        return [*([self.promise] if self.promise else []), *self.by_class.values()]

    @property
    def outcome(self) -> Outcome:
        """``moved`` if new regions differ, ``not reachable`` if no promise could be made."""
        if self.drift is not None and self.drift.moved:
            return "moved"
        asked = self.promises
        return "not reachable" if asked and not any(p.kept for p in asked) else "done"

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with outcome and assumptions."""
        return {
            "outcome": self.outcome,
            "run": dict(self.run),
            "counts": dict(self.counts),
            "promise": _plain(self.promise),
            "by_class": {name: promise.to_dict() for name, promise in self.by_class.items()},
            "classes": [line.to_dict() for line in self.classes],
            "choice": _plain(self.choice),
            "scores": _SCORES[self.calibration],
            "calibration": self.calibration,
            "reliability": _plain(self.reliability),
            "drift": _plain(self.drift),
            "samples": self.samples,
            "at_once": self.at_once,
            "assumptions": assumptions(self),
        }

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes ``labels.json`` and ``labels.html`` into a folder, which is made.

        Returns:
            the two paths

        Raises:
            StoreError: if they cannot be written
        """
        from alphaclip.indexing.labelling.report_page import page

        folder.mkdir(parents=True, exist_ok=True)
        values = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        paths = folder / JSON_NAME, folder / PAGE_NAME
        write_atomically(paths[0], lambda stream: stream.write(values.encode()))
        write_atomically(paths[1], lambda stream: stream.write(page(self).encode()))
        return paths


def assumptions(report: LabelReport) -> list[str]:
    """What the figures rest on, in plain words."""
    told = [_SCORES[report.calibration]]
    if not report.promises:
        return [*told, "No precision was asked for, so none is promised."]
    told += [_MODES[mode] for mode in dict.fromkeys(p.mode for p in report.promises)]
    told += _ALWAYS
    if len(report.by_class) > 1:
        told.append(_EACH if report.at_once == 1 else _TOGETHER.format(report.at_once))
    if report.samples > report.at_once:
        told.append(_AGAIN.format(report.samples))
    return told


def _plain(value: Any) -> Any:
    return None if value is None else value.to_dict()


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

_MODES = {
    "promise": (
        "The threshold was found by testing a grid in fixed sequence with exact binomial tails "
        "(Learn then Test). The share of right labels is at least what was asked, unless the draw "
        "of the sample was unlucky, which has the stated probability at most."
    ),
    "on average": (
        "The threshold was found by conformal selection with Benjamini and Hochberg's procedure. "
        "The share of right labels is what was asked ON AVERAGE over many runs; in this one it "
        "may well be smaller."
    ),
}

_ALWAYS = [
    "The reviewed sample was drawn uniformly at random from the candidates, all of it was "
    "reviewed, and it was used for nothing else: no training, no choice of a model.",
    "The promise is about all candidates that pass, the reviewed ones included, as they were "
    "labelled by machine; putting right what the review found wrong only makes it better.",
    "Reviewers are taken to be right. Regions that were skipped, or that they disagreed on "
    "without a majority, count as wrong.",
    "For pictures that come later it is assumed that they are like the candidates "
    "(exchangeable). A new source, camera, place or season breaks that; the drift test sees large "
    "changes only.",
]

_EACH = (
    "Each class has a promise of its own at the stated confidence: of many classes, some may "
    "miss theirs."
)
_TOGETHER = "The risk is shared by {} promises, so that all hold together at the stated confidence."
_AGAIN = (
    "{} random samples have been drawn, without sharing the risk between them: the confidence is "
    "lower than stated if a sample was drawn anew because of what the one before showed."
)
