"""How many there are in all, by the counts of a random sample of pictures.

Public: :func:`estimate_total` and :class:`Total`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from alphaclip.indexing.labelling.promise.binomial import CONFIDENCE


@dataclass(frozen=True)
class Total:
    """An estimate.

    Attributes:
        counted: in the sample
        pictures: of the sample
        population: pictures that it was drawn from
        estimate: in all
        interval: two-sided, at the confidence that was asked for
    """

    counted: int
    pictures: int
    population: int
    estimate: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self) | {"interval": list(self.interval)}


def estimate_total(
    counts: np.ndarray, population: int, confidence: float = CONFIDENCE
) -> Total | None:
    """Estimates a total from the counts of some pictures, drawn at random without replacement.

    The interval is that of Garwood (Biometrika 1936) for a Poisson count, which is exact where
    things lie anywhere; where they lie in heaps, it is widened by the counts' variance over their
    mean, as in quasi-Poisson regression. What the sample itself has shown is certain, so it
    narrows as the sample grows. Heaps in so few pictures that none of them was drawn are not seen
    by any method.

    Args:
        counts: int (n,), of each picture of the sample
        population: pictures in all, at least n
        confidence (0.9): in (0, 1)

    Returns:
        None of no picture
    """
    from scipy.stats import chi2

    pictures, counted = len(counts), int(np.sum(counts))
    if not pictures:
        return None
    heaps = 1.0
    if counted and pictures > 1:
        heaps = max(1.0, float(np.var(counts, ddof=1)) / (counted / pictures))
    units, tail = counted / heaps, (1 - confidence) / 2
    low = heaps * float(chi2.ppf(tail, 2 * units)) / 2 if counted else 0.0
    high = heaps * float(chi2.ppf(1 - tail, 2 * units + 2)) / 2
    each, undrawn = population / pictures, sqrt(1 - pictures / population)
    least = counted - undrawn * (counted - low)
    most = counted + undrawn * (high - counted)
    interval = (max(each * least, float(counted)), each * most)
    return Total(counted, pictures, population, each * counted, interval)
