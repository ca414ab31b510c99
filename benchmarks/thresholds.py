"""Where hits end: how good the suggested threshold is, on the bundled scenes.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/thresholds.py

Nano searches the boxes and masks, and the polygons, by the name of every class that is there, by
words of classes that are not, and by words that mean nothing. Of a class, precision, recall and F1
at the suggested threshold stand beside the F1 at the best threshold that its labels allow; of the
others it counts how often nothing stands out. Prints a table in Markdown.

With ``--captions`` it tells what captions add instead. Each box gets a true one: its name, whether
it lies on the left, in the middle or on the right, and on which side of it the nearest other thing
is. Up to 300 queries of each kind, drawn at random, are searched by vectors, by both, and by
captions alone; recall counts the right ones among the first ten, of those that there are, ten at
most.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from measuring import aligned

from alphaclip import indexing
from alphaclip.indexing.dataset.samples import OBJECTS, OUTLINES, load_sample
from alphaclip.indexing.dataset.tuning_texts import WORDS
from alphaclip.indexing.explore.scores import Distribution
from alphaclip.indexing.explore.thresholds import suggest_threshold
from alphaclip.training.datasets.words import article

if TYPE_CHECKING:
    import fiftyone as fo

NONSENSE = (
    "qwrtz", "xylograph", "blorf", "zzzz", "asdf qwer", "democracy", "entropy", "tax return",
    "invoice", "lasagne", "the letter Q", "a nuclear reactor", "a photo of the moon landing",
    "microscope slide", "cracked insulator", "person in a red jacket",
)  # fmt: skip
HEADS = ("regions", "classes", "nothing stands out", "precision", "recall", "F1", "best F1")
HEADS += ("absent words: nothing", "nonsense: nothing")


QUERIES, FIRST, SEED = 300, 10, 0
CAPTION_HEADS = ("queries", "such as", "number", "vectors", "both", "captions alone")

Box = Sequence[float]


def main() -> None:
    """Measures both fields."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--captions", action="store_true", help="what captions add to a search")
    dataset = load_sample(name="thresholds")
    if parser.parse_args().captions:
        _tell_captions(dataset)
        return
    sys.stdout.write(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}\n")
    for field in (OBJECTS, OUTLINES):
        index = indexing.build(dataset, field, "alphaclip-nano", key=field, overwrite=True)
        sys.stdout.write(f"| {' | '.join(row_of(index, field))} |\n")


def row_of(index: indexing.RegionIndex, field: str) -> Sequence[str]:
    """A line of the table."""
    path = f"{field}.{'detections' if field == OBJECTS else 'polylines'}"
    columns = index.dataset.values(
        [f"{path}.id", f"{path}.label", f"{path}.true_label"], unwind=True
    )
    names = {label_id: right or given for label_id, given, right in zip(*columns, strict=True)}
    own = np.array([names[label_id] for label_id in index.snapshot().label_ids])
    vectors = index.vectors(np.arange(len(index)))
    classes = sorted(set(own.tolist()))
    absent = [word for word in WORDS if not any(word in one or one in word for one in classes)]
    scores = [vectors @ index.encoder.encode_text([text])[0] for text in classes]
    told = np.array([measured(s, own == name) for s, name in zip(scores, classes, strict=True)])
    precision, recall, f1, best = told[~np.isnan(told[:, 0])].mean(axis=0)
    figures = [f"{value:.2f}" for value in (precision, recall, f1, best)]
    quiet = [how_often_nothing(index, vectors, texts) for texts in (absent, NONSENSE)]
    nothing = f"{int(np.isnan(told[:, 0]).sum())}"
    return [f"{len(index)} in {field}", f"{len(classes)}", nothing, *figures, *quiet]


