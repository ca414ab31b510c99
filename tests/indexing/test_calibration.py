"""Probabilities from reviewed regions."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.calibration import calibrate, reliability


def drawn(count: int, seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and answers that are right with the probability 1 / (1 + exp(-scale * score))."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=2, size=count)
    return scores, rng.uniform(size=count) < 1 / (1 + np.exp(-scale * scores))


def test_calibrate__before_any_review_is_a_ranking() -> None:
    ranking = calibrate(np.zeros(0), np.zeros(0, bool), np.zeros(0, int))
    assert ranking.is_ranking and ranking.common.method == "ranking"
    with pytest.raises(AlphaClipError, match="not probabilities"):
        ranking.probabilities(np.zeros(1), np.zeros(1, int))


def test_calibrate__few_reviews_give_the_smoothed_share() -> None:
    found = calibrate(np.arange(8.0), np.array([True] * 6 + [False] * 2), np.zeros(8, int))
    assert found.common.method == "share"
    assert found.probabilities(np.array([-9.0, 9.0]), np.zeros(2, int)) == pytest.approx([0.7] * 2)


def test_calibrate__all_right_is_never_certain() -> None:
    found = calibrate(np.arange(98.0), np.ones(98, bool), np.zeros(98, int))
    assert found.probabilities(np.zeros(1), np.zeros(1, int)) == pytest.approx([0.99])


@pytest.mark.parametrize(("count", "method"), [(500, "platt"), (4000, "isotonic")])
def test_calibrate__finds_the_probabilities_that_answers_were_drawn_with(
    count: int, method: str
) -> None:
    scores, correct = drawn(count, scale=0.5)
    found = calibrate(scores, correct, np.zeros(count, int))
    assert found.common.method == method
    at = np.array([-3.0, 0, 3.0])
    truth = 1 / (1 + np.exp(-0.5 * at))
    assert found.probabilities(at, np.zeros(3, int)) == pytest.approx(truth, abs=0.1)
    others, right = drawn(4000, seed=1, scale=0.5)
    told = found.probabilities(others, np.zeros(4000, int))
    assert reliability(told, right).error < 0.04
    assert reliability(1 / (1 + np.exp(-2 * others)), right).error > 0.1, "not calibrated"


def test_calibrate__a_class_with_enough_reviews_has_its_own_curve() -> None:
    scores = np.tile(np.linspace(-3, 3, 200), 2)
    correct = np.concatenate([scores[:200] > 0, scores[200:] > 2])
    places = np.repeat([0, 1], 200)
    found = calibrate(np.append(scores, 0), np.append(correct, True), np.append(places, 2))
    assert sorted(found.by_class) == [0, 1]
    own = found.probabilities(np.array([1.0, 1.0, 1.0]), np.array([0, 1, 2]))
    assert own[0] > 0.9 and own[1] < 0.1 and own[1] < own[2] < own[0]


def test_calibrate__scores_of_no_worth_give_the_share() -> None:
    correct = np.arange(200) % 4 != 0
    falling = np.where(correct, 0.0, 1.0)
    found = calibrate(falling, correct, np.zeros(200, int))
    assert found.common.method == "share", "a surer answer is not to seem worse"


def test_calibrate__refuses_other_sizes() -> None:
    with pytest.raises(AlphaClipError, match="the same number"):
        calibrate(np.zeros(3), np.zeros(2, bool), np.zeros(3, int))


def test_reliability__of_two_bins_by_hand() -> None:
    chances = np.repeat([0.2, 0.9], 10)
    correct = np.array([True] * 4 + [False] * 6 + [True] * 9 + [False])
    found = reliability(chances, correct)
    assert [(one.predicted, one.right, one.count) for one in found.bins] == [
        (pytest.approx(0.2), 0.4, 10),
        (pytest.approx(0.9), 0.9, 10),
    ]
    assert found.error == pytest.approx(0.1), "half the regions are off by 0.2"
    assert found.bins[0].interval[0] < 0.4 < found.bins[0].interval[1]
    assert found.to_dict()["binning"] == "2 bins of equal count"


def test_reliability__of_nothing_is_none() -> None:
    assert reliability(np.zeros(0), np.zeros(0, bool)) is None
    assert len(reliability(np.array([0.5]), np.array([True])).bins) == 1
