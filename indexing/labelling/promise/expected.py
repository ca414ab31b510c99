"""Labels of which a stated share is right *on average*: conformal selection.

Public: :func:`expected_share`.

This is the second, weaker mode. Each candidate gets a conformal p-value for "its answer is wrong"
from the reviewed sample; Benjamini and Hochberg's procedure picks those that pass (Jin and Candes,
arXiv 2210.01408; for labels, arXiv 2510.14581). The share of wrong ones among the picked is then
at most ``1 - precision`` in expectation over samples and candidates. In a single run it may well
be larger, about every second time; :func:`promise.fix_threshold` is for a single run.
"""

from __future__ import annotations

import numpy as np

from alphaclip.indexing.labelling.promise.binomial import CONFIDENCE, check_share, clopper_pearson
from alphaclip.indexing.labelling.promise.promise import Promise, check_samples


def expected_share(
    scores: np.ndarray, correct: np.ndarray, precision: float, *, candidates: np.ndarray
) -> Promise:
    """Finds the lowest threshold at which the expected share of wrong ones is small enough.

    Args:
        scores: float (n,), of the reviewed random sample
        correct: bool (n,), whether each answer was right
        precision: share that is to be right on average, in (0, 1)
        candidates: float (m,), scores of all regions that the sample was drawn from, the sample
            included; a wrong one among them counts itself in its p-value, the safe side

    Returns:
        of the mode ``on average``, without a confidence

    Raises:
        AlphaClipError: if the share is not in (0, 1), sizes differ, or a score is not a number
    """
    check_share("precision", precision)
    scores, correct, candidates = check_samples(scores, correct, candidates)
    chances = _chances(scores[~correct], len(scores), candidates)
    picked = _benjamini_hochberg(chances, 1 - precision)
    threshold = float(candidates[picked].min()) if picked.any() else None
    limit = candidates.max() if threshold is None else threshold
    passed = scores >= limit
    right = int(correct[passed].sum())
    more = 0 if picked.any() else _missing(len(scores), precision)
    return Promise(
        mode="on average",
        precision=precision,
        confidence=None,
        threshold=threshold,
        reviewed=len(scores),
        passed=int(passed.sum()),
        right=right,
        interval=clopper_pearson(right, int(passed.sum()), CONFIDENCE),
        coverage=float(picked.mean()),
        more=more,
        reason=_reason(threshold, precision, more),
    )


def _chances(wrong: np.ndarray, reviewed: int, candidates: np.ndarray) -> np.ndarray:
    """The conformal p-values of wrong answers: float64 (m,), ties counted against passing."""
    below = np.searchsorted(np.sort(wrong), candidates, side="left")
    return np.asarray((1 + len(wrong) - below) / (reviewed + 1))


def _benjamini_hochberg(chances: np.ndarray, level: float) -> np.ndarray:
    """Which hypotheses are rejected: bool (m,); equal chances together."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(chances, method="bh") <= level)


def _missing(reviewed: int, precision: float) -> int:
    """Reviews without a wrong one that are missing for the smallest p-value to pass at all."""
    return max(1, int(np.ceil(1 / (1 - precision) - 1 - 1e-9)) - reviewed)


def _reason(threshold: float | None, precision: float, more: int) -> str:
    if threshold is not None:
        return (
            f"of the candidates that score at least {threshold:.4g}, a share of {precision:.4g} is "
            "right on average over many samples; in this one it may be fewer"
        )
    return (
        f"an expected precision of {precision:.4g} is not reachable: too many of the best scores "
        f"are wrong, or too few were reviewed; at least {more} more are needed"
    )
