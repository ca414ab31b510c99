"""How well wrong labels are found, and labels that are missing, drawn badly, or doubled.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/label_errors.py [BCCD]

Wrong labels are found by the names of the classes and by the other pictures' regions, in two sets:
the objects of the bundled scenes, of whose labels 3 % are wrong on purpose, and the blood cells of
BCCD. Of both, 5 % of the labels, drawn at random, are set to another class, also drawn at random,
with three seeds. Nano's vectors judge; prints a table in Markdown. The precision of the first
hundred can be no more than the wrong labels' number over a hundred.

Then, of the labels of the scenes' objects, 10 % are deleted, drawn badly, or drawn a second time,
with three seeds. Proposals and masks are stand-ins, as no segmenter that knows drawings is here: of
each object its box with sides off by up to 5 %, and for proposals also a part of it, and eight
boxes anywhere in each picture. A box is drawn badly by moving it by a fifth to two fifths of its
sides, or making it larger by half, or smaller by 40 %; a second label's sides are off by up to 8 %,
and a fifth of them have another class. With ``--sam FILE``, masks are also made by that model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import aligned, tell
from pictures import CELLS, cell_pictures

from alphaclip import indexing
from alphaclip.encoder.prompts import DRAWING
from alphaclip.indexing.dataset.labels import images_of, regions_of
from alphaclip.indexing.dataset.overlaps import iou, outer_box
from alphaclip.indexing.dataset.samples import OBJECTS, OUTLINES, load_sample
from alphaclip.indexing.explore.label_errors import By, find_label_errors
from alphaclip.indexing.masks.mask_fields import prepare_field
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.region_index import RegionIndex

NANO = "alphaclip-nano"
KEY = "label_errors"
SEEDS, FLIPPED, FIRST = (0, 1, 2), 0.05, 100
WAYS: tuple[By, ...] = ("texts", "regions")
HEADS = ("set", "labels", "classes", "wrong", "judged by", "precision @100", "at most", "AUC")
HEADS += ("estimated wrong", "agreement")

PROPOSALS, MASKS, DELETED = "proposals", "objects_masks", 0.1
SEGMENTED, SECOND, ANYWHERE = 0.05, 0.08, 8
FAULT_HEADS = ("labels that are", "planted", f"right of the first {FIRST}", "at most")

Box = Sequence[float]
Rng = np.random.Generator


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
    parser.add_argument("bccd", type=Path, nargs="?", help="left out where none is named")
    parser.add_argument("--sam", type=Path, help="weights of a segmenter")
    parser.add_argument("--faults", action="store_true", help="only the faults of the scenes")
    parser.add_argument("--pictures", type=int, default=320, help="of the scenes, for the faults")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="of the faults, at most 3")
    given = parser.parse_args(arguments)
    if not given.faults:
        _tell_errors(given.bccd)
    lines = [FAULT_HEADS]
    for name, right, planted in faults(
        load_sample().limit(given.pictures).clone(), SEEDS[: given.seeds], given.sam
    ):
        tell(f"{name}: {right} of {planted}")
        columns = (planted, right, [min(FIRST, one) for one in planted])
        lines.append((name, *(_span(column, "{:.0f}") for column in columns)))
    sys.stdout.write(aligned(lines) + "\n")


def _tell_errors(bccd: Path | None) -> None:
    lines = [HEADS]
    for name, tasks in _sets(bccd):
        for by in WAYS:
            tell(f"{name}, by {by}")
            lines.append(_line(name, tasks[0], by, [_try(task, by) for task in tasks]))
    sys.stdout.write(aligned(lines) + "\n")


def _sets(bccd: Path | None) -> Iterator[tuple[str, list[Task]]]:
    scenes = load_sample()
    index = indexing.build(scenes, OBJECTS, NANO, key=KEY, overwrite=True)
    truths = _column(scenes, OBJECTS, "true_label")
    given = _column(scenes, OBJECTS, "label")
    wrong = frozenset(label_id for label_id, name in truths.items() if name)
    yield "scenes, 3 % on purpose", [Task(index, "label", wrong, DRAWING)]
    right = {label_id: truths[label_id] or name for label_id, name in given.items()}
    yield "scenes, 5 % at random", [_flipped(index, right, DRAWING, seed) for seed in SEEDS]
    if bccd is None:
        return
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


def faults(
    scenes: fo.Dataset, seeds: Sequence[int] = SEEDS, sam: Path | None = None
) -> Iterable[tuple[str, list[int], list[int]]]:
    """For each kind of fault: its name, and for each seed how many of the first hundred were
    planted, and how many were in all."""
    _stand_ins(scenes)
    index = indexing.build(scenes, OBJECTS, NANO, key="labels", overwrite=True, progress=_silent)
    proposals = indexing.build(
        scenes, PROPOSALS, NANO, key="proposals", overwrite=True, progress=_silent
    )
    yield "missing", *_trials(index, seeds, lambda seed: _missing(index, proposals, seed))
    yield "drawn badly", *_trials(index, seeds, lambda seed: _drawn(index, MASKS, seed))
    yield "doubled", *_trials(index, seeds, lambda seed: _doubled(index, seed))
    if sam:
        name = "drawn badly, by the masks of a small SAM"
        yield name, *_trials(index, seeds, lambda seed: _drawn(index, "sam_masks", seed, sam))


def _trials(
    index: RegionIndex, seeds: Sequence[int], run: Callable[[int], tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Runs it for each seed, on the labels as they were."""
    before = index.dataset.values(OBJECTS)
    counts = []
    for seed in seeds:
        counts.append(run(seed))
        index.dataset.set_values(OBJECTS, before)
    return [right for right, _ in counts], [planted for _, planted in counts]


