"""What is written for the eyes when a set is finished: a page without anything from elsewhere."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from alphaclip.files import write_text
from alphaclip.training.pairs.format.reports import PairsReport, Tally

PAGE, SHEET = "statistics.html", "contact-sheet.png"

LABELS = 30
"""So many of the most frequent labels are shown."""

# Bins that double, and half decades of areas: both have long tails. Scores are cosines or shares.
_DOUBLING = [1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513]
_AREAS = [0.0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
_SCORES = [round(-1 + 0.05 * step, 2) for step in range(41)]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: .1em 1em .1em 0; text-align: left }
td.n { text-align: right } figure { display: inline-block; margin: 1em 2em 1em 0 }
svg text { font: 11px system-ui, sans-serif } svg rect { fill: #4878a8 }
"""


def write_summary(report: PairsReport, seed: int) -> list[Path]:
    """Writes ``statistics.html`` and ``contact-sheet.png`` beside the shards.

    Args:
        report: of the set
        seed: of the pairs on the contact sheet

    Returns:
        the files; a set without pairs has no contact sheet

    Raises:
        PairError: if a shard cannot be read
        AlphaClipError: if a file cannot be written
    """
    from alphaclip.training.pairs.format.contact_sheet import draw_contact_sheet, draw_numbers
    from alphaclip.training.pairs.format.reading import open_pairs

    page, sheet = report.folder / PAGE, report.folder / SHEET
    if not report.regions:
        write_text(page, statistics_page(report, [], Counter(), []))
        return [page]
    pairs = open_pairs(report.folder)
    chosen = [pairs[number] for number in draw_numbers(len(pairs), seed)]
    draw_contact_sheet(chosen, sheet)
    histograms, labels = count_entries(pairs.entries())
    examples = [(pair.key, pair.texts) for pair in chosen]
    write_text(page, statistics_page(report, histograms, labels, examples))
    return [page, sheet]


class Histogram:
    """Counts by bins.

    Args:
        title: what is counted
        edges: of the bins, ascending; a bin has its lower edge, the last one also what is above
    """

    def __init__(self, title: str, edges: Sequence[float]) -> None:
        self.title = title
        self.edges = edges
        self.counts = [0] * len(edges)

    def add(self, value: float) -> None:
        """Counts a value; one below the first edge goes to the first bin."""
        self.counts[max(0, bisect_right(self.edges, value) - 1)] += 1

    def rows(self) -> list[tuple[str, int]]:
        """Bins and counts, from the first bin that is not empty to the last."""
        filled = [bin for bin, count in enumerate(self.counts) if count]
        bins = range(filled[0], filled[-1] + 1) if filled else range(0)
        return [(self._name(bin), self.counts[bin]) for bin in bins]

    def _name(self, bin: int) -> str:
        low, whole = self.edges[bin], all(isinstance(edge, int) for edge in self.edges)
        if bin + 1 == len(self.edges):
            return f"{low:g} and more"
        high = self.edges[bin + 1]
        if whole:
            return f"{low}" if high - low == 1 else f"{low} to {high - 1}"
        return f"{low:g} to {high:g}"


def count_entries(
    entries: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[list[Histogram], Counter[str]]:
    """How a set is distributed.

    Args:
        entries: of the pictures, see `PairSet.entries`

    Returns:
        histograms of the regions of a picture, their areas, their texts, the texts' lengths, and
        each score by name; and how many regions each label has
    """
    pictures = Histogram("Regions of a picture", _DOUBLING)
    areas = Histogram("Area of a region, as a share of its picture", _AREAS)
    texts = Histogram("Texts of a region", _DOUBLING)
    lengths = Histogram("Length of a text, in characters", _DOUBLING)
    scores: dict[str, Histogram] = {"area": areas}
    labels: Counter[str] = Counter()
    for _, entry in entries:
        pictures.add(len(entry["regions"]))
        for region in entry["regions"]:
            labels[region.get("label", "(no label)")] += 1
            texts.add(len(region["texts"]))
            for text in region["texts"]:
                lengths.add(len(text))
            for name, value in region.get("scores", {}).items():
                scores.setdefault(name, Histogram(f"Score “{name}”", _SCORES)).add(value)
    others = [scores[name] for name in sorted(scores) if name != "area"]
    return [pictures, areas, texts, lengths, *others], labels


def statistics_page(
    report: PairsReport,
    histograms: Sequence[Histogram],
    labels: Counter[str],
    examples: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """The page.

    Args:
        report: of the set
        histograms: see :func:`count_entries`
        labels: how many regions each has
        examples: keys and texts of the pairs on the contact sheet, in its order
    """
    names = ("items", "pictures", "regions", "texts")
    totals = [(name, getattr(report, name)) for name in names]
    chosen = sorted(labels.items(), key=lambda item: (-item[1], item[0]))[:LABELS]
    texts = "".join(
        f"<li>{escape(' | '.join(texts))} <small>{escape(key)}</small></li>"
        for key, texts in examples
    )
    parts = [
        f"<h1>Region-text pairs</h1>{_table(totals)}",
        _tally("Items left out", report.skipped),
        _tally("Regions and texts left out", report.left_out),
        *(_figure(histogram) for histogram in histograms),
        f"<h2>Labels: {len(labels)}</h2>{_table(chosen)}" if labels else "",
        f"<h2>The pairs of contact-sheet.png</h2><ol>{texts}</ol>" if examples else "",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Region-text pairs</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _tally(title: str, tally: Tally) -> str:
    if not tally.total:
        return ""
    first = "".join(
        f"<details><summary>{escape(reason)}: the first {len(lines)}</summary><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in lines)
        + "</ul></details>"
        for reason, lines in sorted(tally.details.items())
    )
    return f"<h2>{title}</h2>{_table(sorted(tally.counts.items()))}{first}"


def _table(rows: Sequence[tuple[str, int]]) -> str:
    cells = (f'<tr><td>{escape(name)}</td><td class="n">{n:,}</td></tr>' for name, n in rows)
    return f"<table>{''.join(cells)}</table>"


def _figure(histogram: Histogram) -> str:
    rows = histogram.rows()
    most = max((count for _, count in rows), default=1)
    bars = "".join(
        f'<text x="115" y="{18 * row + 13}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="120" y="{18 * row + 2}" width="{220 * count / most:.1f}" height="14"/>'
        f'<text x="{125 + 220 * count / most:.1f}" y="{18 * row + 13}">{count:,}</text>'
        for row, (name, count) in enumerate(rows)
    )
    return (
        f'<figure><figcaption>{escape(histogram.title)}</figcaption><svg width="420" '
        f'height="{18 * max(1, len(rows)) + 4}" role="img">{bars}</svg></figure>'
    )
