"""A second look at hits: a detector is asked for the words in the picture of each, or a language
model a question about each.

Public: :func:`verify` and :class:`Verified`; the first is also :meth:`Hits.verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.dataset.overlaps import iou
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.asking import ask_hits
from alphaclip.indexing.retrieval.hit_listing import ListedHit, list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.language.describer import Describer
from alphaclip.language.loading import open_describer
from alphaclip.language.questions import Question
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    from alphaclip.detectors.boxes import Grounder

LEAST_SCORE = 0.05
"""Of a box: the order is to follow the detector also where it is unsure."""

_QUESTION_MARKS = ("?", "\uff1f", "\u061f")

FIRST = 10
"""Hits that a person sees at once: the report says how many of them are others now."""


@dataclass(frozen=True, eq=False)
class Verified:
    """Hits in their new order.

    Attributes:
        hits: those that were looked at, by ``detected``, then the others as they were; their
            ``scores`` stay the cosines, ``rank_scores`` are those of the new order
        detected: float32 (k,), of each hit the score of the detector's surest box on it, 0 where it
            has none; of a question the score of the first choice, in [0, 1]; NaN of those that were
            not looked at
        ranks: int64 (k,), the rank that each had before, 0 the best
        skipped: pictures that could not be read, regions that could not be asked about, and why;
            their hits are as if not looked at
        question: that was asked, as it was; None of a detector
    """

    hits: Hits
    detected: np.ndarray
    ranks: np.ndarray
    skipped: list[Skipped] = field(default_factory=list)
    question: Question | None = None

    def __str__(self) -> str:
        looked = int(np.isfinite(self.detected).sum())
        new = self.ranks[:looked]
        up, first = int((new > np.arange(looked)).sum()), min(FIRST, looked)
        if self.question is None:
            told = f"the words are seen in {int((self.detected[:looked] > 0).sum())}"
        else:
            likely = int((self.detected[:looked] > 1 / 2).sum())
            told = f"of {likely} {self.question.choices[0]!r} is likelier than all else"
        said = f"{looked} hits looked at: {told}, {up} moved up"
        if up:
            said += f", {int((new[:first] >= first).sum())} of the first {first} are new there"
        what = "pictures" if self.question is None else "regions"
        return f"{said}; {what} skipped: {len(self.skipped)}" if self.skipped else said


@checked(most=COUNT, least_overlap=SHARE)
def verify(
    hits: Hits,
    words: str = "{query}",
    model: str | Path | Grounder | Describer = "auto",
    most: int = 100,
    least_overlap: float = 0.5,
    device: str | None = None,
    progress: Progress | None = None,
    choices: Sequence[str] = ("yes", "no"),
) -> Verified:
    """Looks at the best hits again, and ranks by what it sees.

    A zero-shot detector looks for words in their pictures. Where the words end with a question
    mark, or the model is a describer, a language model is asked about each region, and the hits are
    ranked by the score of the first choice, which is no probability. Either takes far more than a
    search, and tells likenesses apart that a vector does not. It says nothing of the regions that
    the search did not find.

    Args:
        hits: of a search
        words ("{query}"): to look for, such as "a hard hat"; a detector knows things better than
            sentences. Or a question, such as "is this a {query}?". In braces is what was searched
            for, and in a question attributes of each label
        model ("auto"): see :func:`alphaclip.indexing.word_detectors.open_detector`, or what has its
            method ``ground``; for a question see :func:`alphaclip.language.load`, or what that
            gives
        most (100): hits to look at, the best
        least_overlap (0.5): IoU from which on a detector's box is of the region, in [0, 1]
        device (None): a torch device; None takes a GPU if there is one
        progress (None): told how far it is; None shows a bar in the terminal
        choices (("yes", "no")): what may be answered to a question; the first is to rank high

    Raises:
        AlphaClipError: if there are no words, or the model cannot be had
    """
    text = _with_query(words, hits)
    first, question = hits.take(slice(most)), None
    with shown(progress) as show:
        is_asked = isinstance(model, str | Path) and text.endswith(_QUESTION_MARKS)
        if isinstance(model, Describer) or is_asked:
            question = Question(text, choices)  # type: ignore[arg-type]
            describer = open_describer(cast("str | Path | Describer", model), device)
            asked = ask_hits(first, describer, question, show)
            seen, skipped = _share_of_first(asked.evidence), asked.skipped
        else:
            detector = _detector(model, device) if isinstance(model, str | Path) else model
            seen, skipped = _look(first, text, detector, least_overlap, show)
    detected = np.full(len(hits), np.nan, np.float32)
    detected[: len(first)] = seen
    # What was not looked at stays behind what was, as it was; what is not seen, too.
    order = np.lexsort((np.arange(len(hits)), -np.nan_to_num(detected, nan=-1.0)))
    ranked = replace(hits.take(order), rank_scores=-np.arange(len(hits), dtype=np.float32))
    return Verified(ranked, detected[order], order, skipped, question)


Hits.verify = verify


def _with_query(words: str, hits: Hits) -> str:
    if not words.strip():
        raise AlphaClipError("words is empty: say what to look for, such as 'a hard hat'")
    if "{query}" in words and not hits.query:
        raise AlphaClipError(
            f"words is {words!r:.80}, and the hits are of no search for words: say what to look "
            "for, such as 'a hard hat'"
        )
    return words.strip().replace("{query}", hits.query)


def _share_of_first(evidence: np.ndarray) -> np.ndarray:
    """The first choice's share of the softmax of each row: float32 (n,)."""
    from scipy.special import softmax

    return np.asarray(softmax(evidence, axis=1)[:, 0], np.float32)


def _look(
    hits: Hits, words: str, detector: Grounder, least_overlap: float, show: Progress
) -> tuple[np.ndarray, list[Skipped]]:
    """The score of the surest box on each hit, float32 (n,), and the pictures that give none."""
    detected = np.full(len(hits), np.nan, np.float32)
    skipped: list[Skipped] = []
    by_picture: dict[str, list[ListedHit]] = {}
    for hit in list_hits(hits):
        by_picture.setdefault(hit.image, []).append(hit)
    for number, (path, listed) in enumerate(by_picture.items(), 1):
        try:
            (boxes,) = detector.ground(open_image(path), [words])
            seen = [(Region.from_box(box.box), box.score) for box in boxes]
        except (ImageError, RegionError) as error:  # a detector may be the user's own
            skipped.append(Skipped(path, "", str(error)))
            continue
        for hit in listed:
            scores = [score for box, score in seen if _is_on(box, hit, least_overlap)]
            detected[hit.rank - 1] = max(scores, default=0.0)
        show("pictures looked at", number, len(by_picture))
    return detected, skipped


def _detector(name: str | Path, device: str | None) -> Grounder:
    from alphaclip.detectors.boxes import MOST_BOXES, GroundingSettings
    from alphaclip.indexing.word_detectors import open_detector

    return open_detector(name, device, GroundingSettings(LEAST_SCORE, MOST_BOXES))


def _is_on(box: Region, hit: ListedHit, least_overlap: float) -> bool:
    return hit.region is not None and iou(box, hit.region) >= least_overlap
