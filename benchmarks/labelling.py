"""How many regions have to be reviewed for labels, and whether stated precisions are kept.

    python benchmarks/labelling.py BCCD [--work FOLDER] [--figure PNG]

Two sets: the bundled scenes, and the blood cells of BCCD. Half of the pictures are for reviews, the
other half for the figures. Accuracy is that of the scorer that :mod:`choosing` takes, after so many
random reviews for training; beside it the same on crops: the box cut out of its picture and encoded
as a picture of its own by the same model, as FiftyOne's patch embeddings do.

Then precisions: of 200 random samples of each size, in how many do the labels above the threshold
reach what was asked? The plain threshold is the lowest at which the sample's own share of right
ones is as asked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pictures import CELLS, Picture, cell_pictures, sample_pictures
from PIL import Image

import alphaclip
from alphaclip.encoder.prompts import DRAWING
from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.scoring.choosing import choose_scorer
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scoring import answer, zero_shot
from alphaclip.regions.region import Region

REVIEWED = (0, 10, 20, 50, 100, 200, 500)
SEEDS = 5
RUNS, SAMPLES, PRECISION, CONFIDENCE = 200, (50, 100, 200, 400), 0.95, 0.9
TRAINED = {"scenes": 200, "cells": 50}
"""Regions that the scorer of the thresholds learned from: few enough that there are errors."""

Threshold = Callable[[np.ndarray, np.ndarray, np.ndarray], "float | None"]


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of known classes.

    Attributes:
        vectors: float32 (n, dim)
        truths: int64 (n,), places of classes
        pictures: int64 (n,)
        classes: that there are
        templates: of their names
    """

    vectors: np.ndarray
    truths: np.ndarray
    pictures: np.ndarray
    classes: ClassSet
    templates: Sequence[str] | None

    def half(self, which: int) -> Regions:
        """The regions of one half of the pictures, drawn by a fixed seed."""
        order = np.random.default_rng(7).permutation(np.unique(self.pictures))
        mine = np.isin(self.pictures, np.array_split(order, 2)[which])
        columns = (self.vectors[mine], self.truths[mine], self.pictures[mine])
        return Regions(*columns, self.classes, self.templates)


def main(arguments: Sequence[str]) -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bccd", type=Path)
    parser.add_argument("--work", type=Path, default=Path("labelling-vectors"))
    parser.add_argument("--figure", type=Path, default=Path("labelling.png"))
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    encoder = alphaclip.load("alphaclip-nano")
    sets: dict[str, tuple[Callable[[], Iterator[Picture]], dict[str, str]]] = {
        "scenes": (sample_pictures, {}),
        "cells": (lambda: cell_pictures(given.bccd), CELLS),
    }
    figures: dict[str, Any] = {}
    for name, (pictures, words) in sets.items():
        ways = {
            way: _regions(given.work / f"{name}-{way}.npz", encoder, pictures, words, way)
            for way in ("alpha", "crops")
        }
        curves = {way: accuracy_curve(regions, encoder) for way, regions in ways.items()}
        kept = kept_curves(ways["alpha"], encoder, TRAINED[name])
        figures[name] = {"accuracy": curves, "thresholds": kept}
        sys.stdout.write(f"{name} {json.dumps(figures[name])}\n")
        sys.stdout.flush()
    draw(figures, given.figure)


def accuracy_curve(regions: Regions, encoder: Any) -> dict[str, list[float]]:
    """Accuracy on the second half of the pictures after reviews of the first: means over seeds."""
    pool, rest = regions.half(0), regions.half(1)
    plain = zero_shot(regions.classes, encoder.encode_text, regions.templates)
    means = []
    for count in REVIEWED:
        if count > len(pool.truths):
            break
        found = []
        for seed in range(SEEDS if count else 1):
            some = np.random.default_rng(seed).permutation(len(pool.truths))[:count]
            some_of = (pool.vectors[some], pool.truths[some], pool.pictures[some])
            scorer = choose_scorer(plain, *some_of, seed=seed).scorer
            answers = answer(rest.vectors, scorer, regions.classes)
            found.append(float((answers.classes == rest.truths).mean()))
        means.append(float(np.mean(found)))
    return {"reviewed": list(REVIEWED[: len(means)]), "accuracy": means}


