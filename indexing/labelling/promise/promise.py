"""Thresholds with a promise: of what passes, a stated share is right, with a stated confidence.

Public: :func:`fix_threshold`, :func:`fix_thresholds` for each class, and :class:`Promise`.

The method is fixed-sequence testing, Learn then Test (Angelopoulos et al., arXiv 2110.01052). A
grid of thresholds is fixed from the scores of all candidates and the size of the sample, before
any answer is seen. From the strictest threshold down, each is tested with the exact binomial
tail: would so few wrong ones be seen if fewer than the asked share were right? The last threshold
before the first that fails is taken. The promise then fails with a probability of at most
``1 - confidence``, whatever the scores are worth; bad scores only make it unreachable.

The sample has to be drawn uniformly at random from all candidates. One drawn with unequal, known
probabilities is not supported: weighted estimates have no exact test. For the candidates
themselves nothing else is assumed, as the draw makes the chance; that their number is finite makes
the promise slightly safer than stated. For regions that come later it is assumed that they are
like the candidates; see :mod:`drift`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import (
    CONFIDENCE,
    check_share,
    clopper_pearson,
    needed,
    tail_probability,
)

Mode = Literal["promise", "on average"]

STEPS = 50
"""Thresholds in a grid; they cost nothing, as the sequence stops at the first that fails."""

ROOM = 2
"""Wrong answers that the strictest threshold is to survive, where the sample is large enough."""


@dataclass(frozen=True)
class Promise:
    """A threshold and what is promised of it.

    Attributes:
        mode: ``promise`` holds with the stated confidence, ``on average`` only on average over
            many samples
        precision: asked for, in (0, 1)
        confidence: that the precision is reached, in (0, 1); None in the mode ``on average``
        threshold: scores of at least this pass; None if the promise cannot be made
        reviewed: size of the random sample
        passed: how many of the sample pass; those of the strictest threshold if none is fixed
        right: how many of these are right
        interval: Clopper and Pearson's, of the precision, at ``confidence`` or 0.9; computed as if
            the threshold had been fixed before, so read it beside the promise, not instead of it
        coverage: share of all candidates that pass, in [0, 1]
        more: about how many random reviews, all right, are missing at the strictest threshold; 0 if
            the promise is made. They need a new sample, or a share of the confidence (``together``)
        reason: the outcome in words
    """

    mode: Mode
    precision: float
    confidence: float | None
    threshold: float | None
    reviewed: int
    passed: int
    right: int
    interval: tuple[float, float]
    coverage: float
    more: int
    reason: str

    @property
    def kept(self) -> bool:
        """Whether there is a threshold."""
        return self.threshold is not None

    @property
    def estimate(self) -> float | None:
        """Share of right ones among the reviewed that pass; None if none passes."""
        return self.right / self.passed if self.passed else None

    def passes(self, scores: np.ndarray) -> np.ndarray:
        """Which scores pass: bool (n,)."""
        if self.threshold is None:
            return np.zeros(len(scores), bool)
        return np.asarray(scores) >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with the estimate."""
        return asdict(self) | {"interval": list(self.interval), "estimate": self.estimate}


def fix_threshold(
    scores: np.ndarray,
    correct: np.ndarray,
    precision: float,
    confidence: float = CONFIDENCE,
    *,
    candidates: np.ndarray,
    together: int = 1,
) -> Promise:
    """Finds the lowest threshold of which the precision can be promised.

    Args:
        scores: float (n,), of the reviewed random sample
        correct: bool (n,), whether each answer was right; disputed and skipped ones are wrong
        precision: share that is to be right, in (0, 1)
        confidence: that it is reached, in (0, 1)
        candidates: float (m,), scores of all regions that the sample was drawn from
        together (1): promises that are to hold at once, or times that the growing sample is
            looked at: the risk is shared equally between them (Bonferroni)

    Returns:
        the promise, or why it cannot be made; never an error for a sample that is too small

    Raises:
        AlphaClipError: if a share is not in (0, 1), sizes differ, or a score is not a number
    """
    check_share("precision", precision)
    check_share("confidence", confidence)
    scores, correct, candidates = check_samples(scores, correct, candidates)
    if together < 1:
        raise AlphaClipError(f"together is {together}: expected a whole number of at least 1")
    risk = (1 - confidence) / together
    grid = threshold_grid(candidates, len(scores), precision, 1 - risk)
    passed = (scores[:, None] >= grid).sum(axis=0)
    right = (scores[correct][:, None] >= grid).sum(axis=0)
    tested = tail_probability(passed - right, passed, precision) <= risk
    steps = len(grid) if tested.all() else int(np.argmin(tested))
    at = max(steps - 1, 0)
    found = float(grid[at]) if steps else None
    coverage = float((candidates >= grid[at]).mean())
    seen = _Seen(len(scores), int(passed[at]), int(right[at]), coverage, len(candidates))
    return _promise(seen, found, precision, confidence, risk)


