"""What a labelling run did and what may be said of its labels: as JSON, and as a page to read.

Public: :class:`LabelReport`, :class:`ClassLine` and :func:`assumptions`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from alphaclip.files import write_atomically
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson
from alphaclip.indexing.labelling.promise.calibration import Method, Reliability
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import Promise
from alphaclip.indexing.labelling.scoring.choosing import Choice

Outcome = Literal["done", "not reachable", "moved"]

JSON_NAME, PAGE_NAME = "labels.json", "labels.html"

SIDE, EDGE = 320, 40
"""Of the diagram, and of the margin round it, in pixels."""

MOST_LINES = 500
"""Classes shown on the page; all are in the JSON."""

_TITLES = {
    "done": "Labels written",
    "not reachable": "The promise could not be made",
    "moved": "The new regions differ from the reviewed ones",
}

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #8884 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
svg { max-width: 100%; height: auto }
"""


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


def page(report: LabelReport) -> str:
    """The report as HTML, with the diagram inline; all texts are escaped."""
    title = _TITLES[report.outcome]
    parts = [
        f"<h1>{title}</h1>",
        _promises(report),
        _section("Regions", _table(("", "count"), sorted(report.counts.items()))),
        _classes(report),
        _scorer(report),
        _diagram_section(report.reliability),
        "" if report.drift is None else _section("Drift", _text(report.drift.reason)),
        _section("What this rests on", _list(assumptions(report))),
        _section("Run", _table(("", ""), report.run.items())),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def diagram(reliability: Reliability) -> str:
    """The reliability diagram as SVG: predicted to the right, seen upwards, with intervals."""

    def at(x: float, y: float) -> tuple[float, float]:
        return EDGE + x * SIDE, EDGE + (1 - y) * SIDE

    marks = []
    for one in reliability.bins:
        (x, y), (low, high) = at(one.predicted, one.right), one.interval
        told = f"predicted {one.predicted:.1%}, right {one.right:.1%} of {one.count}"
        marks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{at(0, low)[1]:.1f}" y2="{at(0, high)[1]:.1f}" '
            f'stroke="#888"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#c05">'
            f"<title>{told}</title></circle>"
        )
    return (
        f'<svg viewBox="0 0 {SIDE + 2 * EDGE} {SIDE + 2 * EDGE}" width="{SIDE + 2 * EDGE}" '
        'role="img" aria-label="reliability diagram" fill="currentColor" font-size="12">'
        f'<rect x="{EDGE}" y="{EDGE}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>'
        f'<line x1="{EDGE}" y1="{EDGE + SIDE}" x2="{EDGE + SIDE}" y2="{EDGE}" stroke="#888" '
        f'stroke-dasharray="4"/>{"".join(marks)}{_axes()}</svg>'
    )


def _axes() -> str:
    bottom, middle = EDGE + SIDE, EDGE + SIDE / 2
    ticks = [
        f'<text x="{EDGE + share * SIDE:.0f}" y="{bottom + 15}" text-anchor="middle">{share:g}'
        f'</text><text x="{EDGE - 5}" y="{bottom - share * SIDE + 4:.0f}" text-anchor="end">'
        f"{share:g}</text>"
        for share in (0, 0.5, 1)
    ]
    return (
        f'{"".join(ticks)}<text x="{middle}" y="{bottom + 32}" text-anchor="middle">probability'
        f'</text><text x="{EDGE}" y="{EDGE - 10}">share that is right</text>'
    )


def _promises(report: LabelReport) -> str:
    named = [("all classes", report.promise)] if report.promise else []
    named += list(report.by_class.items())
    if not named:
        return _section("Precision", _text("None was asked for, so none is promised."))
    head = ("", "asked", "confidence", "estimated", "interval", "threshold", "coverage", "reviewed")
    rows = [(name, *_promise(promise)) for name, promise in named[:MOST_LINES]]
    why = [p.reason if len(named) == 1 else f"{name}: {p.reason}" for name, p in named]
    return _section("Precision", _table(head, rows) + _list(why[:MOST_LINES]))


def _promise(promise: Promise) -> Sequence[Any]:
    threshold, sure = promise.threshold, promise.confidence
    return (
        _share(promise.precision),
        "on average only" if sure is None else _share(sure),
        _share(promise.estimate),
        _interval(promise.interval),
        "not reachable" if threshold is None else f"{threshold:.4g}",
        _share(promise.coverage),
        f"{promise.right} right of {promise.passed} that pass, {promise.reviewed} in all",
    )


def _classes(report: LabelReport) -> str:
    if not report.classes:
        return ""
    head = ("class", "answered", "written", "right in the sample", "estimated", "interval")
    rows = [
        (
            line.name,
            line.answered,
            line.written,
            f"{line.right} of {line.passed}",
            _share(line.estimate),
            _interval(line.interval) if line.passed else "",
        )
        for line in report.classes[:MOST_LINES]
    ]
    left = len(report.classes) - len(rows)
    more = _text(f"{left} more classes are in the JSON.") if left else ""
    return _section("Classes", _table(head, rows) + more)


def _scorer(report: LabelReport) -> str:
    return "" if report.choice is None else _section("Scorer", _text(report.choice.reason))


def _diagram_section(reliability: Reliability | None) -> str:
    if reliability is None:
        return ""
    told = (
        f"Expected calibration error {reliability.error:.3f}, over {reliability.count} reviewed "
        f"regions in {len(reliability.bins)} bins of equal count. Bars are exact intervals at a "
        "confidence of 90 %; a point on the dashed line is as right as it says."
    )
    return _section("Reliability", diagram(reliability) + _text(told))


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _text(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(map(_cell, row)) for row in rows)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, (int, float)) else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4g} %"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"