def kept_curves(regions: Regions, encoder: Any, trained: int) -> dict[str, dict[str, list[float]]]:
    """For each kind of threshold and size of the sample: how often one was found, how often it kept
    what it says, and the mean share of regions that it labels."""
    mixed = np.random.default_rng(0).permutation(len(regions.truths))
    some, others = mixed[:trained], mixed[trained:]
    plain = zero_shot(regions.classes, encoder.encode_text, regions.templates)
    some_of = (regions.vectors[some], regions.truths[some], regions.pictures[some])
    answers = answer(
        regions.vectors[others], choose_scorer(plain, *some_of).scorer, regions.classes
    )
    right = answers.classes == regions.truths[others]
    curves: dict[str, dict[str, list[float]]] = {}
    for name, way in WAYS.items():
        points = [_kept(way, answers.scores, right, size) for size in SAMPLES]
        curves[name] = {key: [point[key] for point in points] for key in points[0]}
    return curves


def _kept(way: Threshold, scores: np.ndarray, right: np.ndarray, size: int) -> dict[str, float]:
    found, kept, labelled = 0, 0, []
    for seed in range(RUNS):
        drawn = np.random.default_rng(seed).permutation(len(scores))[:size]
        threshold = way(scores[drawn], right[drawn], scores)
        if threshold is None:
            labelled.append(0.0)
            continue
        passing = scores >= threshold
        found += 1
        kept += bool(right[passing].mean() >= PRECISION)
        labelled.append(float(passing.mean()))
    broken = (found - kept) / RUNS
    return {
        "reviewed": size,
        "found": found / RUNS,
        "kept": 1 - broken,
        "labelled": float(np.mean(labelled)),
    }


def _promised(scores: np.ndarray, right: np.ndarray, all_scores: np.ndarray) -> float | None:
    return fix_threshold(scores, right, PRECISION, CONFIDENCE, candidates=all_scores).threshold


def _plain(scores: np.ndarray, right: np.ndarray, all_scores: np.ndarray) -> float | None:
    """The lowest threshold at which the sample's own share is as asked."""
    order = np.argsort(-scores, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(shares >= PRECISION)
    return float(scores[order][good[-1]]) if len(good) else None


WAYS: Mapping[str, Threshold] = {
    "promise": _promised,
    "plain threshold": _plain,
}


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Draws the curves, a row for each set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(len(figures), 3, figsize=(14, 3.6 * len(figures)), squeeze=False)
    for (accuracy, kept, labelled), (name, found) in zip(rows, figures.items(), strict=True):
        for way, curve in found["accuracy"].items():
            accuracy.plot(curve["reviewed"], curve["accuracy"], marker="o", label=way)
        accuracy.set_xscale("symlog", linthresh=10)
        _name(accuracy, f"{name}: accuracy on other pictures", "regions reviewed for training")
        for way, curve in found["thresholds"].items():
            kept.plot(curve["reviewed"], curve["kept"], marker="o", label=way)
            labelled.plot(curve["reviewed"], curve["labelled"], marker="o", label=way)
        kept.axhline(CONFIDENCE, color="black", linestyle="dashed", linewidth=1)
        title = f"{name}: share of samples that kept a precision of {PRECISION}"
        _name(kept, title, "regions reviewed in the random sample")
        title = f"{name}: share of regions that were labelled"
        _name(labelled, title, "regions reviewed in the random sample")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _name(axis: Any, title: str, across: str) -> None:
    axis.set_title(title, fontsize="medium")
    axis.set_xlabel(across)
    axis.set_ylim(0, 1.02)
    axis.legend(loc="best")


def _regions(
    path: Path,
    encoder: Any,
    pictures: Callable[[], Iterator[Picture]],
    words: Mapping[str, str],
    way: str,
) -> Regions:
    """Encodes pictures, or takes what was encoded before."""
    if not path.exists():
        names: list[str] = []
        numbers: list[int] = []

        def items() -> Iterator[tuple[Any, list[Region]]]:
            for number, (image, regions, found) in enumerate(pictures()):
                names.extend(found)
                numbers.extend([number] * len(found))
                yield from _crops(image, regions) if way == "crops" else [(image, regions)]

        vectors = np.concatenate(list(encoder.encode_many(items())))
        np.savez(path, V=vectors, truth=np.array(names), picture=np.array(numbers))
    kept = np.load(path)
    known = sorted(set(kept["truth"].tolist()))
    classes = ClassSet([{"name": name, "prompts": [words.get(name, name)]} for name in known])
    truths = np.array([classes.number(name) for name in kept["truth"].tolist()])
    return Regions(kept["V"], truths, kept["picture"], classes, None if words else DRAWING)


def _crops(source: Any, regions: Sequence[Region]) -> Iterator[tuple[Any, list[Region]]]:
    """Each region's box as a picture of its own."""
    image = Image.open(source).convert("RGB")
    for region in regions:
        cut = image.crop(region.bounds(image.height, image.width))
        yield np.asarray(cut), [Region.whole_image()]


if __name__ == "__main__":
    main(sys.argv[1:])
