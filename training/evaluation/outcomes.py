"""What an evaluation gives: figures, and a row for everything that was judged.

On the disk an outcome is one JSON file for each encoder, set and setting.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json, write_text

if TYPE_CHECKING:
    from alphaclip.encoder.load import Precision

FOLDER = "outcomes"
_FORMAT = 1
"""Of the files: raised where they change, so that old ones are not misread."""

Estimator = Literal["mean", "class-mean", "group-mean", "none"]

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is to do."""


@dataclass(frozen=True)
class Row:
    """One judged region, expression or description.

    Attributes:
        id: unique in its set and equal for every encoder, so that encoders are compared in pairs
        example: the picture's id; rows of one picture are not independent
        correct: 1 or 0, or a value in [0, 1] such as a reciprocal rank
        predicted: what was answered, as a person reads it
        truth: what was right; the class, for a mean over classes
        score: of the answer, such as a cosine
        group: the region's size, or another part of the set to report apart
    """

    id: str
    example: str
    correct: float
    predicted: str = ""
    truth: str = ""
    score: float = float("nan")
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one encoder reached on one set in one setting.

    Attributes:
        task: the name of its :class:`~alphaclip.training.evaluation.tasks.Task`
        set: the set's name, such as ``coco-val2017``
        encoder: its name as it was asked for, or the name of a file of predictions
        metrics: by name; in percent or not as the published figures are, stated by the task
        rows: one for each thing judged; may be empty where a metric is not made of rows
        settings: the protocol, as JSON holds it; ``setting`` is its short name in reports
        skipped: what could not be judged, a line each
        primary: the metric that is compared and gets an interval
        estimator: how ``primary`` comes from the rows: 100 times the mean of ``correct``
            (``mean``), of its means over each ``truth`` (``class-mean``) or over each ``group``
            (``group-mean``); ``none`` where it does not
    """

    task: str
    set: str
    encoder: str
    metrics: Mapping[str, float]
    rows: tuple[Row, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    primary: str = ""
    estimator: Estimator = "mean"

    @property
    def setting(self) -> str:
        """The short name of the protocol's setting."""
        return str(self.settings.get("setting", ""))


@dataclass(frozen=True)
class Means:
    """What a task runs with.

    Attributes:
        cache: where region vectors are kept; None keeps none
        progress: called with pictures done and pictures in all
        device: as in :func:`alphaclip.load`, as is ``precision``
    """

    cache: Path | None = None
    progress: Progress | None = None
    device: str | None = None
    precision: Precision = "auto"


def percent(values: Sequence[float] | np.ndarray) -> float:
    """Their mean in percent; NaN where there is none."""
    return 100.0 * float(np.mean(values)) if len(values) else float("nan")


_COLUMNS = [field.name for field in fields(Row)]


def save_outcome(folder: Path, outcome: Outcome, order: int) -> Path:
    """Writes an outcome into the folder ``outcomes`` of a run; one of the same task, set, setting
    and encoder is replaced. ``order`` is the encoder's number in the run: reports compare with the
    first.
    """
    content = {
        "format": _FORMAT,
        "order": order,
        **asdict(outcome),
        "rows": {name: [getattr(row, name) for row in outcome.rows] for name in _COLUMNS},
    }
    name = slug((outcome.task, outcome.set, outcome.setting, outcome.encoder))
    path = folder / FOLDER / f"{name}.json"
    write_text(path, json.dumps(to_json(content), ensure_ascii=False) + "\n")
    return path


def load_outcomes(folder: Path) -> list[Outcome]:
    """What one or several runs left in a folder and the folders in it, in the order of the
    encoders.

    Raises:
        AlphaClipError: if there is nothing, a file is damaged, or two runs judged one encoder on
            one set in one setting with different results
    """
    paths = sorted(folder.rglob(f"{FOLDER}/*.json"))
    if not paths:
        raise AlphaClipError(
            f"{folder} holds no outcomes: run `alphaclip eval TASK --out {folder}`"
        )
    outcomes: dict[tuple[str, ...], tuple[int, Path, Outcome]] = {}
    for path in paths:
        order, outcome = _read(path)
        key = outcome.task, outcome.set, outcome.setting, outcome.encoder
        _, other, same = outcomes.setdefault(key, (order, path, outcome))
        # by repr: NaN equals nothing, not even itself
        if repr(same) != repr(outcome):
            raise AlphaClipError(
                f"{other} and {path} disagree on {outcome.encoder}: delete the one that is old"
            )
    ranked = sorted(outcomes.values(), key=lambda entry: (entry[0], entry[2].encoder))
    return [outcome for _, _, outcome in ranked]


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


def _read(path: Path) -> tuple[int, Outcome]:
    def number(value: float | None) -> float:
        return float("nan") if value is None else float(value)

    try:
        content = read_json(path)
        if content.pop("format") != _FORMAT:
            raise AlphaClipError(f"{path} is of another version of alphaclip: run it again")
        order, columns = int(content.pop("order")), content.pop("rows")
        columns |= {name: list(map(number, columns[name])) for name in ("correct", "score")}
        rows = [Row(*values) for values in zip(*(columns[n] for n in _COLUMNS), strict=True)]
        metrics = {name: number(value) for name, value in content.pop("metrics").items()}
        skipped = tuple(content.pop("skipped"))
        return order, Outcome(metrics=metrics, rows=tuple(rows), skipped=skipped, **content)
    except AlphaClipError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise AlphaClipError(f"{path} is damaged ({error}): delete it and run it again") from error
