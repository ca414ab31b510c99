"""The page of a labelling run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from alphaclip.indexing.labelling.calibration import Reliability
from alphaclip.indexing.labelling.promise import Promise
from alphaclip.indexing.labelling.report import LabelReport, assumptions

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
