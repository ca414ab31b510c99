"""Logs of a training run: rows of figures by step in a file, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaclip.files import write_text

logger = logging.getLogger(__name__)

LOG, EVALUATION = "log.csv", "evaluation.csv"

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
        return [json.loads(line) for line in whole.splitlines()]

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
        self._writes, self._board = writes, None
        if writes:
            self.steps.cut(first)
            self.evaluation.cut(first + 1 if first else 0)
            self._board = _board(folder / "tensorboard", first)

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


def _board(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("no TensorBoard files are written: `pip install tensorboard` adds them")
        return None
    return SummaryWriter(str(folder), purge_step=first)


def _csv_line(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for name, text in row.items():
        if text:
            found[name] = int(text) if text.lstrip("-").isdecimal() else float(text)
    return found
