"""The comparison as bars with intervals."""

from __future__ import annotations

import io
import math
from pathlib import Path

from alphaclip.files import write_atomically
from alphaclip.training.evaluation.report.statistics import Interval
from alphaclip.training.evaluation.report.tables import Table

_DPI = 100


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [line.outcome.encoder for line in table.lines]
    height = 1.6 + 0.3 * len(names) * max(1.0, 0.6 * len(series))
    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    thickness = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        at = [row + (number - (len(series) - 1) / 2) * thickness for row in range(len(names))]
        widths = [0.0 if math.isnan(one.value) else one.value for one in values]
        errors = [
            [_reach(one.value - one.low) for one in values],
            [_reach(one.high - one.value) for one in values],
        ]
        axis.barh(at, widths, thickness, xerr=errors, capsize=2, label=label)
    title = f"{table.task}, {table.set}\n{table.setting}".strip()
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=table.primary, title=title)
    axis.margins(y=0.02)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    if len(series) > 1:
        figure.legend(loc="outside right upper")
    content = io.BytesIO()
    # matplotlib would write its version into the file
    figure.savefig(content, dpi=_DPI, metadata={"Software": None})
    write_atomically(path, lambda stream: stream.write(content.getvalue()))


def _reach(length: float) -> float:
    """How far an error bar goes; percentile intervals need not hold the value itself."""
    return 0.0 if math.isnan(length) else max(0.0, length)
