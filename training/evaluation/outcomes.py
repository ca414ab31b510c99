"""What an evaluation gives: figures, and a row for everything that was judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
        device: as in :func:`alphaclip.load`
        precision: as in :func:`alphaclip.load`
    """

    cache: Path | None = None
    progress: Progress | None = None
    device: str | None = None
    precision: str = "auto"
