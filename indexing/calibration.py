"""From scores to probabilities, by reviewed regions; and how well these agree with what is seen.

Public: :func:`calibrate`, :class:`Calibration`, :func:`reliability` and :class:`Reliability`.

Before any review, scores are a ranking. From ``LEAST`` reviewed regions on, of which some are
right and some wrong, a logistic curve of the score is fitted (Platt 1999, with his smoothed
targets); from ``MANY`` on, an isotonic regression, which bends with the data and needs more of it
(Niculescu-Mizil and Caruana, ICML 2005). A class with as many of its own gets a curve of its own;
the others share the common one. With fewer, or all alike, the smoothed share of right ones is the
probability of all.

Scores have to be of regions that the scorer was not trained on: the random sample's, or those of
:attr:`choosing.Choice.held_out`. Regions that were reviewed because they were unsure are not like
all; how far their curve can be trusted shows the diagram over the random sample.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError

Method = Literal["ranking", "share", "platt", "isotonic"]

LEAST = 30
"""Reviews from which on a curve is fitted: two parameters need more than a handful."""

MANY = 1000
"""Reviews from which on an isotonic regression is better than Platt's curve, in that study."""

CONFIDENCE = 0.9
"""Of the intervals of the reliability diagram."""

BINS, LEAST_IN_BIN = 10, 10
"""Of the reliability diagram: with fewer regions in a bin its share says next to nothing."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """How a score becomes a probability of being right.

    Attributes:
        common: the curve of classes that have none of their own
        by_class: number of a class to its own curve
    """

    common: Curve
    by_class: dict[int, Curve]

    @property
    def is_ranking(self) -> bool:
        """Whether nothing was reviewed, so that there are no probabilities."""
        return self.common.method == "ranking"

    def probabilities(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The probability that each answer is right: float32 (n,), in [0, 1].

        Args:
            scores: float (n,), as in :class:`scoring.Answers`
            classes: int (n,), the same

        Raises:
            AlphaClipError: if nothing was reviewed
        """
        if self.is_ranking:
            raise AlphaClipError(
                "scores are a ranking before any review, not probabilities: review some regions"
            )
        chances = self.common.at(scores)
        for number, curve in self.by_class.items():
            chances[classes == number] = curve.at(scores[classes == number])
        return chances


@dataclass(frozen=True, eq=False)
class Curve:
    """A rising curve of log odds over scores, float64 (k,) each, constant beyond the ends."""

    method: Method
    scores: np.ndarray
    log_odds: np.ndarray

    def at(self, scores: np.ndarray) -> np.ndarray:
        """The probabilities at some scores: float32 (n,)."""
        from scipy.special import expit

        return np.asarray(expit(np.interp(scores, self.scores, self.log_odds)), np.float32)


def calibrate(scores: np.ndarray, correct: np.ndarray, classes: np.ndarray) -> Calibration:
    """Learns what share of answers is right at a score.

    Args:
        scores: float (n,), as in :class:`scoring.Answers`; n may be 0
        correct: bool (n,), whether the reviewed answer was right
        classes: int (n,), of the answers
    """
    scores, correct, classes = np.asarray(scores, float), np.asarray(correct), np.asarray(classes)
    if not (scores.shape == correct.shape == classes.shape) or scores.ndim != 1:
        raise AlphaClipError(
            f"scores {scores.shape}, correct {correct.shape} and classes {classes.shape}: expected "
            "the same number of each"
        )
    own = {}
    for number in np.unique(classes):
        curve = _curve(scores[classes == number], correct[classes == number].astype(bool))
        if curve.method in ("platt", "isotonic"):
            own[int(number)] = curve
    return Calibration(_curve(scores, correct.astype(bool)), own)


@dataclass(frozen=True)
class Bin:
    """Reviewed regions of like probability: their mean, the share that is right, with Clopper and
    Pearson's interval at ``CONFIDENCE``, and how many they are."""

    predicted: float
    right: float
    interval: tuple[float, float]
    count: int


