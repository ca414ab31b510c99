"""What waits for a person."""

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.queueing import ReviewQueue, review_queue
from alphaclip.indexing.labelling.review.runs import add_reviews, labelling_of
from alphaclip.indexing.region_index import RegionIndex

CLASSES = ("ant", "bee", "cat")
RUN: dict[str, Any] = {"precision": 0.8, "sample": 4, "progress": lambda *_: None}

PICTURES = [[(kind, x) for kind in range(3)] for x in (0.1, 0.2, 0.3, 0.4)]
"""Twelve regions."""


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    return make_dataset(PICTURES)


@pytest.fixture
def index(dataset: fo.Dataset, make_index: Callable) -> RegionIndex:
    return make_index(dataset)


@pytest.fixture
def sample(dataset: fo.Dataset, index: RegionIndex) -> list[str]:
    """Of a first run."""
    index.label(CLASSES, **RUN)
    kept = labelling_of(dataset, "auto")
    assert kept is not None
    return list(kept.draws[0]["label_ids"])


def split(queue: ReviewQueue) -> tuple[list[str], list[str]]:
    """Label ids of the sample, and of the others."""
    sample, others = (
        [one.label_id for one in queue.items if one.purpose == purpose]
        for purpose in ("promise", "training")
    )
    assert [one.label_id for one in queue.items] == [*sample, *others]
    return sample, others


def figures(queue: ReviewQueue) -> tuple[int, int, int, int]:
    return queue.sample, queue.reviewed, queue.waiting, queue.learnt


def test_review_queue__the_sample_then_the_others(dataset: fo.Dataset, sample: list[str]) -> None:
    queue, kept = review_queue(dataset, "auto"), labelling_of(dataset, "auto")
    assert kept is not None
    assert split(queue) == (sample, list(kept.queue))
    assert figures(queue) == (4, 0, 8, 0) and len(queue.items) == 12
    ids, truths = dataset.values(["boxes.detections.id", "boxes.detections.truth"], unwind=True)
    assert {one.label_id: one.answer for one in queue.items} == dict(zip(ids, truths, strict=True))


def test_review_queue__what_is_answered_or_skipped_is_left_out(
    dataset: fo.Dataset, sample: list[str]
) -> None:
    others = split(review_queue(dataset, "auto"))[1]
    add_reviews(dataset, "auto", {sample[1]: None, others[0]: "ant"}, [others[2]], reviewer="a")
    add_reviews(dataset, "auto", {}, [sample[0]], reviewer="b")
    queue = review_queue(dataset, "auto")
    assert split(queue) == (sample[2:], [others[1], *others[3:]])
    assert figures(queue) == (4, 2, 6, 1)


def test_review_queue__what_is_withdrawn_waits_again(
    dataset: fo.Dataset, sample: list[str]
) -> None:
    before = review_queue(dataset, "auto")
    some = [sample[0], before.items[-1].label_id]
    add_reviews(dataset, "auto", dict.fromkeys(some, "bee"), reviewer="a")
    assert figures(review_queue(dataset, "auto")) == (4, 1, 7, 1)
    add_reviews(dataset, "auto", {}, withdrawn=some, reviewer="a")
    assert review_queue(dataset, "auto") == before


def test_review_queue__nobody_is_asked_again_after_a_run(
    dataset: fo.Dataset, index: RegionIndex, sample: list[str]
) -> None:
    others = split(review_queue(dataset, "auto"))[1]
    add_reviews(dataset, "auto", {others[0]: "ant", others[1]: "bee"}, [others[2]], reviewer="a")
    add_reviews(dataset, "auto", {others[1]: "cat"}, reviewer="b")
    index.label(CLASSES, **RUN)
    queue = review_queue(dataset, "auto")
    assert {*split(queue)[0], *split(queue)[1]} == {*sample, *others[3:]}
    assert figures(queue) == (4, 0, 5, 1)


def test_review_queue__of_a_ranking_has_no_sample(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, progress=RUN["progress"])
    assert review_queue(dataset, "auto") == ReviewQueue((), 0, 0, 0, 0), "all has been written"


def test_review_queue__regions_that_are_gone_are_not_asked_about(
    dataset: fo.Dataset, index: RegionIndex, sample: list[str]
) -> None:
    dataset.delete_labels(ids=sample[:1])
    index.update(progress=RUN["progress"])
    index.label(CLASSES, **RUN)
    queue = review_queue(dataset, "auto")
    assert split(queue)[0] == sample[1:] and queue.sample == 3


def test_review_queue__in_place(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, "boxes.auto_label", **RUN)
    assert review_queue(dataset, "boxes.auto_label").sample == 4


def test_review_queue__before_any_run(dataset: fo.Dataset, sample: list[str]) -> None:
    with pytest.raises(AlphaClipError, match=r"no labels into 'other' yet.*so far: 'auto'"):
        review_queue(dataset, "other")
