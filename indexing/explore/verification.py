"""A second look at hits: a detector is asked for the words in the picture of each.

Public: :func:`verify` and :class:`Verified`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.dataset.overlaps import iou
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hit_listing import ListedHit, list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    from alphaclip.detectors.boxes import Grounder

LEAST_SCORE = 0.05
"""Of a box: the order is to follow the detector also where it is unsure."""


@dataclass(frozen=True, eq=False)
class Verified:
    """Hits in their new order.

    Attributes:
        hits: those that were looked at, by ``detected``, then the others as they were; their
            ``scores`` stay the cosines, ``rank_scores`` are those of the new order
        detected: float32 (k,), of each hit the score of the detector's surest box on it, 0 where it
            has none; NaN of those that were not looked at
        ranks: int64 (k,), the rank that each had before, 0 the best
        skipped: pictures that could not be read, and why; their hits are as if not looked at
    """

    hits: Hits
    detected: np.ndarray
    ranks: np.ndarray
    skipped: list[Skipped] = field(default_factory=list)

    def __str__(self) -> str:
        looked = int(np.isfinite(self.detected).sum())
        seen = int((self.detected[:looked] > 0).sum())
        up = int((self.ranks[:looked] > np.arange(looked)).sum())
        said = f"{looked} hits looked at: the words are seen in {seen}, {up} moved up"
        return f"{said}; pictures skipped: {len(self.skipped)}" if self.skipped else said


@checked(most=COUNT, least_overlap=SHARE)
def verify(
    hits: Hits,
    words: str,
    model: str | Path | Grounder = "auto",
    most: int = 100,
    least_overlap: float = 0.5,
    device: str | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Asks a zero-shot detector for words in the pictures of the best hits, and ranks by it.

    It takes one pass for each picture, far more than a search, and tells likenesses apart that a
    vector does not. It says nothing of the regions that the search did not find.

    Args:
        hits: of a search
        words: to look for, such as "a hard hat"; a detector knows things better than sentences
        model ("auto"): see :func:`alphaclip.indexing.word_detectors.open_detector`, or what
            has its method ``ground``
        most (100): hits to look at, the best
        least_overlap (0.5): IoU from which on a box is of the region, in [0, 1]
        device (None): a torch device; None takes a GPU if there is one
        progress (None): told how far it is; None shows a bar in the terminal

    Raises:
        AlphaClipError: if there are no words, or the model cannot be had
    """
    if not words.strip():
        raise AlphaClipError("words is empty: say what to look for, such as 'a hard hat'")
    detector = _detector(model, device) if isinstance(model, (str, Path)) else model
    first = hits.take(slice(most))
    by_picture: dict[str, list[ListedHit]] = {}
    for hit in list_hits(first):
        by_picture.setdefault(hit.image, []).append(hit)
    detected, skipped = np.full(len(hits), np.nan, np.float32), []
    with shown(progress) as show:
        for number, (path, listed) in enumerate(by_picture.items(), 1):
            try:
                (boxes,) = detector.ground(open_image(path), [words])
            except ImageError as error:
                skipped.append(Skipped(path, "", str(error)))
                continue
            seen = [(Region.from_box(box.box), box.score) for box in boxes]
            for hit in listed:
                scores = [score for box, score in seen if _is_on(box, hit, least_overlap)]
                detected[hit.rank - 1] = max(scores, default=0.0)
            show("pictures looked at", number, len(by_picture))
    # What was not looked at stays behind what was, as it was; what is not seen, too.
    order = np.lexsort((np.arange(len(hits)), -np.nan_to_num(detected, nan=-1.0)))
    ranked = replace(hits.take(order), rank_scores=-np.arange(len(hits), dtype=np.float32))
    return Verified(ranked, detected[order], order, skipped)


def _detector(name: str | Path, device: str | None) -> Grounder:
    from alphaclip.detectors.boxes import MOST_BOXES, GroundingSettings
    from alphaclip.indexing.word_detectors import open_detector

    return open_detector(name, device, GroundingSettings(LEAST_SCORE, MOST_BOXES))


def _is_on(box: Region, hit: ListedHit, least_overlap: float) -> bool:
    return hit.region is not None and iou(box, hit.region) >= least_overlap