def measured(scores: np.ndarray, is_right: np.ndarray) -> tuple[float, float, float, float]:
    """Precision, recall and F1 at the suggested threshold, NaN without one, and the best F1."""
    right = np.cumsum(is_right[np.argsort(-scores, kind="stable")])
    taken = np.arange(1, len(scores) + 1)
    best = float((2 * right / (taken + is_right.sum())).max())
    suggestion = suggest_threshold(Distribution.of([scores]))
    if suggestion.min_score is None:
        return np.nan, np.nan, np.nan, best
    above = scores >= suggestion.min_score
    hits = int((above & is_right).sum())
    f1 = 2 * hits / (above.sum() + is_right.sum())
    return hits / above.sum(), hits / is_right.sum(), float(f1), best


def how_often_nothing(
    index: indexing.RegionIndex, vectors: np.ndarray, texts: Sequence[str]
) -> str:
    """Of how many texts nothing stands out."""
    spreads = [Distribution.of([vectors @ index.encoder.encode_text([text])[0]]) for text in texts]
    quiet = sum(suggest_threshold(spread).min_score is None for spread in spreads)
    return f"{quiet} of {len(texts)}"


def _tell_captions(dataset: fo.Dataset) -> None:
    asked = write_captions(dataset)
    index = indexing.build(dataset, OBJECTS, "alphaclip-nano", key=OBJECTS, overwrite=True)
    rng = np.random.default_rng(SEED)
    lines = [CAPTION_HEADS]
    for kind, right in asked.items():
        texts = sorted(right)
        texts = [texts[at] for at in rng.permutation(len(texts))[:QUERIES].tolist()]
        found = np.mean([recalls(index, text, right[text]) for text in texts], axis=0)
        lines.append((kind, texts[0], str(len(texts)), *(f"{share:.3f}" for share in found)))
    sys.stdout.write(aligned(lines) + "\n")


def write_captions(dataset: fo.Dataset) -> dict[str, dict[str, set[str]]]:
    """Writes a caption of each box; gives queries by their kind, and the ids of what is right."""
    asked: dict[str, dict[str, set[str]]] = {
        kind: defaultdict(set) for kind in ("a name", "a place", "a name and place", "a relation")
    }
    for sample in dataset:
        things = [
            (one, getattr(one, "true_label", None) or one.label, one.bounding_box)
            for one in sample[OBJECTS].detections
        ]
        for thing, name, box in things:
            place = _place(box)
            thing["caption"] = f"{article(name)} {place}"
            keys = [article(name), place, f"{article(name)} {place}"]
            others = [other for other in things if other[0] is not thing]
            if others:
                _, beside, its = min(
                    others, key=lambda other: math.dist(_middle(box), _middle(other[2]))
                )
                keys.append(f"{article(name)} {_side(box, its)} {article(beside)}")
                thing["caption"] += f", {_side(box, its)} {article(beside)}"
            for right, key in zip(asked.values(), keys, strict=False):
                right[key].add(thing.id)
        sample.save()
    return asked


def recalls(index: indexing.RegionIndex, text: str, right: set[str]) -> list[float]:
    """The shares of what is right that are found: by vectors, by both, by captions alone."""
    both = index.search(text, k=None, captions=True)
    ranks = both.ranks[:, 1]
    alone = both.take(np.argsort(np.where(ranks > 0, ranks, len(ranks) + 1), kind="stable"))
    ways = (index.search(text, k=FIRST), both, alone)
    most = min(len(right), FIRST)
    return [len(right & {*hits.label_ids[:FIRST].tolist()}) / most for hits in ways]


def _middle(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _place(box: Box) -> str:
    x, _ = _middle(box)
    return "on the left" if x < 0.38 else "on the right" if x > 0.62 else "in the middle"


def _side(box: Box, other: Box) -> str:
    """On which side of another box one lies."""
    (x, y), (its_x, its_y) = _middle(box), _middle(other)
    if abs(its_x - x) > abs(its_y - y):
        return "left of" if its_x > x else "right of"
    return "above" if its_y > y else "below"


if __name__ == "__main__":
    main()