def _missing(index: RegionIndex, proposals: RegionIndex, seed: int) -> tuple[int, int]:
    rng, deleted = np.random.default_rng(seed), {}
    for sample in index.dataset.iter_samples(autosave=True):
        chosen = [one for one in sample[OBJECTS].detections if rng.random() < DELETED]
        deleted[sample.id] = [region for _, region in regions_of(_of(chosen))]
        for one in chosen:
            sample[OBJECTS].detections.remove(one)
    found = indexing.find_missing_labels(proposals, FIRST, progress=_silent)
    right = sum(
        any(iou(_boxed(region), _boxed(one)) >= 0.5 for one in deleted[sample_id])
        for sample_id, region in _regions(found.hits)
    )
    return right, sum(map(len, deleted.values()))


def _drawn(index: RegionIndex, masks: str, seed: int, sam: Path | None = None) -> tuple[int, int]:
    rng, wrong = np.random.default_rng(seed), set()
    for sample in index.dataset.iter_samples(autosave=True):
        for one in sample[OBJECTS].detections:
            if rng.random() < DELETED:
                one.bounding_box = _badly(one.bounding_box, rng)
                wrong.add(one.id)
    if sam:
        indexing.segment(
            index.dataset, OBJECTS, into=masks, model=sam, overwrite=True, progress=_silent
        )
    found = indexing.find_badly_drawn_labels(index, masks, FIRST, progress=_silent)
    return len(wrong.intersection(found.hits.label_ids)), len(wrong)


def _doubled(index: RegionIndex, seed: int) -> tuple[int, int]:
    import fiftyone as fo

    rng, second = np.random.default_rng(seed), set()
    classes = index.dataset.distinct(f"{OBJECTS}.detections.label")
    for sample in index.dataset.iter_samples(autosave=True):
        for one in list(sample[OBJECTS].detections):
            if rng.random() < DELETED:
                name = one.label if rng.random() < 0.8 else str(rng.choice(classes))
                again = fo.Detection(label=name, bounding_box=_off(one.bounding_box, SECOND, rng))
                sample[OBJECTS].detections.append(again)
                second.add(again.id)
    index.update(_silent)
    found = indexing.find_doubled_labels(index, count=FIRST, progress=_silent)
    return len(second.intersection(found.hits.label_ids)), len(second)


def _stand_ins(scenes: fo.Dataset) -> None:
    """Writes proposals, and masks as a segmenter would make them for the objects."""
    import fiftyone as fo

    rng = np.random.default_rng(0)
    prepare_field(scenes, PROPOSALS, {"kind": "sam", "field": None})
    prepare_field(scenes, MASKS, {"kind": "sam", "field": OBJECTS})
    for sample in scenes.iter_samples(autosave=True):
        objects = regions_of(sample[OBJECTS])
        boxes = [outer_box(region) for _, region in [*objects, *regions_of(sample[OUTLINES])]]
        whole = [_off(box, SEGMENTED, rng) for box in boxes]
        anywhere = [[*rng.uniform(0, 0.7, 2), *rng.uniform(0.1, 0.3, 2)] for _ in range(ANYWHERE)]
        some = [*whole, *(_part(box, rng) for box in boxes), *anywhere]
        sample[PROPOSALS] = _of([fo.Detection(bounding_box=list(map(float, box))) for box in some])
        sample[MASKS] = _of(
            [
                fo.Detection(bounding_box=box, source_id=one.id, source=OBJECTS)
                for box, (one, _) in zip(whole, objects, strict=False)
            ]
        )


def _of(detections: Sequence[Any]) -> Any:
    import fiftyone as fo

    return fo.Detections(detections=list(detections))


def _boxed(region: Region) -> Region:
    return Region.from_box(outer_box(region))


def _regions(hits: Any) -> Iterable[tuple[str, Region]]:
    """The sample and the region of each hit."""
    chosen = set(hits.region_ids)
    for sample in images_of(hits.dataset).select(list(set(hits.sample_ids.tolist()))):
        for label, region in regions_of(sample[hits.fields[0]]):
            if (sample.id, label.id) in chosen:
                yield sample.id, region


def _off(box: Box, most: float, rng: Rng) -> list[float]:
    """A box with each side moved by up to a share of the box."""
    x, y, w, h = box
    left, top, right, bottom = rng.uniform(-most, most, 4)
    return _inside(x + left * w, y + top * h, x + w + right * w, y + h + bottom * h)


def _badly(box: Box, rng: Rng) -> list[float]:
    x, y, w, h = box
    way = rng.integers(3)
    if way == 0:
        across, down = rng.uniform(0.2, 0.4, 2) * rng.choice([-1, 1], 2)
        return _inside(x + across * w, y + down * h, x + w + across * w, y + h + down * h)
    grown = 0.25 if way == 1 else -0.2
    return _inside(x - grown * w, y - grown * h, x + w + grown * w, y + h + grown * h)


def _part(box: Box, rng: Rng) -> list[float]:
    """A part with half the sides."""
    x, y, w, h = box
    left, top = rng.uniform(0, 0.5, 2)
    return [x + left * w, y + top * h, w / 2, h / 2]


def _inside(left: float, top: float, right: float, bottom: float) -> list[float]:
    left, top, right, bottom = (
        float(min(max(side, 0.0), 1.0)) for side in (left, top, right, bottom)
    )
    return [left, top, max(right - left, 0.01), max(bottom - top, 0.01)]


def _span(values: Sequence[float], form: str) -> str:
    """The mean, and the least and greatest where they differ."""
    mean, least, most = (form.format(f(values)) for f in (np.mean, min, max))
    return mean if least == most else f"{mean} ({least} to {most})"


def _silent(*_: Any) -> None:
    pass


if __name__ == "__main__":
    main(sys.argv[1:])
