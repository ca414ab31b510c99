"""Where hits end: how good the suggested threshold is, on the bundled scenes.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/thresholds.py

Nano searches the boxes and masks, and the polygons, by the name of every class that is there, by
words of classes that are not, and by words that mean nothing. Of a class, precision, recall and F1
at the suggested threshold stand beside the F1 at the best threshold that its labels allow; of the
others it counts how often nothing stands out. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from alphaclip import indexing
from alphaclip.indexing.dataset.samples import OBJECTS, OUTLINES, load_sample
from alphaclip.indexing.dataset.tuning_texts import WORDS
from alphaclip.indexing.explore.scores import Distribution
from alphaclip.indexing.explore.thresholds import suggest_threshold

NONSENSE = (
    "qwrtz", "xylograph", "blorf", "zzzz", "asdf qwer", "democracy", "entropy", "tax return",
    "invoice", "lasagne", "the letter Q", "a nuclear reactor", "a photo of the moon landing",
    "microscope slide", "cracked insulator", "person in a red jacket",
)  # fmt: skip
HEADS = ("regions", "classes", "nothing stands out", "precision", "recall", "F1", "best F1")
HEADS += ("absent words: nothing", "nonsense: nothing")


def main() -> None:
    """Measures both fields."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    dataset = load_sample(name="thresholds")
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


if __name__ == "__main__":
    main()
