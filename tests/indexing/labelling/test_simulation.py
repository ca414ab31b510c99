"""The promise is kept, and recall is where it is said to be, over many samples of labelled data.

``--log-cli-level INFO`` shows the figures.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.promise.recall import Recall
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scoring import answer, zero_shot

SPLITS = 200
LEVEL = 0.01
CONFIDENCE = 0.9
LOGGER = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, whether right, and truths of 4,000 regions of six overlapping classes."""
    rng = np.random.default_rng(7)
    centres = np.linalg.qr(rng.normal(size=(16, 6)))[0].T
    truths = rng.choice(6, 4000, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    vectors = centres[truths] + rng.normal(scale=0.45, size=(4000, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = ClassSet([f"class {i}" for i in range(6)])
    found = answer(vectors, zero_shot(classes, lambda texts, _: centres[: len(texts)]), classes)
    return found.scores.astype(float), found.classes == truths, truths


def kept_in(data: tuple[np.ndarray, ...], reviewed: int, precision: float) -> Iterator[bool]:
    """For each split, whether the share of right ones is what was asked."""
    scores, correct, _ = data
    for seed in range(SPLITS):
        sample = np.random.default_rng(seed).choice(len(scores), reviewed, replace=False)
        promise = fix_threshold(scores[sample], correct[sample], precision, candidates=scores)
        yield not promise.is_made or correct[scores >= promise.threshold].mean() >= precision


def chance_of(kept: int, total: int = SPLITS) -> float:
    """The one-sided p-value of so few, if the promise held in just the stated share."""
    from scipy.stats import binomtest

    return float(binomtest(kept, total, CONFIDENCE, alternative="less").pvalue)


@pytest.mark.parametrize("precision", [0.85, 0.9, 0.95])
@pytest.mark.parametrize("reviewed", [150, 400])
def test_fix_threshold__keeps_its_promise(
    labelled: tuple[np.ndarray, ...], reviewed: int, precision: float
) -> None:
    assert labelled[1].mean() < precision, "without a threshold the promise would be broken"
    kept = sum(kept_in(labelled, reviewed, precision))
    LOGGER.info("precision %g, %d reviewed: kept in %d of %d", precision, reviewed, kept, SPLITS)
    assert chance_of(kept) >= LEVEL


def test_fix_threshold__is_of_use(labelled: tuple[np.ndarray, ...]) -> None:
    scores, correct, _ = labelled
    coverage = []
    for seed in range(50):
        sample = np.random.default_rng(seed).choice(len(scores), 400, replace=False)
        promise = fix_threshold(scores[sample], correct[sample], 0.9, candidates=scores)
        coverage.append(promise.coverage)
    order = np.argsort(-scores)
    shares = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    best = (np.nonzero(shares >= 0.9)[0].max() + 1) / len(order)
    LOGGER.info("coverage %.3f, at most %.3f", np.mean(coverage), best)
    assert np.mean(coverage) > 0.6 * best


def test_fix_threshold__keeps_its_promise_for_scores_of_no_worth(
    labelled: tuple[np.ndarray, ...],
) -> None:
    correct = labelled[1]
    noise = np.random.default_rng(1).normal(size=len(correct))
    kept = sum(kept_in((noise, correct, correct), 400, correct.mean() + 0.01))
    assert chance_of(kept) >= LEVEL


@pytest.mark.parametrize("reviewed", [150, 400])
@pytest.mark.parametrize("precision", [0.8, 0.9])
def test_recall__is_within_its_interval(
    labelled: tuple[np.ndarray, ...], reviewed: int, precision: float
) -> None:
    """Over all classes and of each; the last is none of the classes that are labelled."""
    scores, correct, truths = labelled
    groups = [truths < 5, *(truths == number for number in range(5))]
    right = correct & (truths < 5)
    covered = np.zeros(len(groups), int)
    for seed in range(SPLITS):
        sample = np.random.default_rng(seed).choice(len(scores), reviewed, replace=False)
        promise = fix_threshold(scores[sample], right[sample], precision, candidates=scores)
        passes = right & promise.is_made & (scores >= (promise.threshold or 0))
        for number, group in enumerate(groups):
            recall = Recall.of(passes[sample[group[sample]]], CONFIDENCE)
            low, high = recall.interval if recall and promise.is_made else (0, 1)
            covered[number] += low <= passes[group].mean() <= high
    LOGGER.info("precision %g, %d reviewed: covered in %s", precision, reviewed, covered)
    assert min(map(chance_of, covered.tolist())) >= LEVEL


@pytest.mark.slow
def test_fix_threshold__keeps_its_promise_on_the_sample_dataset() -> None:
    from alphaclip.indexing.dataset.samples import FOLDER

    scores, correct = sample_scores(FOLDER)
    for precision in (0.8, 0.9, 0.95):
        for reviewed in (150, 300, 600):
            kept = sum(kept_in((scores, correct, correct), reviewed, precision))
            LOGGER.info("precision %g, %d reviewed: kept in %d", precision, reviewed, kept)
            assert chance_of(kept) >= LEVEL


def sample_scores(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Zero-shot answers of alphaclip-nano for the boxes of the bundled scenes."""
    import alphaclip
    from alphaclip.encoder.prompts import DRAWING

    encoder = alphaclip.load("alphaclip-nano")
    scenes = json.loads((folder / "scenes.json").read_bytes())["scenes"]
    boxed = [[row for row in scene["regions"] if "box" in row] for scene in scenes]
    items = [
        (folder / scene["image"], [alphaclip.Region.from_box(row["box"]) for row in rows])
        for scene, rows in zip(scenes, boxed, strict=True)
        if rows
    ]
    vectors = np.concatenate(list(encoder.encode_many(items)))
    names = [row.get("true_label", row["label"]) for rows in boxed for row in rows]
    classes = ClassSet(sorted(set(names)))
    scorer = zero_shot(classes, encoder.encode_text, DRAWING)
    found = answer(vectors, scorer, classes)
    truths = np.array([classes.number(name) for name in names])
    return found.scores.astype(float), found.classes == truths
