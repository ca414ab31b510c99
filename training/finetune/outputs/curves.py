"""Draws how a run went: loss, recall, rates and what was measured on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaclip.training.finetune.outputs.logs import RowLog

logger = logging.getLogger(__name__)

_PANELS: Mapping[str, Sequence[str]] = {
    "loss": ("loss",),
    "recall@1 in the batch": ("hit",),
    "rates": ("rate", "alpha_rate"),
}
_SMOOTHED = ("loss", "hit")


def draw_curves(log: RowLog, evaluation: RowLog, path: Path) -> None:
    """Draws the logs of a run, where matplotlib is installed; says so where it is not.

    Args:
        log: rows with ``step``, ``loss``, ``hit``, ``rate`` and ``alpha_rate``
        evaluation: rows with ``step`` and figures; may be empty
        path: of the PNG
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no %s is drawn: `pip install matplotlib` adds it", path.name)
        return
    rows, measured = log.rows(), evaluation.rows()
    count = len(_PANELS) + bool(measured)
    figure = Figure(figsize=(4.5 * count, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count)
    for axis, (title, names) in zip(axes, _PANELS.items(), strict=False):
        _draw(axis, title, names, rows)
    if measured:
        names = [name for name in measured[-1] if name != "step"]
        _draw(axes[-1], "held-out pairs, percent", names, measured, marker="o")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _draw(
    axis: Any,
    title: str,
    names: Sequence[str],
    rows: Sequence[Mapping[str, float]],
    marker: str = "",
) -> None:
    for name in names:
        found = [row for row in rows if name in row]
        values = [row[name] for row in found]
        steps = [row["step"] for row in found]
        axis.plot(steps, smooth(values) if name in _SMOOTHED else values, marker=marker, label=name)
    axis.set(title=title, xlabel="step")
    if len(names) > 1:
        axis.legend(fontsize="small")
    if title == "rates":
        axis.set_yscale("symlog", linthresh=1e-8)


def smooth(values: Sequence[float], window: int = 10) -> list[float]:
    """The means of each value and of up to ``window`` - 1 before it."""
    parts = [values[max(0, end - window) : end] for end in range(1, len(values) + 1)]
    return [sum(part) / len(part) for part in parts]