@dataclass(frozen=True)
class Reliability:
    """How well probabilities agree with what was seen.

    Attributes:
        bins: at most ``BINS`` of equal count, by rising probability
        error: expected calibration error (ECE): the mean over regions of the gap between
            ``predicted`` and ``right`` of their bin; few regions make it larger than it is
        count: of reviewed regions
    """

    bins: tuple[Bin, ...]
    error: float
    count: int

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return {
            "expected_calibration_error": self.error,
            "binning": f"{len(self.bins)} bins of equal count",
            "count": self.count,
            "bins": [asdict(one) | {"interval": list(one.interval)} for one in self.bins],
        }


def reliability(probabilities: np.ndarray, correct: np.ndarray) -> Reliability | None:
    """The reliability diagram and the expected calibration error, in bins of equal count.

    Both are (n,), of regions that the calibration has not seen; of nothing it is None.
    """
    if len(probabilities) != len(correct):
        raise AlphaClipError(f"{len(probabilities)} probabilities, {len(correct)} answers")
    if not len(correct):
        return None
    from scipy.stats import binomtest

    probabilities, correct = np.asarray(probabilities, float), np.asarray(correct, bool)
    bins = []
    for part in _bins(probabilities):
        right, count = int(correct[part].sum()), len(part)
        exact = binomtest(right, count).proportion_ci(CONFIDENCE, "exact")
        interval = (float(exact.low), float(exact.high))
        bins.append(Bin(float(probabilities[part].mean()), right / count, interval, count))
    return Reliability(tuple(bins), expected_error(probabilities, correct), len(correct))


def expected_error(probabilities: np.ndarray, correct: np.ndarray) -> float:
    """The expected calibration error alone, see :class:`Reliability`; of at least one region."""
    gaps = probabilities - correct
    return sum(abs(float(gaps[part].sum())) for part in _bins(probabilities)) / len(gaps)


def _bins(probabilities: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(probabilities, kind="stable")
    return np.array_split(order, min(BINS, max(1, len(order) // LEAST_IN_BIN)))


def _curve(scores: np.ndarray, correct: np.ndarray) -> Curve:
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right + wrong:
        return Curve("ranking", np.zeros(1), np.zeros(1))
    if right + wrong < LEAST or not right or not wrong or np.ptp(scores) == 0:
        return Curve("share", np.zeros(1), np.log([(right + 1) / (wrong + 1)]))
    return _isotonic(scores, correct) if right + wrong >= MANY else _platt(scores, correct)


def _platt(scores: np.ndarray, correct: np.ndarray) -> Curve:
    """A logistic curve; a falling one is flattened, as a surer answer is not to seem worse.

    Platt's targets lie between the classes, which a classifier takes as each region twice, once
    right and once wrong, with the target as a weight; C of 1e6 is as good as no penalty."""
    from sklearn.linear_model import LogisticRegression

    right, wrong = correct.sum(), (~correct).sum()
    target = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))
    middle, spread = scores.mean(), scores.std()
    both = np.tile((scores - middle) / spread, 2)[:, None]
    is_right = np.repeat([True, False], len(scores))
    fit = LogisticRegression(C=1e6).fit(both, is_right, np.concatenate([target, 1 - target]))
    slope, start = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:
        return Curve("share", np.zeros(1), np.log([(right + 1) / (wrong + 1)]))
    knots = np.array([-1e3, 1e3])  # standard deviations: far beyond any score
    return Curve("platt", middle + spread * knots, start + slope * knots)


def _isotonic(scores: np.ndarray, correct: np.ndarray) -> Curve:
    """Steps that rise with the score; none is closer to 0 or 1 than the sample can show."""
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(out_of_bounds="clip").fit(scores, correct.astype(float))
    knots, values = fit.X_thresholds_, fit.y_thresholds_
    least = 1 / (len(scores) + 2)
    shares = np.clip(values, least, 1 - least)
    return Curve("isotonic", knots, np.log(shares / (1 - shares)))
