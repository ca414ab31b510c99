"""Exact statements about a share, from counts of right and wrong in a random sample."""

from __future__ import annotations

import numpy as np

from alphaclip.errors import AlphaClipError

CONFIDENCE = 0.9
"""What is usual: one promise in ten may fail. 0.95 needs about a third more reviews."""


def needed(wrong: int, precision: float, confidence: float) -> int:
    """Reviewed regions, ``wrong`` of them wrong, that are just enough for the promise."""
    from scipy.stats import nbinom

    return int(nbinom.ppf(confidence, wrong + 1, 1 - precision)) + wrong + 1


def tail_probability(wrong: np.ndarray, passed: np.ndarray, precision: float) -> np.ndarray:
    """How likely so few wrong ones are, if just the asked share is right: float64, exact."""
    from scipy.stats import binom

    return np.asarray(binom.cdf(wrong, passed, 1 - precision))


def clopper_pearson(right: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact two-sided interval of a share (Clopper and Pearson, Biometrika 1934); (0, 1) of
    nothing."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, right, total - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, total - right)) if right < total else 1.0
    return low, high


def check_share(name: str, value: float | None) -> None:
    """Refuses what is not strictly between 0 and 1, and says why 1 is not possible.

    Raises:
        AlphaClipError: naming the value
    """
    if value == 1 and not isinstance(value, bool):
        raise AlphaClipError(
            f"{name} is 1: a random sample can never show that nothing is wrong, so 100 % cannot "
            "be tested; ask for less, such as 0.99, or review every region"
        )
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None or not is_number or not 0 < value < 1:
        raise AlphaClipError(f"{name} is {value!r}: expected a share between 0 and 1, such as 0.95")
