"""How well wrong labels are found, by the names of the classes and by the other pictures' regions.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/label_errors.py BCCD

Two sets: the objects of the bundled scenes, of whose labels 3 % are wrong on purpose, and the
blood cells of BCCD. Of both, 5 % of the labels, drawn at random, are set to another class, also
drawn at random, with three seeds. Nano's vectors judge; prints a table in Markdown. The precision
of the first hundred can be no more than the wrong labels' number over a hundred.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measuring import aligned, tell
from pictures import CELLS, cell_pictures

from alphaclip import indexing
from alphaclip.encoder.prompts import DRAWING
from alphaclip.indexing.dataset.samples import OBJECTS, load_sample
from alphaclip.indexing.explore.label_errors import By, find_label_errors

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.region_index import RegionIndex

NANO = "alphaclip-nano"
KEY = "label_errors"
SEEDS, FLIPPED, FIRST = (0, 1, 2), 0.05, 100
WAYS: tuple[By, ...] = ("texts", "regions")
HEADS = ("set", "labels", "classes", "wrong", "judged by", "precision @100", "at most", "AUC")
HEADS += ("estimated wrong", "agreement")


@dataclass(frozen=True, eq=False)
class Task:
    """Labels of which some are known to be wrong.

    Attributes:
        index: whose regions
        attribute: that holds the labels
        wrong: label ids of the wrong ones
        templates: of the classes' names
    """

    index: RegionIndex
    attribute: str
    wrong: frozenset[str]
    templates: Sequence[str] | None


@dataclass(frozen=True)
class Trial:
    """What was found.

    Attributes:
        judged: labels that were looked at
        wrong: wrong ones among them
        precision: share of wrong ones among the first ``FIRST``
        area: under the ROC curve, of wrong against right labels
        estimated: how many were estimated to be wrong
        agreement: share of labels that the vectors agree with; "auto" takes the higher
    """

    judged: int
    wrong: int
    precision: float
    area: float
    estimated: int
    agreement: float


def main(arguments: Sequence[str]) -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bccd", type=Path)
    given = parser.parse_args(arguments)
    lines = [HEADS]
    for name, tasks in _sets(given.bccd):
        for by in WAYS:
            tell(f"{name}, by {by}")
            lines.append(_line(name, tasks[0], by, [_try(task, by) for task in tasks]))
    sys.stdout.write(aligned(lines) + "\n")


def _sets(bccd: Path) -> Iterator[tuple[str, list[Task]]]:
    scenes = load_sample()
    index = indexing.build(scenes, OBJECTS, NANO, key=KEY, overwrite=True)
    truths = _column(scenes, OBJECTS, "true_label")
    given = _column(scenes, OBJECTS, "label")
    wrong = frozenset(label_id for label_id, name in truths.items() if name)
    yield "scenes, 3 % on purpose", [Task(index, "label", wrong, DRAWING)]
    right = {label_id: truths[label_id] or name for label_id, name in given.items()}
    yield "scenes, 5 % at random", [_flipped(index, right, DRAWING, seed) for seed in SEEDS]
    cells = _cells(bccd)
    index = indexing.build(cells, OBJECTS, NANO, key=KEY, overwrite=True)
    right = _column(cells, OBJECTS, "label")
    yield "cells, 5 % at random", [_flipped(index, right, None, seed) for seed in SEEDS]


def _cells(folder: Path) -> fo.Dataset:
    import fiftyone as fo

    dataset = fo.Dataset()
    for path, regions, names in cell_pictures(folder):
        found = [
            fo.Detection(label=CELLS[name], bounding_box=list(region.box or ()))
            for region, name in zip(regions, names, strict=True)
        ]
        dataset.add_sample(fo.Sample(str(path), **{OBJECTS: fo.Detections(detections=found)}))
    return dataset


def _column(dataset: fo.Dataset, field: str, attribute: str) -> dict[str, str]:
    paths = [f"{field}.detections.{name}" for name in ("id", attribute)]
    return dict(zip(*dataset.values(paths, unwind=True), strict=True))


def _flipped(
    index: RegionIndex, right: Mapping[str, str], templates: Sequence[str] | None, seed: int
) -> Task:
    """Sets a share of the labels to another class, in an attribute of this seed's own."""
    rng, names = np.random.default_rng(seed), sorted(set(right.values()))
    chosen = [label_id for label_id in sorted(right) if rng.random() < FLIPPED]
    other = {one: str(rng.choice([n for n in names if n != right[one]])) for one in chosen}
    attribute, path = f"flipped_{seed}", f"{index.field}.detections"
    ids = index.dataset.values(f"{path}.id")
    values = [[other.get(one, right[one]) for one in some or []] for some in ids]
    index.dataset.set_values(f"{path}.{attribute}", values, dynamic=True)
    return Task(index, attribute, frozenset(chosen), templates)


def _try(task: Task, by: By) -> Trial:
    from sklearn.metrics import roc_auc_score

    total = len(task.index)
    found = find_label_errors(
        task.index, total, task.attribute, by, task.templates, progress=lambda *_: None
    )
    is_wrong = np.isin(found.hits.label_ids, sorted(task.wrong))
    area = float(roc_auc_score(is_wrong, -np.arange(len(found))))
    precision = float(is_wrong[:FIRST].mean())
    figures = (precision, area, found.errors, found.agreement)
    return Trial(found.judged, int(is_wrong.sum()), *figures)


def _line(name: str, task: Task, by: By, trials: Sequence[Trial]) -> tuple[str, ...]:
    classes = len(set(_column(task.index.dataset, task.index.field, task.attribute).values()))
    most = [min(1.0, trial.wrong / FIRST) for trial in trials]
    return (
        name,
        _span([trial.judged for trial in trials], "{:.0f}"),
        str(classes),
        _span([trial.wrong for trial in trials], "{:.0f}"),
        by,
        _span([trial.precision for trial in trials], "{:.2f}"),
        _span(most, "{:.2f}"),
        _span([trial.area for trial in trials], "{:.3f}"),
        _span([trial.estimated for trial in trials], "{:.0f}"),
        _span([100 * trial.agreement for trial in trials], "{:.1f} %"),
    )


def _span(values: Sequence[float], form: str) -> str:
    """The mean, and the least and greatest where they differ."""
    mean, least, most = (form.format(f(values)) for f in (np.mean, min, max))
    return mean if least == most else f"{mean} ({least} to {most})"


if __name__ == "__main__":
    main(sys.argv[1:])
