"""What an evaluation task is to the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaclip.training.evaluation.examples import RegionSet
from alphaclip.training.evaluation.outcomes import Outcome, Progress


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


@dataclass(frozen=True)
class Task:
    """A task of ``alphaclip eval``.

    ``--encoder`` (or ``--predictions``), ``--data``, ``--out``, ``--limit``, ``--cache``,
    ``--device`` and ``--precision`` are added for every task.

    Attributes:
        name: as typed
        help: one line
        add_arguments: adds the task's own options
        load: reads the data once; each entry is a set in a setting and gives one outcome for each
            encoder. Raises :class:`MissingDataError` where a file is not there
        run: judges one encoder (its name, or the path of a file of predictions) on one entry
        subjects: what is judged
        summarize: outcomes of one encoder on all entries to further ones, such as a mean of splits
        regions: the regions of an entry whose ids are those of the outcome's rows, so that a
            FiftyOne dataset of mistakes can be made; None where rows are of something else
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    load: Callable[[argparse.Namespace], Sequence[Any]]
    run: Callable[[str, Any, Means], Outcome]
    subjects: Literal["encoder", "predictions"] = "encoder"
    summarize: Callable[[Sequence[Outcome]], Sequence[Outcome]] | None = None
    regions: Callable[[Any], RegionSet] | None = None


def all_tasks() -> list[Task]:
    """Every task, in the order of the help text."""
    from alphaclip.training.evaluation.captioning_task import CAPTIONS
    from alphaclip.training.evaluation.classification_tasks import IMAGENET_S, REGIONS
    from alphaclip.training.evaluation.detection_task import TASK as DETECTION
    from alphaclip.training.evaluation.referring_task import TASK as REFERRING
    from alphaclip.training.evaluation.retrieval_task import RETRIEVAL

    return [IMAGENET_S, REGIONS, RETRIEVAL, REFERRING, DETECTION, CAPTIONS]
