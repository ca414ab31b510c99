"""Outcomes on the disk: one JSON file for each encoder, set and setting."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import write_text
from alphaclip.training.evaluation.outcomes import Outcome, Row

FOLDER = "outcomes"
_FORMAT = 1
_COLUMNS = [field.name for field in fields(Row)]


def save_outcome(folder: Path, outcome: Outcome, order: int) -> Path:
    """Writes an outcome; one of the same task, set, setting and encoder is replaced.

    Args:
        folder: of the run; the file goes into its folder ``outcomes``
        outcome: what to write
        order: the encoder's place in the run; reports compare with the first

    Returns:
        the file
    """
    content = {
        "format": _FORMAT,
        "order": order,
        **asdict(outcome),
        "rows": {name: [getattr(row, name) for row in outcome.rows] for name in _COLUMNS},
    }
    path = folder / FOLDER / f"{_name(outcome)}.json"
    write_text(path, json.dumps(to_json(content), ensure_ascii=False) + "\n")
    return path


def load_outcomes(folder: Path) -> list[Outcome]:
    """Reads what one or several runs left in a folder and the folders in it.

    Args:
        folder: of a run, or one that holds the folders of runs

    Returns:
        the outcomes in the order of their runs' encoders

    Raises:
        AlphaClipError: if there are none, a file is damaged, or two runs judged one encoder on one
            set in one setting with different results
    """
    paths = sorted(folder.rglob(f"{FOLDER}/*.json"))
    if not paths:
        raise AlphaClipError(
            f"{folder} holds no outcomes: run `alphaclip eval TASK --out {folder}`"
        )
    found: dict[tuple[str, ...], tuple[int, Path, Outcome]] = {}
    for path in paths:
        order, outcome = _read(path)
        key = outcome.task, outcome.set, outcome.setting, outcome.encoder
        known = found.setdefault(key, (order, path, outcome))
        if repr(known[2]) != repr(outcome):
            raise AlphaClipError(
                f"{known[1]} and {path} disagree on {outcome.encoder}: delete the one that is old"
            )
    return [outcome for _, _, outcome in sorted(found.values(), key=_rank)]


def to_json(value: Any) -> Any:
    """The same with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def slug(parts: Sequence[str]) -> str:
    """A file name of some words, different for different words."""
    words = "-".join(filter(None, (re.sub(r"[^\w.+]+", "-", part).strip("-") for part in parts)))
    digest = hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:8]
    return f"{words[:100]}-{digest}".lower()


def _rank(found: tuple[int, Path, Outcome]) -> tuple[int, str]:
    return found[0], found[2].encoder


def _name(outcome: Outcome) -> str:
    return slug((outcome.task, outcome.set, outcome.setting, outcome.encoder))


def _read(path: Path) -> tuple[int, Outcome]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if content.pop("format") != _FORMAT:
            raise AlphaClipError(f"{path} is of another version of alphaclip: run it again")
        return int(content.pop("order")), _outcome(content)
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, AlphaClipError):
            raise
        raise AlphaClipError(f"{path} is damaged ({error}): delete it and run it again") from error


def _outcome(content: dict[str, Any]) -> Outcome:
    columns = content.pop("rows")
    rows = [_row(values) for values in zip(*(columns[name] for name in _COLUMNS), strict=True)]
    metrics = {name: _number(value) for name, value in content.pop("metrics").items()}
    skipped = tuple(content.pop("skipped"))
    return Outcome(metrics=metrics, rows=tuple(rows), skipped=skipped, **content)


def _row(values: Sequence[Any]) -> Row:
    row = dict(zip(_COLUMNS, values, strict=True))
    return Row(**row | {"correct": _number(row["correct"]), "score": _number(row["score"])})


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
