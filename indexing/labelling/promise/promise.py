"""Thresholds with a promise: of what passes, a stated share is right, with a stated confidence.

Public: :func:`fix_threshold` and :class:`Promise`.

The method is fixed-sequence testing, Learn then Test (Angelopoulos et al., arXiv 2110.01052). A
grid of thresholds is fixed from the scores of all candidates and the size of the sample, before
any answer is seen. From the strictest threshold down, each is tested with the exact binomial
tail: would so few wrong ones be seen if fewer than the asked share were right? The last threshold
before the first that fails is taken. The promise then fails with a probability of at most
``1 - confidence``, whatever the scores are worth; bad scores only make it unreachable.

Whoever may test a new sample after each failure reaches any precision in the end, by luck. So the
tests of a run share the risk ``1 - confidence``: the first may spend half of it, each further one
half of what is left (:func:`share_of_risk`). As each sample is drawn at random from regions that
nobody was asked about, each test holds whatever the ones before have shown, and the sum of the
shares bounds the probability that any promise of the run fails. A fixed number of tests, each with
the same share, would make the first as dear as the last; and after the last there is none. Half the
risk makes a sample about a fifth larger.

The sample has to be drawn uniformly at random from all candidates. One drawn with unequal, known
probabilities is not supported: weighted estimates have no exact test. For the candidates
themselves nothing else is assumed, as the draw makes the chance; that their number is finite makes
the promise slightly safer than stated. For regions that come later it is assumed that they are
like the candidates; see :mod:`drift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import ceil
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import (
    CONFIDENCE,
    check_share,
    clopper_pearson,
    needed,
    tail_probability,
)

STEPS = 50
"""Thresholds in a grid; they cost nothing, as the sequence stops at the first that fails."""

ROOM = 2
"""Wrong answers that the strictest threshold is to survive, where the sample is large enough: one
unlucky answer among the surest must not end the sequence at its first step."""


def share_of_risk(test: int) -> float:
    """The share of the risk that a run's test may spend, the first being 1: their sum stays below
    1, however many there are."""
    return 0.5**test


@dataclass(frozen=True)
class Promise:
    """A threshold and what is promised of it.

    Attributes:
        precision: asked for, in (0, 1)
        confidence: that the precision is reached, in (0, 1)
        threshold: scores of at least this pass; None if the promise cannot be made
        reviewed: size of the random sample
        passed: how many of the sample pass; those of the strictest threshold if none is fixed
        right: how many of these are right
        interval: Clopper and Pearson's, of the precision, at ``confidence``; computed as if the
            threshold had been fixed before, so read it beside the promise, not instead of it
        coverage: share of all candidates that pass, in [0, 1]
        more: about how many random reviews, all right, are missing at the strictest threshold; 0 if
            the promise is made. They need a new sample
        reason: how it came out, in words
    """

    precision: float
    confidence: float
    threshold: float | None
    reviewed: int
    passed: int
    right: int
    interval: tuple[float, float]
    coverage: float
    more: int
    reason: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Promise:
        """A promise from its JSON values."""
        own = {one.name: values[one.name] for one in fields(cls)}
        return cls(**{**own, "interval": tuple(own["interval"])})

    @property
    def is_made(self) -> bool:
        """Whether there is a threshold."""
        return self.threshold is not None

    @property
    def estimate(self) -> float | None:
        """Share of right ones among the reviewed that pass; None if none passes."""
        return self.right / self.passed if self.passed else None

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with the estimate."""
        told = {"interval": list(self.interval), "estimate": self.estimate}
        # Earlier versions had a second mode, and readers of the JSON may look for it.
        return {"mode": "promise", **asdict(self), **told}