def fix_thresholds(
    scores: np.ndarray,
    correct: np.ndarray,
    answers: Sequence[str],
    precision: float,
    confidence: float = CONFIDENCE,
    *,
    candidates: np.ndarray,
    candidate_answers: Sequence[str],
    at_once: bool = False,
    together: int = 1,
) -> dict[str, Promise]:
    """Finds a threshold for each class; see :func:`fix_threshold`.

    Args:
        scores: float (n,), of the reviewed random sample; drawn from all candidates, or a part
            of it from those of each class
        correct: bool (n,)
        answers: n names, the class that each was taken for
        precision: of each class, in (0, 1)
        confidence: in (0, 1)
        candidates: float (m,)
        candidate_answers: m names
        at_once (False): each class has a promise of its own, so that of many classes some fail;
            True shares the risk, so that with ``confidence`` none fails
        together (1): see :func:`fix_threshold`

    Returns:
        a promise for each class that a candidate was taken for, by name
    """
    if len(answers) != len(scores) or len(candidate_answers) != len(candidates):
        raise AlphaClipError(
            f"{len(scores)} scores have {len(answers)} answers, {len(candidates)} candidates "
            f"{len(candidate_answers)}: expected one for each"
        )
    names = sorted(set(candidate_answers))
    shared = together * (len(names) if at_once else 1)
    mine, theirs = np.asarray(answers, object), np.asarray(candidate_answers, object)
    scores, correct, candidates = map(np.asarray, (scores, correct, candidates))
    return {
        name: fix_threshold(
            scores[mine == name],
            correct[mine == name],
            precision,
            confidence,
            candidates=candidates[theirs == name],
            together=shared,
        )
        for name in names
    }


def threshold_grid(
    candidates: np.ndarray, reviewed: int, precision: float, confidence: float
) -> np.ndarray:
    """The thresholds that are tested, known before any answer is.

    They are quantiles of the candidates' scores. At the strictest, as many reviewed regions are
    expected to pass as a test with ``ROOM`` wrong ones needs, or fewer if there are not so many.

    Returns:
        float64 (at most ``STEPS``,), from the strictest down, without repetitions
    """
    needs = [needed(wrong, precision, confidence) for wrong in range(ROOM + 1)]
    reviewed = max(reviewed, 1)
    least = max([n for n in needs if n <= reviewed], default=reviewed)
    shares = np.linspace(least / reviewed, 1, STEPS)
    levels = np.quantile(candidates, 1 - shares, method="lower")
    return np.asarray(np.unique(levels)[::-1], np.float64)


def check_samples(
    scores: np.ndarray, correct: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same as float64 (n,), bool (n,) and float64 (m,).

    Raises:
        AlphaClipError: if they do not belong together, or a score is not a number
    """
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
    return scores, correct, candidates


@dataclass(frozen=True)
class _Seen:
    """What there was at the threshold taken, or at the strictest."""

    reviewed: int
    passed: int
    right: int
    coverage: float
    candidates: int


def _promise(
    seen: _Seen, threshold: float | None, precision: float, confidence: float, risk: float
) -> Promise:
    if threshold is not None:
        more, reason = 0, _KEPT.format(threshold, precision, confidence)
    else:
        wrong = seen.passed - seen.right
        missing = max(needed(wrong, precision, 1 - risk) - seen.passed, 1)
        more = ceil(missing / seen.coverage)
        reason = _why_not(seen, wrong, more, precision, confidence)
    return Promise(
        mode="promise",
        precision=precision,
        confidence=confidence,
        threshold=threshold,
        reviewed=seen.reviewed,
        passed=seen.passed,
        right=seen.right,
        interval=clopper_pearson(seen.right, seen.passed, confidence),
        coverage=seen.coverage if threshold is not None else 0.0,
        more=more,
        reason=reason,
    )


_KEPT = (
    "of the candidates that score at least {:.4g}, a share of {:.4g} or more is right, with a "
    "confidence of {:.4g}"
)


def _why_not(seen: _Seen, wrong: int, more: int, precision: float, confidence: float) -> str:
    """Why no threshold could be fixed, and what would help."""
    found = (
        f"a precision of {precision:.4g} at a confidence of {confidence:.4g} is not reachable: of "
        f"{seen.passed} reviewed regions at the strictest threshold {wrong} are wrong"
    )
    if seen.reviewed + more > seen.candidates:
        return f"{found}; with {seen.candidates} candidates in all, review every one instead"
    return (
        f"{found}; a random sample larger by about {more} would do if no more were wrong, or ask "
        "for less"
    )
