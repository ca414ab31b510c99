"""The comparison as bars with intervals."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphaclip.files import write_atomically
from alphaclip.pages.page import one_line
from alphaclip.training.evaluation.report.statistics import Interval
from alphaclip.training.evaluation.report.tables import Table

_DPI = 100
_HIGHEST = 300.0
"""Inches of a plot: a picture of more than 65,535 pixels cannot be drawn."""

_LABEL = 60
"""Characters of a name in a plot."""


def draw_table(table: Table, folder: Path) -> list[Path]:
    """Draws the metric that is compared, and the same by part of the set where there are parts.

    Returns the PNG files, named after the table; the same table gives the same bytes.
    """
    path = folder / f"{table.name}.png"
    _draw(path, table, {"all": [line.own for line in table.lines]})
    if not table.groups:
        return [path]
    nothing = Interval(math.nan, math.nan, math.nan, 0, 0)
    groups = {g: [line.groups.get(g, nothing) for line in table.lines] for g in table.groups}
    second = folder / f"{table.name}-parts.png"
    _draw(second, table, groups)
    return [path, second]


def _draw(path: Path, table: Table, series: dict[str, list[Interval]]) -> None:
    names = [one_line(line.outcome.encoder, _LABEL) for line in table.lines]
    height = 1.6 + 0.3 * len(names) * max(1.0, 0.6 * len(series))
    with written_figure(path, 9, min(height, _HIGHEST)) as figure:
        axis = figure.subplots()
        thickness = 0.8 / len(series)
        for number, (label, values) in enumerate(series.items()):
            at = [row + (number - (len(series) - 1) / 2) * thickness for row in range(len(names))]
            widths = [0.0 if math.isnan(one.value) else one.value for one in values]
            errors = [
                [_reach(one.value - one.low) for one in values],
                [_reach(one.high - one.value) for one in values],
            ]
            label = legend_label(f"{label} ({_sizes(values)})")
            axis.barh(at, widths, thickness, xerr=errors, capsize=2, label=label)
        counts = _sizes([line.own for line in table.lines])
        lines = (f"{table.task}, {table.set}", f"{table.setting} ({counts})")
        title = "\n".join(one_line(line, 2 * _LABEL) for line in lines).strip()
        primary = one_line(table.primary, _LABEL)
        axis.set(yticks=range(len(names)), yticklabels=names, xlabel=primary, title=title)
        axis.margins(y=0.02)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        if len(series) > 1:
            figure.legend(loc="outside right upper")


@contextmanager
def written_figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure to draw on, in inches, which becomes a PNG; the same drawing gives the same bytes.

    Names are drawn as they are: a ``$`` in one would begin a formula, which it rarely is.

    Raises:
        ImportError: if matplotlib is not installed
        AlphaClipError: if the file cannot be written
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        content = io.BytesIO()
        # matplotlib would write its version into the file
        figure.savefig(content, dpi=_DPI, metadata={"Software": None})
    write_atomically(path, lambda stream: stream.write(content.getvalue()))


def legend_label(name: str) -> str:
    """A name as matplotlib's legends take it: they leave out what begins with an underscore."""
    line = one_line(name, _LABEL)
    return f" {line}" if line.startswith("_") else line


def _sizes(values: Sequence[Interval]) -> str:
    """Of how many rows figures are, which differs where an encoder could not judge some."""
    rows = sorted({value.rows for value in values if value.rows}) or [0]
    return f"n = {rows[0]:,}" if len(rows) == 1 else f"n = {rows[0]:,} to {rows[-1]:,}"


def _reach(length: float) -> float:
    """How far an error bar goes; percentile intervals need not hold the value itself."""
    return 0.0 if math.isnan(length) else max(0.0, length)