def fix_threshold(
    scores: np.ndarray,
    correct: np.ndarray,
    precision: float,
    confidence: float = CONFIDENCE,
    *,
    candidates: np.ndarray,
    share: float = 1.0,
) -> Promise:
    """Finds the lowest threshold of which the precision can be promised.

    Args:
        scores: float (n,), of the reviewed random sample
        correct: bool (n,), whether each answer was right; disputed and skipped ones are wrong
        precision: share that is to be right, in (0, 1)
        confidence: that it is reached, in (0, 1)
        candidates: float (m,), scores of all regions that the sample was drawn from
        share (1): of the risk, that this test may spend, where there are several; in (0, 1]

    Returns:
        the promise, or why it cannot be made; never an error for a sample that is too small

    Raises:
        AlphaClipError: if a share is not in (0, 1), sizes differ, or a score is not a number
    """
    check_share("precision", precision)
    check_share("confidence", confidence)
    scores, candidates = np.asarray(scores, np.float64), np.asarray(candidates, np.float64)
    correct = np.asarray(correct)
    if scores.ndim != 1 or correct.shape != scores.shape or candidates.ndim != 1:
        raise AlphaClipError(
            f"scores have the shape {scores.shape}, answers {correct.shape}, candidates "
            f"{candidates.shape}: expected (n,), (n,) and (m,)"
        )
    if correct.dtype != np.bool_:
        raise AlphaClipError(f"correct has the type {correct.dtype}: expected bool, True for right")
    if len(candidates) < max(1, len(scores)):
        raise AlphaClipError(
            f"{len(candidates)} candidates, {len(scores)} reviewed: the sample is drawn from the "
            "candidates, so there is at least one, and no fewer than reviewed"
        )
    if not (np.isfinite(scores).all() and np.isfinite(candidates).all()):
        raise AlphaClipError("a score is not a finite number: leave out regions without a vector")

    risk = share * (1 - confidence)
    grid = threshold_grid(candidates, len(scores), precision, 1 - risk)
    passed = (scores[:, None] >= grid).sum(axis=0)
    right = (scores[correct][:, None] >= grid).sum(axis=0)
    tested = tail_probability(passed - right, passed, precision) <= risk
    steps = len(grid) if tested.all() else int(np.argmin(tested))
    at = max(steps - 1, 0)
    seen, sure, coverage = int(passed[at]), int(right[at]), float((candidates >= grid[at]).mean())
    more, reason = 0, _MADE.format(float(grid[at]), precision, confidence)
    if not steps:
        missing = max(needed(seen - sure, precision, 1 - risk) - seen, 1)
        more = ceil(missing / coverage)
        few = f"with {len(candidates)} candidates in all, review every one instead"
        reason = _NOT_MADE.format(precision, confidence, seen, seen - sure) + (
            few if len(scores) + more > len(candidates) else _LARGER.format(more)
        )
    return Promise(
        precision=precision,
        confidence=confidence,
        threshold=float(grid[at]) if steps else None,
        reviewed=len(scores),
        passed=seen,
        right=sure,
        interval=clopper_pearson(sure, seen, confidence),
        coverage=coverage if steps else 0.0,
        more=more,
        reason=reason,
    )


_MADE = (
    "of the candidates that score at least {:.4g}, a share of {:.4g} or more is right, with a "
    "confidence of {:.4g}"
)
_NOT_MADE = (
    "a precision of {:.4g} at a confidence of {:.4g} is not reachable: of {} reviewed regions at "
    "the strictest threshold {} are wrong; "
)
_LARGER = "a random sample larger by about {} would do if no more were wrong, or ask for less"


def threshold_grid(
    candidates: np.ndarray, reviewed: int, precision: float, confidence: float
) -> np.ndarray:
    """The thresholds that are tested, known before any answer is.

    They are quantiles of the candidates' scores, from the strictest down, without repetitions. At
    the strictest, as many reviewed regions are expected to pass as a test with ``ROOM`` wrong ones
    needs, or fewer if there are not so many.
    """
    needs = [needed(wrong, precision, confidence) for wrong in range(ROOM + 1)]
    reviewed = max(reviewed, 1)
    least = max([n for n in needs if n <= reviewed], default=reviewed)
    shares = np.linspace(least / reviewed, 1, STEPS)
    levels = np.quantile(candidates, 1 - shares, method="lower")
    return np.asarray(np.unique(levels)[::-1], np.float64)
