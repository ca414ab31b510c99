"""What a run says of itself: rows of figures by step, for TensorBoard too, curves, its report."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaclip.files import parse_json, write_text
from alphaclip.training.evaluation.report.plots import legend_label, written_figure

logger = logging.getLogger(__name__)

LOG, EVALUATION, REPORT = "log.csv", "evaluation.csv", "report.json"

_PANELS: Mapping[str, Sequence[str]] = {
    "loss": ("loss",),
    "recall@1 in the batch": ("hit",),
    "rates": ("rate", "alpha_rate"),
}
_SMOOTHED = ("loss", "hit")

Row = Mapping[str, float]


class RowLog:
    """Rows of figures, each with its ``step``; a line torn by a kill is left out.

    Args:
        path: ``.csv`` or ``.jsonl``
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_csv = path.suffix == ".csv"

    def rows(self) -> list[dict[str, float]]:
        """What was logged; a figure that a row does not have is not in it."""
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if self._is_csv:
            return [_numbers(row) for row in csv.DictReader(io.StringIO(whole))]
        return [parse_json(line, self.path) for line in whole.splitlines()]

    def cut(self, first: int) -> None:
        """Drops the rows of steps that are done again.

        Args:
            first: the step that is next; it and those after it go
        """
        self._rewrite([row for row in self.rows() if row["step"] < first])

    def append(self, row: Row) -> None:
        """Adds a row.

        Args:
            row: with ``step``; a CSV gets the columns that it does not have yet
        """
        columns = self._columns()
        if self._is_csv and not set(row) <= set(columns):
            self._rewrite([*self.rows(), row])
            return
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            stream.write(self._line(row, columns))

    def _columns(self) -> list[str]:
        if not self._is_csv or not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as stream:
            return next(csv.reader(stream), [])

    def _rewrite(self, rows: Sequence[Row]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        head = _csv_line(columns) if self._is_csv and columns else ""
        write_text(self.path, head + "".join(self._line(row, columns) for row in rows))

    def _line(self, row: Row, columns: Sequence[str]) -> str:
        if self._is_csv:
            return _csv_line([row.get(name, "") for name in columns])
        return json.dumps(row) + "\n"


class RunLogs:
    """Everything that a run logs: ``log.csv``, ``evaluation.csv`` and files for TensorBoard.

    Rows of steps that are done again are dropped, in TensorBoard hidden.

    Args:
        folder: of the run
        first: the step that is next
        writes: False changes no file, as in all processes but one
    """

    def __init__(self, folder: Path, first: int, writes: bool = True) -> None:
        self.steps, self.evaluation = RowLog(folder / LOG), RowLog(folder / EVALUATION)
        self._writes = writes
        self._board: Any = None
        if writes:
            self.steps.cut(first)
            self.evaluation.cut(first + 1 if first else 0)
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                logger.warning(
                    "no TensorBoard files are written: `pip install tensorboard` adds them"
                )
            else:
                self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first)

    def add_step(self, row: Row) -> None:
        """Logs the figures of a step."""
        self._add(self.steps, "training", row)

    def add_evaluation(self, row: Row) -> None:
        """Logs what was measured after so many steps, which is the row's ``step``."""
        self._add(self.evaluation, "evaluation", row)

    def close(self) -> None:
        """Writes what is still held back."""
        if self._board is not None:
            self._board.close()

    def _add(self, log: RowLog, group: str, row: Row) -> None:
        if self._writes:
            log.append(row)
        if self._board is not None:
            for name in row.keys() - {"step"}:
                self._board.add_scalar(f"{group}/{name}", row[name], int(row["step"]))


def draw_curves(log: RowLog, evaluation: RowLog, path: Path) -> None:
    """Draws the logs of a run, where matplotlib is installed; says so where it is not.

    Args:
        log: rows with ``step``, ``loss``, ``hit``, ``rate`` and ``alpha_rate``
        evaluation: rows with ``step`` and figures; may be empty
        path: of the PNG
    """
    rows, measured = log.rows(), evaluation.rows()
    count = len(_PANELS) + bool(measured)
    try:
        with written_figure(path, 4.5 * count, 4) as figure:
            axes = figure.subplots(1, count)
            for axis, (title, names) in zip(axes, _PANELS.items(), strict=False):
                _draw(axis, title, names, rows)
            if measured:
                names = [name for name in measured[-1] if name != "step"]
                _draw(axes[-1], "held-out pairs, percent", names, measured, marker="o")
    except ImportError:
        logger.warning("no %s is drawn: `pip install matplotlib` adds it", path.name)


def _draw(
    axis: Any,
    title: str,
    names: Sequence[str],
    rows: Sequence[Mapping[str, float]],
    marker: str = "",
) -> None:
    for name in names:
        logged = [row for row in rows if name in row]
        values = [row[name] for row in logged]
        steps = [row["step"] for row in logged]
        shown = smooth(values) if name in _SMOOTHED else values
        axis.plot(steps, shown, marker=marker, label=legend_label(name))
    axis.set(title=title, xlabel="step")
    if len(names) > 1:
        axis.legend(fontsize="small")
    if title == "rates":
        # The two rates are two decades apart and end at zero, which a plain log cannot show.
        axis.set_yscale("symlog", linthresh=1e-8)


def smooth(values: Sequence[float], window: int = 10) -> list[float]:
    """The means of each value and of up to ``window`` - 1 before it."""
    parts = [values[max(0, end - window) : end] for end in range(1, len(values) + 1)]
    return [sum(part) / len(part) for part in parts]


@dataclass(frozen=True)
class FinetuneReport:
    """A run, after its last step or where it was stopped.

    Attributes:
        output: the run's folder
        steps: that it has in all
        done: steps that are done
        first: step that this part of the run began with; 0 if it was not interrupted before
        pairs: that it trains on
        samples_per_second: of this part, over all processes
        waiting: share of this part's time, in [0, 1], in which there was no batch to work on
        before: figures of the model before training; empty if nothing was measured
        after: figures of the last measurement
        best: highest value of the figure that picks the best checkpoint
        best_step: steps done when it was reached
        replaced: pairs that could not be read in training, and in whose place others were
        left_out: shards and pictures that are not in use, a line each
        details: the first pairs that were replaced in this part, a line each
    """

    output: Path
    steps: int
    done: int
    first: int
    pairs: int
    samples_per_second: float
    waiting: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    best: float | None
    best_step: int
    replaced: int
    left_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.done == self.steps

    def write(self) -> None:
        """Writes ``report.json`` into the run's folder."""
        content = asdict(self) | {"output": str(self.output)}
        write_text(self.output / REPORT, json.dumps(content, indent=1) + "\n")

    def lines(self) -> list[str]:
        """What a person should know, a line each."""
        lines = [
            f"{self.done} of {self.steps} steps on {self.pairs} pairs, "
            f"{self.samples_per_second:.1f} samples/s, {self.waiting:.0%} of the time waiting for "
            "data"
        ]
        for name, value in self.after.items():
            start = f"{self.before[name]:.2f} before, " if name in self.before else ""
            lines.append(f"{name}: {start}{value:.2f} after {self.done} steps")
        if self.best is not None:
            lines.append(f"best after {self.best_step} steps: {self.best:.2f}")
        if self.replaced or self.left_out:
            lines.append(
                f"{self.replaced} pairs could not be read and others took their places; "
                f"{len(self.left_out)} shards or pictures were left out ({REPORT} names them)"
            )
        return lines


def _csv_line(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    return {
        name: int(text) if text.lstrip("-").isdecimal() else float(text)
        for name, text in row.items()
        if text
    }
