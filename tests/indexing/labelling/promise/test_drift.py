"""Whether new regions are like the reviewed ones."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.drift import Regions, find_drift


def regions(count: int, seed: int, shift: float = 0.0, better: float = 0.0) -> Regions:
    """Random directions, of which the first axis is favoured by ``shift``."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 8))
    vectors[:, 0] += shift
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Regions(vectors, rng.normal(size=count) + better)


def test_find_drift__nothing_changed_is_rarely_an_alarm() -> None:
    alarms = [find_drift(regions(80, s), regions(80, s + 1000), 0.05, s).moved for s in range(200)]
    # With a probability of 0.05 each, 20 or more of 200 have one of 0.002.
    assert sum(alarms) < 20


def test_find_drift__other_vectors_are_seen() -> None:
    drift = find_drift(regions(200, 0), regions(200, 1, shift=1.5))
    assert drift.moved and drift.vector_chance < 0.005 and drift.separation > 0.7
    assert "review a new sample" in drift.reason


def test_find_drift__other_scores_are_seen() -> None:
    drift = find_drift(regions(200, 0), regions(200, 1, better=1.0))
    assert drift.moved and drift.score_chance < 0.005


def test_find_drift__regions_of_one_picture_count_once() -> None:
    one = regions(100, 0)
    copies = Regions(np.tile(one.vectors[:5], (20, 1)), np.tile(one.scores[:5], 20))
    assert find_drift(regions(300, 2), copies).moved, "100 copies of five look like another world"
    named = Regions(copies.vectors, copies.scores, [f"picture {i % 5}" for i in range(100)])
    drift = find_drift(regions(300, 2), named)
    assert drift.moved is None and drift.counts == (300, 5) and "too few" in drift.reason


def test_find_drift__too_few_are_not_judged() -> None:
    drift = find_drift(regions(100, 0), regions(0, 1))
    assert drift.moved is None and drift.score_chance is None
    assert drift.to_dict()["counts"] == [100, 0]


def test_find_drift__refuses_bad_input() -> None:
    with pytest.raises(AlphaClipError, match="level is 0"):
        find_drift(regions(30, 0), regions(30, 1), level=0)
    wrong = Regions(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(AlphaClipError, match="3 vectors, 2 scores"):
        find_drift(wrong, regions(30, 1))
