"""From scores of answers to probabilities, by what people said of some regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import DamagedError
from alphaclip.indexing.calibration import CONFIDENCE, calibrate, expected_error
from alphaclip.indexing.dataset.attributes import values_of
from alphaclip.indexing.dataset.labels import split_attribute
from alphaclip.indexing.store.segments import RowIds

if TYPE_CHECKING:
    import fiftyone as fo

LEAST = 50
"""Reviews: with fewer, the error of what was fitted says next to nothing."""

_FOLDS, _DRAWS = 5, 500


@dataclass(frozen=True)
class AnswerCalibration:
    """How scores become probabilities, and how far to trust these.

    Attributes:
        knots, log_odds: of two choices, the rising curve of the first one's log odds over how much
            likelier it is; empty for more
        temperature: of more choices, what log-likelihoods are divided by; 1 for two
        reviews: how many regions it was fitted on
        error: expected calibration error of the answers that are given, each by a fit that has not
            seen it
        interval: of the error, at a confidence of 0.9
    """

    knots: Sequence[float]
    log_odds: Sequence[float]
    temperature: float
    reviews: int
    error: float
    interval: Sequence[float]

    def probabilities(self, gains: np.ndarray) -> np.ndarray:
        """Of each choice, from how much likelier a region makes it: float64 (n, c) both."""
        from scipy.special import expit, softmax

        if not len(self.knots):
            return np.asarray(softmax(gains / self.temperature, axis=1))
        first = expit(np.interp(gains[:, 0] - gains[:, 1], self.knots, self.log_odds))
        return np.stack([first, 1 - first], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnswerCalibration:
        """From its JSON values.

        Raises:
            DamagedError: if they are not those of a calibration
        """
        try:
            made = cls(**values)
            made.probabilities(np.zeros((1, 2)))
            float(made.error), int(made.reviews), [float(one) for one in made.interval]
        except (TypeError, ValueError) as error:
            raise DamagedError("a calibration is damaged: give the reviews again") from error
        return made

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"probabilities from {self.reviews} reviews, calibration error {self.error:.3f} "
            f"({low:.3f} to {high:.3f} with a confidence of {CONFIDENCE:g})"
        )


def read_reviews(
    dataset: fo.Dataset, field: str, reviews: str, choices: Sequence[str], ids: RowIds
) -> np.ndarray:
    """What people said of each region of an index: the number of a choice, -1 for nothing.

    Args:
        dataset: of the index
        field: of the index
        reviews: ``field.attribute`` that holds a choice; or, for two, True for the first and False
            for the second
        choices: of the question
        ids: of the regions

    Raises:
        AlphaClipError: if it is no attribute of the field, or there are too few
    """
    its_field, attribute = split_attribute(reviews)
    if its_field != field or not attribute:
        raise AlphaClipError(
            f"reviews is {reviews!r:.120}: expected an attribute of the index's own field, as "
            f"'{field}.checked'"
        )
    numbers = {choice: number for number, choice in enumerate(choices)}
    # True == 1, which no text is
    meant: dict[Any, int] = {**numbers, **({True: 0, False: 1} if len(choices) == 2 else {})}
    values = values_of(dataset, field, attribute, ids)
    truths = np.array(
        [meant.get(value, -1) if isinstance(value, str | bool) else -1 for value in values], int
    )
    counts = np.bincount(truths[truths >= 0], minlength=len(choices))
    if counts.sum() < LEAST or np.count_nonzero(counts) < 2:
        stated = ", ".join(f"{n} {choice!r}" for choice, n in zip(choices, counts, strict=True))
        raise AlphaClipError(
            f"{counts.sum()} regions are reviewed in {reviews!r} ({stated}): probabilities need at "
            f"least {LEAST} reviews, with two different answers among them"
        )
    return truths


def fit(gains: np.ndarray, truths: np.ndarray) -> AnswerCalibration:
    """Fits the probabilities of answers to reviews.

    Args:
        gains: float64 (n, c), log-likelihoods of the choices less their priors
        truths: int (n,), the number of the right choice

    Raises:
        AlphaClipError: if too many of the reviewed regions have no answer
    """
    from sklearn.model_selection import KFold

    if len(truths) < LEAST or len(set(truths.tolist())) < 2:
        raise AlphaClipError(
            f"{len(truths)} of the reviewed regions have an answer of the model: probabilities "
            f"need at least {LEAST}, with two different reviews among them"
        )
    sure, right = np.zeros(len(truths)), np.zeros(len(truths), bool)
    for seen, unseen in KFold(_FOLDS, shuffle=True, random_state=0).split(gains):
        chances = _fitted(gains[seen], truths[seen]).probabilities(gains[unseen])
        sure[unseen], right[unseen] = chances.max(axis=1), chances.argmax(axis=1) == truths[unseen]
    fitted = _fitted(gains, truths)
    curve = (fitted.knots, fitted.log_odds, fitted.temperature)
    error, interval = _measured(sure, right)
    return AnswerCalibration(*curve, len(truths), error, interval)


def _measured(sure: np.ndarray, right: np.ndarray) -> tuple[float, list[float]]:
    """The expected calibration error and its interval, at a confidence of ``CONFIDENCE``.

    Few regions make the error larger than it is. What drawing them again adds is taken off the
    upper bound; what perfect probabilities would have is taken off the lower one. On drawn answers
    it holds the true error in 93 % of cases or more, from 60 reviews on.
    """
    rng, error, count = np.random.default_rng(0), expected_error(sure, right), len(sure)
    # One after the other: a million reviews may be an attribute of labels that people have checked
    drawn = (rng.integers(count, size=count) for _ in range(_DRAWS))
    again = [expected_error(sure[rows], right[rows]) for rows in drawn]
    perfect = [expected_error(sure, rng.random(count) < sure) for _ in range(_DRAWS)]
    spread = np.quantile(again, (1 + CONFIDENCE) / 2) - np.mean(again)
    low, high = error - np.mean(perfect) - spread, error + spread
    return error, [max(float(low), 0.0), min(float(high), 1.0)]


def _fitted(gains: np.ndarray, truths: np.ndarray) -> AnswerCalibration:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    unmeasured = (len(truths), float("nan"), [0.0, 1.0])
    if gains.shape[1] == 2:
        curve = calibrate(gains[:, 0] - gains[:, 1], truths == 0, np.zeros(len(truths), int)).common
        return AnswerCalibration(curve.scores.tolist(), curve.log_odds.tolist(), 1.0, *unmeasured)

    def loss(log_temperature: float) -> float:
        told = log_softmax(gains / np.exp(log_temperature), axis=1)
        return -float(told[np.arange(len(truths)), truths].mean())

    found = minimize_scalar(loss, bounds=(-5, 7), method="bounded")
    return AnswerCalibration([], [], float(np.exp(found.x)), *unmeasured)
