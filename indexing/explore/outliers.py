"""Regions that are like no other: their nearest neighbours are far.

Public: :func:`find_outliers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot

NEIGHBORS = 10
BATCH = 1024
"""Regions that are compared at a time: a matrix product over all, and a step of the progress."""


@checked(count=COUNT, neighbors=COUNT)
def find_outliers(
    index: SearchIndex,
    count: int = 50,
    neighbors: int = NEIGHBORS,
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> Hits:
    """Finds the regions that are least like their nearest neighbours.

    The score is the mean cosine to the nearest other regions: the k-nearest-neighbour outlier
    score of Angiulli and Pizzuti (PKDD 2002), as a likeness. Groups of up to ``neighbors`` regions
    that are like each other only are found as well. A mislabelled, badly drawn or simply rare
    region stands out so; which of these it is, a person has to see.

    Args:
        index: whose regions
        count (50): how many to find
        neighbors (10): nearest regions that each is compared with; fewer where there are fewer
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about

    Returns:
        the greatest outlier first; ``scores`` are mean cosines, in [-1, 1]

    Raises:
        AlphaClipError: if a number is below 1, or the index has fewer than two regions
    """
    now = index.snapshot()
    if len(now.version) < 2:
        raise AlphaClipError(
            f"index {index.key!r} holds {len(now.version)} region(s): an outlier needs others to "
            "be compared with"
        )
    with shown(progress) as show:
        scores = _mean_likeness(now, min(neighbors, len(now.version) - 1), show)
    order = np.argsort(scores, kind="stable")
    if skip_decided:
        order = order[~np.isin(order, decided_rows(index.dataset, "outliers", now.lookup))]
    first = order[:count]
    return index.hits(now, first, scores[first], scores[first])


def _mean_likeness(now: Snapshot, neighbors: int, show: Progress) -> np.ndarray:
    """The mean cosine of each region to its nearest others: float32 (n,)."""
    total = len(now.version)
    likeness = np.empty(total, np.float32)
    for start in range(0, total, BATCH):
        rows = np.arange(start, min(start + BATCH, total))
        scores, nearest = now.engine().search(now.vectors(rows), neighbors + 1)
        # Each line without the region itself, or without the last where it is not among them.
        itself = nearest == rows[:, None]
        itself[~itself.any(axis=1), -1] = True
        likeness[rows] = scores[~itself].reshape(len(rows), -1).mean(axis=1)
        show("regions compared", int(rows[-1]) + 1, total)
    return likeness
