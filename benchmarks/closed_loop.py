"""What an encoder gains by a fine-tune on regions that people reviewed while they labelled.

    PYTHONPATH=. .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/closed_loop.py \\
        run DRAWINGS BCCD OUT [--only SET ...]
    PYTHONPATH=. .venv/bin/python benchmarks/closed_loop.py table OUT

Three sets: the blood cells of BCCD, which nano has never seen; scenes of twenty things as drawn by
the artist that was kept out of nano's training; and the bundled scenes, whose drawings it was
trained on. For each seed the pictures are halved. The regions of one half are labelled, 200 of the
queue are reviewed by the ground truth, and nano is fine-tuned on those, with the settings that
``alphaclip train --dataset --reviews`` takes by itself. In the other half, which nobody reviewed,
regions are searched for by each class's text: mean average precision, and the right ones among the
first ten, before and after. Intervals are of the difference, by a bootstrap over pictures.

OUT gets ``SET-SEED.json``; what is there already is not done again. DRAWINGS holds the artists'
archives (``recipes.nano.drawings.fetch`` gets them).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from feedback import Pool
from measuring import difference, quiet, tell
from pictures import CELLS, Picture, cell_pictures, drawn_pictures, sample_pictures
from PIL import Image

from alphaclip.files import write_text
from alphaclip.regions.region import Region
from alphaclip.training.datasets.files import shown_size
from alphaclip.training.evaluation.retrieval.ranking import average_precision, rank
from alphaclip.training.pairs.format.records import is_box
from recipes.nano.scenes import SpriteBook, held_out_sets

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.region_index import RegionIndex
    from alphaclip.training.finetune.fiftyone_training import DatasetTraining

NANO = "alphaclip-nano"
SEEDS = (0, 1, 2)
REVIEWED = 200
SCENES, SCENE_SEED, THINGS = 320, 7005, 20
RESAMPLES = 2000
FIELD, INTO = "things", "auto"

Pictures = Callable[[], Iterator[Picture]]


@dataclass(frozen=True)
class Source:
    """A set of pictures: what makes them, and the text of each class's name."""

    pictures: Pictures
    texts: Mapping[str, str]

    def classes(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The classes to label with."""
        return [{"name": name, "prompts": [self.text(name)]} for name in names]

    def text(self, name: str) -> str:
        """What a class is searched with."""
        return self.texts.get(name, f"a drawing of a {name}")


def main(arguments: Sequence[str]) -> None:
    """Runs what is missing, or prints the table of what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("drawings", type=Path)
    run.add_argument("bccd", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--only", nargs="+", default=["cells", "unseen artist", "bundled scenes"])
    commands.add_parser("table").add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    if given.command == "table":
        sys.stdout.write("\n".join(table(given.out)) + "\n")
        return
    given.out.mkdir(parents=True, exist_ok=True)
    sources = {
        "cells": Source(lambda: cell_pictures(given.bccd), CELLS),
        "unseen artist": Source(lambda: _drawn(given.drawings), {}),
        "bundled scenes": Source(sample_pictures, {}),
    }
    for seed in SEEDS:
        for name in given.only:
            path = given.out / f"{name.replace(' ', '-')}-{seed}.json"
            if not path.exists():
                figures = measure(name, sources[name], seed)
                write_text(path, json.dumps(figures, indent=1) + "\n")


def measure(name: str, source: Source, seed: int) -> dict[str, Any]:
    """One time round the loop; see the module."""
    from alphaclip import indexing

    started = time.perf_counter()
    with TemporaryDirectory(prefix="closed-loop-") as folder:
        os.environ["ALPHACLIP_STORE"] = f"{folder}/store"
        dataset = _dataset(source, Path(folder))
        try:
            halves = _halves(dataset, seed)
            index = indexing.build(halves[0], FIELD, NANO, "before", progress=quiet)
            names = sorted(set(halves[0].values(f"{FIELD}.detections.truth", unwind=True)))
            reviewed = _review(index, source.classes(names), seed)
            tell(f"{name}, seed {seed}: {reviewed} regions reviewed")
            done = _finetuned(halves[0], Path(folder), seed)
            found = _compared(halves[1], source, names, (NANO, str(done.model)))
        finally:
            dataset.delete()
    tell(f"{name}, seed {seed}: {found}")
    gain = done.gains["text to region"]
    return {
        "set": name,
        "seed": seed,
        "reviewed": reviewed,
        "trained_on": done.trained_on,
        "skipped": dict(done.skipped),
        "report": f"{gain.before:.1f}, {gain.after:.1f}: {gain.said} ({done.held_out} regions)",
        **found,
        "s": round(time.perf_counter() - started),
    }


def table(out: Path) -> list[str]:
    """The table in Markdown: a line for each set and seed."""
    head = ("set", "seed", "reviewed", "trained on", "searched", "classes")
    head += ("mAP before", "after", "difference", "first ten right, before", "after", "difference")
    head += ("mAP on the report's own held-out pictures",)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for path in sorted(out.glob("*.json")):
        one = json.loads(path.read_text())
        facts = (one[key] for key in ("set", "seed", "reviewed", "trained_on", "searched"))
        cells = [*map(str, facts), str(one["classes"])]
        for key in ("mAP", "first"):
            figure = one[key]
            cells += [f"{figure['before']:.1f}", f"{figure['after']:.1f}"]
            cells.append(difference(figure["difference"], figure["low"], figure["high"]))
        lines.append(f"| {' | '.join([*cells, one['report']])} |")
    return lines


def _dataset(source: Source, folder: Path) -> fo.Dataset:
    """The pictures with their regions; each label has its name as ``truth`` only."""
    import fiftyone as fo

    samples = []
    for number, (image, regions, names) in enumerate(source.pictures()):
        path = image
        if isinstance(image, np.ndarray):
            path = folder / f"{number:04d}.png"
            Image.fromarray(image).save(path)
        pairs = zip(regions, names, strict=True)
        labels = [_label(region, name, path) for region, name in pairs]
        things = {FIELD: fo.Detections(detections=labels)}
        samples.append(fo.Sample(str(path), **things))
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    return dataset


def _label(region: Region, name: str, path: Path) -> fo.Detection:
    import fiftyone as fo

    if is_box(region):
        return fo.Detection(bounding_box=list(region.box or ()), truth=name)
    width, height = shown_size(path)
    left, top, right, bottom = region.bounds(height, width)
    box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
    inside = region.alpha_map(height, width)[top:bottom, left:right] >= 128
    return fo.Detection(bounding_box=box, mask=inside, truth=name)


def _halves(dataset: fo.Dataset, seed: int) -> list[fo.DatasetView]:
    """Two halves of the pictures: to review, and to search."""
    ids = np.random.default_rng([11, seed]).permutation(dataset.values("id"))
    return [dataset.select(half.tolist()) for half in np.array_split(ids, 2)]


def _review(index: RegionIndex, classes: Sequence[Mapping[str, Any]], seed: int) -> int:
    """Labels, and answers for the first of the queue what they are; returns for how many."""
    from alphaclip.indexing.labelling.review.runs import add_reviews, labelling_of

    index.label(classes, into=INTO, precision=0.9, seed=seed, progress=quiet)
    labelling = labelling_of(index.dataset, INTO)
    paths = [f"{FIELD}.detections.{name}" for name in ("id", "truth")]
    truths = dict(zip(*index.dataset.values(paths, unwind=True), strict=True))
    queue = labelling.queue[:REVIEWED] if labelling is not None else ()
    add_reviews(index.dataset, INTO, {label_id: truths[label_id] for label_id in queue})
    return len(queue)


def _finetuned(samples: fo.SampleCollection, folder: Path, seed: int) -> DatasetTraining:
    from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset

    changed = {"seed": seed, "workers": 0}
    tuned = folder / "tuned"
    return finetune_on_dataset(samples, FIELD, tuned, NANO, changed=changed, reviews=INTO)


def _compared(
    half: fo.DatasetView, source: Source, names: Sequence[str], models: Sequence[str]
) -> dict[str, Any]:
    """Figures of both encoders on one half of the pictures, and of the difference."""
    from alphaclip import indexing

    seen = []
    for number, model in enumerate(models):
        index = indexing.build(half, FIELD, model, f"searched_{number}", progress=quiet)
        seen.append(_searched(index, source, names))
    all_rows = np.arange(len(seen[0].names))
    values = np.array([_figures(one) for one in seen])
    drawn = _draws(seen[0].pictures)
    draws = np.array([[_figures(one.of(rows)) for one in seen] for rows in drawn])
    found: dict[str, Any] = {"searched": len(all_rows), "classes": len(seen[0].texts)}
    for column, key in enumerate(("mAP", "first")):
        before, after = values[:, column].tolist()
        low, high = np.quantile(draws[:, 1, column] - draws[:, 0, column], [0.025, 0.975]).tolist()
        ends = {"difference": after - before, "low": low, "high": high}
        found[key] = {"before": before, "after": after, **ends}
    return found


def _searched(index: RegionIndex, source: Source, names: Sequence[str]) -> Pool:
    from alphaclip.indexing.store.segments import as_text

    ids = index.ids
    samples, labels = as_text(ids.sample_ids), as_text(ids.label_ids)
    paths = [f"{FIELD}.detections.{name}" for name in ("id", "truth")]
    truths = dict(zip(*index.dataset.values(paths, unwind=True), strict=True))
    own = np.array([truths[str(label)] for label in labels])
    classes = [name for name in names if (own == name).any()]
    texts = index.encoder.encode_text([source.text(name) for name in classes])
    _, pictures = np.unique(samples, return_inverse=True)
    vectors = index.vectors(np.arange(len(own)))
    return Pool(vectors, own, pictures, dict(zip(classes, texts, strict=True)))


def _figures(pool: Pool) -> tuple[float, float]:
    """Mean over the classes of the average precision, and of the right ones among the first ten,
    both in percent."""
    classes = [name for name in pool.texts if (pool.names == name).any()]
    right = [np.flatnonzero(pool.names == name) for name in classes]
    queries = np.stack([pool.texts[name] for name in classes])
    ranks = [ranking.ranks for ranking in rank(queries, pool.vectors, right)]
    first = [(own <= 10).sum() / min(10, len(own)) for own in ranks]
    precisions = [average_precision(own) for own in ranks]
    return 100 * float(np.mean(precisions)), 100 * float(np.mean(first))


def _draws(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of pictures that are drawn with replacement, always the same draws."""
    rng = np.random.default_rng(5)
    rows_of = [np.flatnonzero(pictures == one) for one in range(pictures.max() + 1)]
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(rows_of), size=len(rows_of))
        yield np.concatenate([rows_of[one] for one in drawn])


def _drawn(drawings: Path) -> Iterator[Picture]:
    """Scenes by the artist that nano never saw, of few things, so that there are enough of each."""
    book = SpriteBook(drawings, held_out_sets())
    some = np.random.default_rng(SCENE_SEED).permutation(book.drawn)[:THINGS]
    book.drawn = some.tolist()
    yield from drawn_pictures(book, SCENE_SEED, SCENES)


if __name__ == "__main__":
    main(sys.argv[1:])
