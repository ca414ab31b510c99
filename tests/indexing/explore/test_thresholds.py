"""Where the scores of a query part."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.encoder.encoder import Encoder
from alphaclip.indexing import build
from alphaclip.indexing.dataset.samples import FOLDER, OBJECTS, load_sample
from alphaclip.indexing.explore.scores import Distribution
from alphaclip.indexing.explore.searches import Search
from alphaclip.indexing.explore.thresholds import Suggestion, suggest_threshold


def spread_of(*scores: np.ndarray) -> Distribution:
    return Distribution.of([np.concatenate(scores).astype(np.float32)])


def many(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.1, 0.05, count)


@pytest.mark.parametrize("total", [50, 1000, 100_000])
@pytest.mark.parametrize("count", [1, 5])
def test_suggest_threshold__few_above_many(total: int, count: int) -> None:
    suggestion = suggest_threshold(spread_of(many(total), np.linspace(0.6, 0.62, count)))
    assert suggestion.min_score is not None
    assert suggestion.count == count and many(total).max() < suggestion.min_score < 0.6
    verb = "stands out" if count == 1 else "stand out"
    assert suggestion.reason.startswith(f"{count} of {total + count:,} regions {verb}: ")


def test_suggest_threshold__a_group_with_some_between() -> None:
    """Many hits leave no empty gap."""
    group = np.random.default_rng(1).normal(0.6, 0.04, 2000)
    between = np.linspace(0.3, 0.5, 40)
    suggestion = suggest_threshold(spread_of(many(50_000), group, between))
    assert suggestion.min_score is not None
    assert 0.3 < suggestion.min_score < 0.5 and abs(suggestion.count - 2000) < 40


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.zeros(0), "too few"),
        (np.array([0.1, 0.9]), "too few"),
        (np.full(1000, 0.3), "hardly more"),
        (np.full(1000, 1.0), "hardly more"),
        (np.full(1000, -1.0), "hardly more"),
        (many(1000), "hardly more"),
        (many(100_000), "hardly more"),
        (np.linspace(-1, 1, 2001), "hardly more"),
        (np.concatenate([many(20), many(900) + 0.5]), "hardly more"),
        (np.concatenate([many(1000), np.linspace(0.2, 0.6, 100)]), "without a gap"),
    ],
)
def test_suggest_threshold__nothing_stands_out(scores: np.ndarray, reason: str) -> None:
    suggestion = suggest_threshold(spread_of(scores))
    assert suggestion == Suggestion(None, 0, suggestion.reason)
    assert suggestion.reason.startswith("nothing stands out: ") and reason in suggestion.reason


def test_suggest_threshold__of_the_bundled_scenes(encoder: Encoder) -> None:
    dataset = load_sample(FOLDER, "label-errors")
    index = build(dataset, OBJECTS, encoder, key="label_errors", overwrite=True)
    for word in ("banjo", "fox", "lobster"):
        hits, spread = Search(texts=(word,)).measure([index])
        suggestion = suggest_threshold(spread)
        above = Search(texts=(word,), min_score=suggestion.min_score).run([index])
        assert len(above) == suggestion.count > 2
        assert above.label_ids.tolist() == hits.label_ids[: suggestion.count].tolist()
        names = dict(zip(*labels_of(dataset), strict=True))
        assert [names[one] for one in above.label_ids] == [word] * len(above)
    for word in ("qwrtz", "democracy", "tax return"):
        assert suggest_threshold(Search(texts=(word,)).measure([index])[1]).min_score is None


def labels_of(dataset: fo.Dataset) -> tuple[list[str], list[str]]:
    paths = [f"{OBJECTS}.detections.{name}" for name in ("id", "label", "true_label")]
    ids, given, right = dataset.values(paths, unwind=True)
    return ids, [new or old for old, new in zip(given, right, strict=True)]
