"""The comparison as bars with intervals."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaclip.files import write_atomically
from alphaclip.training.evaluation.report.statistics import Interval
from alphaclip.training.evaluation.report.tables import Table

_DPI = 100


def draw_table(table: Table, folder: Path) -> list[Path]:
    """Draws the metric that is compared, and the same by part of the set where there are parts.

    Args:
        table: of encoders
        folder: gets the PNG files, named after the table

    Returns:
        the files; the same table gives the same bytes
    """
    names = [line.outcome.encoder for line in table.lines]
    title = f"{table.task}, {table.set}\n{table.setting}".strip()
    path = folder / f"{table.name}.png"
    _draw(path, title, table, names, {"all": [line.own for line in table.lines]})
    if not table.groups:
        return [path]
    groups = {
        name: [line.groups.get(name, _NOTHING) for line in table.lines] for name in table.groups
    }
    second = folder / f"{table.name}-parts.png"
    _draw(second, title, table, names, groups)
    return [path, second]


_NOTHING = Interval(math.nan, math.nan, math.nan, 0, 0)


def _draw(
    path: Path,
    title: str,
    table: Table,
    names: Sequence[str],
    series: dict[str, list[Interval]],
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 1.6 + 0.3 * len(names) * max(1.0, 0.6 * len(series))
    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    thickness = 0.8 / len(series)
    for place, (label, values) in enumerate(series.items()):
        at = [row + (place - (len(series) - 1) / 2) * thickness for row in range(len(names))]
        _bars(axis, at, values, thickness, label)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=table.primary, title=title)
    axis.margins(y=0.02)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    if len(series) > 1:
        figure.legend(loc="outside right upper")
    content = io.BytesIO()
    figure.savefig(content, dpi=_DPI, metadata={"Software": None})
    write_atomically(path, lambda stream: stream.write(content.getvalue()))


def _bars(
    axis: Any, at: Sequence[float], values: Sequence[Interval], thickness: float, label: str
) -> None:
    widths = [0.0 if math.isnan(found.value) else found.value for found in values]
    errors = [
        [_reach(found.value - found.low) for found in values],
        [_reach(found.high - found.value) for found in values],
    ]
    axis.barh(at, widths, thickness, xerr=errors, capsize=2, label=label)


def _reach(length: float) -> float:
    """How far an error bar goes; percentile intervals need not hold the value itself."""
    return 0.0 if math.isnan(length) else max(0.0, length)
