"""What waits for a person: the promise's sample, then the regions that are worth most.

Public: :func:`review_queue`, :class:`ReviewQueue`, :class:`ReviewItem`, :func:`queue_of` and
:func:`most_informative`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.runs import (
    Purpose,
    ReviewBook,
    book_of,
    labelled_fields,
    labelling_of,
)

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.labelling.scoring.scored import Scored

QUEUE = 500
"""Regions that are put in order for review; more wait behind them. A person does some hundreds
between two runs, and the order is worked out one by one."""

POOL = 10
"""Times ``QUEUE`` the least sure regions are compared with each other."""


@dataclass(frozen=True)
class ReviewItem:
    """A region that waits, what the last run took it for, None for "none of these", and what a
    person's answer to it serves."""

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


@checked()
def review_queue(dataset: fo.Dataset, into: str) -> ReviewQueue:
    """What waits for a person since the last run; what anybody answered or skipped is left out.

    Raises:
        AlphaClipError: if nothing was labelled into it yet; says what was
    """
    state = labelling_of(dataset, into)
    if state is None:
        fields = ", ".join(map(repr, labelled_fields(dataset))) or "nothing"
        raise AlphaClipError(
            f"dataset {dataset.name!r} has no labels into {into!r:.80} yet: label its regions "
            f"first; labelled so far: {fields}"
        )
    book = book_of(dataset, state)
    # What a run had no answer for is no longer in the index.
    sample = [label_id for label_id in book.sample if label_id in state.answers]
    label_ids: dict[Purpose, list[str]] = {"promise": sample, "training": list(state.queue)}
    items: dict[Purpose, list[ReviewItem]] = {}
    for purpose, some in label_ids.items():
        settled = book.settled(purpose)
        open_ = (label_id for label_id in some if label_id not in settled)
        items[purpose] = [ReviewItem(one, state.answers[one], purpose) for one in open_]
    return ReviewQueue(
        items=(*items["promise"], *items["training"]),
        sample=len(sample),
        reviewed=len(sample) - len(items["promise"]),
        waiting=state.waiting - (len(state.queue) - len(items["training"])),
        learnt=len(book.examples()),
    )


def queue_of(scored: Scored, book: ReviewBook, waits: np.ndarray) -> tuple[list[str], int]:
    """Label ids of what waits after a run, the most informative first, and how many wait in all:
    of the regions without a label or an answer, bool (n,), those that nobody looked at."""
    # Whoever skipped a region is not asked again, nor who disagreed: a queue of them never ends.
    left_out = scored.rows([*book.sample, *book.settled("training")])
    waits = waits.copy()
    waits[left_out[left_out >= 0]] = False
    rest = np.flatnonzero(waits)
    pool = rest[np.argsort(scored.answers.margins[rest], kind="stable")[: QUEUE * POOL]]
    if not len(pool):
        return [], 0
    order = most_informative(scored.vectors(pool), scored.answers.margins[pool], QUEUE)
    return scored.label_ids(pool[order]), len(rest)


def most_informative(
    vectors: np.ndarray, margins: np.ndarray, count: int, pool: int = POOL
) -> np.ndarray:
    """Which regions to review next, int64 (at most count,): unsure ones that are not all alike.

    Of ``pool`` times as many with the smallest margins each is the one with the largest product of
    how unsure it is, by its rank, and its cosine distance to those before.
    """
    if len(vectors) != len(margins):
        raise AlphaClipError(f"{len(vectors)} vectors, {len(margins)} margins: expected the same")
    if count < 1:
        raise AlphaClipError(f"count is {count}: expected a whole number of at least 1")
    unsure = np.argsort(margins, kind="stable")[: count * pool]
    some = np.asarray(vectors[unsure], np.float32)
    worth = 1 - np.arange(len(unsure)) / max(len(unsure), 1)
    distance = np.full(len(unsure), 2.0, np.float32)  # no two unit vectors are farther apart
    order: list[int] = []
    for _ in range(min(count, len(unsure))):
        worths = worth * distance
        worths[order] = -1
        order.append(int(worths.argmax()))
        distance = np.minimum(distance, 1 - some @ some[order[-1]])
    return np.asarray(unsure[order], np.int64)
