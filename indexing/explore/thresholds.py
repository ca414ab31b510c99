"""Where the good hits of a query end: the widest gap in its best scores, if one is wide enough.

Public: :func:`suggest_threshold` and :class:`Suggestion`.

Most regions are not what is asked for. Their scores lie round the median, about as widely spread
above it as below, where no hits are. What stands out scores more than the best of so many would by
chance, and is parted from the rest by a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from alphaclip.indexing.explore.scores import CELLS, Distribution

LEAST = 10
"""Of fewer regions nothing is said."""

MARGIN = 1.25
"""Deviations by which the best score is to exceed what the best of so many reaches by chance.
Chosen with those below on boxes and masks of the bundled scenes, ``benchmarks/thresholds.py``."""

GAP = 0.75
"""Deviations that the gap is wide at least."""

STRAYS, SPARSE = 0.1, 0.7
"""Of many hits so large a share, and as many others, may lie in the gap, but at most this much as
densely as the hits above it."""

LEAST_DEVIATION = 0.005
"""Where most regions are the same, their scores do not differ at all."""


@dataclass(frozen=True)
class Suggestion:
    """Where a query's hits end.

    Attributes:
        min_score: the lowest score of what stands out, to be searched with; None if nothing does
        count: how many regions stand out
        reason: why, in a sentence
    """

    min_score: float | None
    count: int
    reason: str


def suggest_threshold(spread: Distribution) -> Suggestion:
    """Suggests a threshold where the scores of a query part.

    It finds few that differ from many: where most regions match, nothing stands out.

    Args:
        spread: of all regions, as :meth:`Search.measure` gives it
    """
    total = len(spread)
    if total < LEAST:
        return _nothing(f"of {total} regions nothing can be said, there are too few to compare")
    used = np.flatnonzero(spread.cells)[::-1]
    scores, above = (used + 0.5) / (CELLS / 2) - 1, np.cumsum(spread.cells[used])

    def at(ranks: np.ndarray | float) -> np.ndarray:
        return scores[np.minimum(np.searchsorted(above, ranks), len(scores) - 1)]

    median = float(at(0.5 * total))
    deviation = max(median - float(at(0.8413 * total)), LEAST_DEVIATION)
    chance = median + deviation * sqrt(2 * log(total))
    if scores[0] < chance + MARGIN * deviation:
        return _nothing(
            f"the best of {total:,} regions scores hardly more than the best of so many would by "
            "chance"
        )
    cuts = above[scores >= chance - deviation]
    strays = np.floor(STRAYS * cuts).astype(np.int64)
    tops, bottoms = at(cuts - strays), at(cuts + strays + 1)
    widths = tops - bottoms
    # Where many fall evenly, as many scores are as wide apart in the group itself.
    is_dense = 2 * strays * (scores[0] - tops) > SPARSE * (cuts - strays) * widths
    widest = int(np.argmax(np.where(is_dense, 0, widths)))
    top, bottom = float(tops[widest]), float(bottoms[widest])
    if is_dense[widest] or top - bottom < GAP * deviation:
        return _nothing("the scores fall evenly from the best to the many, without a gap")
    min_score = round((top + bottom) / 2, 4)
    count = spread.above(min_score)
    return Suggestion(
        min_score,
        count,
        f"{count:,} of {total:,} regions stand{'s' * (count == 1)} out: hardly any "
        f"scores between {bottom:.2f}, where the others end, and {top:.2f}",
    )


def _nothing(why: str) -> Suggestion:
    return Suggestion(None, 0, f"nothing stands out: {why}")
