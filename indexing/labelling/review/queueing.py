"""What waits for a person: the promise's sample, then the regions that are worth most.

Public: :func:`review_queue`, :class:`ReviewQueue` and :class:`ReviewItem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.reviewing import Purpose, ReviewBook
from alphaclip.indexing.labelling.review.runs import (
    Labelling,
    book_of,
    labelled_fields,
    labelling_of,
)

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class ReviewItem:
    """A region that waits.

    Attributes:
        label_id: of the region
        answer: what the last run took it for; None is "none of these"
        purpose: what a person's answer to it serves
    """

    label_id: str
    answer: str | None
    purpose: Purpose


@dataclass(frozen=True)
class ReviewQueue:
    """What waits, and how much is done.

    Attributes:
        items: the sample's regions without an answer in their order, then the queue's
        sample: regions in the promise's sample that are in the index; 0 if none was drawn
        reviewed: of the sample, answered or skipped by anybody
        waiting: regions that wait beside the sample, in the queue and beyond it
        learnt: answers so far that may be trained on
    """

    items: tuple[ReviewItem, ...]
    sample: int
    reviewed: int
    waiting: int
    learnt: int


def review_queue(dataset: fo.Dataset, into: str) -> ReviewQueue:
    """What waits for a person since the last run; what anybody answered or skipped is left out.

    Args:
        dataset: whose regions
        into: what they are labelled into

    Raises:
        AlphaClipError: if nothing was labelled into it yet; says what was
    """
    labelling = labelling_of(dataset, into)
    if labelling is None:
        known = ", ".join(map(repr, labelled_fields(dataset))) or "nothing"
        raise AlphaClipError(
            f"dataset {dataset.name!r} has no labels into {into!r:.80} yet: label its regions "
            f"first; labelled so far: {known}"
        )
    return _queue(labelling, book_of(dataset, labelling))


def _queue(labelling: Labelling, book: ReviewBook) -> ReviewQueue:
    drawn = book.sample.label_ids if book.draws else ()
    # What a run had no answer for is no longer in the index.
    sample = [label_id for label_id in drawn if label_id in labelling.answers]
    open_sample = _without(sample, book, "promise")
    open_queue = _without(labelling.queue, book, "training")
    return ReviewQueue(
        items=(
            *_items(labelling, open_sample, "promise"),
            *_items(labelling, open_queue, "training"),
        ),
        sample=len(sample),
        reviewed=len(sample) - len(open_sample),
        waiting=labelling.waiting - (len(labelling.queue) - len(open_queue)),
        learnt=len(book.examples()),
    )


def _without(
    label_ids: list[str] | tuple[str, ...], book: ReviewBook, purpose: Purpose
) -> list[str]:
    """Those that nobody answered or skipped."""
    settled = book.settled(purpose)
    return [label_id for label_id in label_ids if label_id not in settled]


def _items(labelling: Labelling, label_ids: list[str], purpose: Purpose) -> list[ReviewItem]:
    return [ReviewItem(one, labelling.answers[one], purpose) for one in label_ids]
