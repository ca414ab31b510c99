"""What is said of a labelling run, made of ``LabelReport.to_dict()``.

Public: :func:`summarize`, :func:`summary_lines` and :func:`name_recall`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alphaclip.pages.page import one_line

MOST_NAMED, NAME_CHARACTERS = 5, 24
"""Classes in a sentence, and characters of their names: a run may have thousands, of any length."""

Report = Mapping[str, Any]


def summarize(report: Report) -> str:
    """One sentence: what was written, what is promised of it, and what waits."""
    counts, into = report["counts"], report["run"]["into"]
    told = f"{_count(counts['written'], 'label')} written into {into}"
    if counts["left as they were"]:
        told += f", {counts['left as they were']:,} left as they were"
    regions = _count(counts["regions"], "region")
    told += f"{_promised(report)}{_recalled(report)}"
    return f"{told}; {counts['waiting']:,} of {regions} to review."


def summary_lines(report: Report) -> list[str]:
    """The same, and further sentences: how the promise came out, what is remarked of it,
    whether new regions differ, and which scorer was taken. Any text may be in them."""
    lines = [summarize(report), *_others(report), *_over_all(report), *_each_class(report)]
    lines += report.get("remarks", [])  # runs of earlier versions have none
    reasons = [report[name]["reason"] for name in ("drift", "choice") if report[name] is not None]
    return [*lines, *map(_sentence, reasons)]


def _promised(report: Report) -> str:
    promise, by_class = report["promise"], report["by_class"]
    missing = report["counts"]["sample to review"]
    if promise is None and not by_class:
        return " as a ranking, which promises nothing"
    asked = promise or next(iter(by_class.values()))
    precision, confidence = (f"{100 * asked[name]:g} %" for name in ("precision", "confidence"))
    if by_class:
        made = sum(one["threshold"] is not None for one in by_class.values())
        classes = f"{made:,} of {len(by_class):,} classes"
        return f": {precision} right is promised of {classes}, with {confidence} confidence of each"
    if promise["threshold"] is not None:
        return f": at least {precision} of them right, with {confidence} confidence"
    if missing:
        return f": nothing is promised before {missing:,} more of the random sample are reviewed"
    return f": {precision} right cannot be promised"


def _recalled(report: Report) -> str:
    recall = report.get("recall")  # runs of earlier versions have none
    if not recall:
        return ""
    low, high = (f"{100 * end:.0f} %" for end in recall["interval"])
    return f", which are {low} to {high} of what there is to label"


def _others(report: Report) -> Iterator[str]:
    counts = report["counts"]
    told = []
    if counts["by people"]:
        told.append(f"{_count(counts['by people'], 'region')} answered by people")
    if counts["held back"]:
        told.append(f"{_count(counts['held back'], 'new region')} held back")
    if counts["none of these"]:
        told.append(f"{counts['none of these']:,} taken for none of these")
    if counts.get("not answered"):  # earlier versions did not count them
        told.append(f"{_count(counts['not answered'], 'region')} not answered by the model")
    if told:
        yield _sentence("; ".join(told))


def _over_all(report: Report) -> Iterator[str]:
    promise = report["promise"]
    if promise is None:
        return
    yield _sentence(promise["reason"])
    if promise["passed"]:
        names = ("precision", "estimate", "coverage")
        asked, estimate, coverage = (f"{100 * promise[name]:.1f} %" for name in names)
        low, high = (f"{100 * end:.1f} %" for end in promise["interval"])
        yield (
            f"Asked {asked}, estimated {estimate} (interval {low} to {high}): of "
            f"{promise['passed']:,} reviewed regions that pass, {promise['right']:,} are right. "
            f"{coverage} of the candidates pass."
        )
    recall = report.get("recall")
    if recall:
        shares = (recall["estimate"], *recall["interval"])
        estimate, low, high = (f"{100 * share:.1f} %" for share in shares)
        yield (
            f"Recall is estimated at {estimate} (interval {low} to {high}): of {recall['total']:,} "
            f"reviewed regions that are of a class, {recall['recalled']:,} are labelled right."
        )
        yield from _recall_by_class(report)


def name_recall(recall: Report) -> str:
    """A recall with its interval, both rounded, as in ``75 % (65 % to 83 %)``."""
    estimate, low, high = (
        f"{100 * share:.0f} %" for share in (recall["estimate"], *recall["interval"])
    )
    return f"{estimate} ({low} to {high})"


def _recall_by_class(report: Report) -> Iterator[str]:
    told = [
        f"{one_line(line['name'], NAME_CHARACTERS)} {name_recall(line['recall'])}"
        for line in report["classes"]
        if line.get("recall")
    ]
    if told:
        more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
        yield f"By class: {', '.join(told[:MOST_NAMED])}{more}."


def _each_class(report: Report) -> Iterator[str]:
    promises = report["by_class"]
    missed = [name for name, promise in promises.items() if promise["threshold"] is None]
    for name in missed[:MOST_NAMED]:
        yield f"{one_line(name, NAME_CHARACTERS)}: {_sentence(promises[name]['reason'])}"
    if len(missed) > MOST_NAMED:
        yield f"{len(missed) - MOST_NAMED:,} more could not be promised."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
