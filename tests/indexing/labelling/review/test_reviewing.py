"""Samples, answers, and what they may be used for."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.queueing import most_informative
from alphaclip.indexing.labelling.review.runs import ReviewBook
from alphaclip.indexing.labelling.scoring.classes import DISPUTED, SKIPPED

IDS = [f"label {i:03}" for i in range(100)]


@pytest.fixture
def book() -> ReviewBook:
    """With a sample of three."""
    book = ReviewBook()
    book.draw(IDS, 3, seed=1)
    return book


def test_draw__is_the_same_for_a_seed_whatever_the_order() -> None:
    first, second, other = ReviewBook(), ReviewBook(), ReviewBook()
    assert first.draw(IDS, 10, seed=1) == second.draw(IDS[::-1], 10, seed=1)
    assert first.sample != other.draw(IDS, 10, seed=2).label_ids
    assert len(set(first.sample)) == 10 and first.draws[-1].candidates == 100


def test_draw__every_region_is_as_likely() -> None:
    counts = dict.fromkeys(IDS[:10], 0)
    for seed in range(1000):
        for label_id in ReviewBook().draw(IDS[:10], 3, seed=seed).label_ids:
            counts[label_id] += 1
    assert all(abs(count - 300) < 75 for count in counts.values()), "five standard deviations"


def test_draw__of_each_class_alike() -> None:
    classes = ["rare"] * 2 + ["usual"] * 98
    sample = ReviewBook().draw(IDS, 5, seed=0, classes=classes)
    assert sample.per_class and len(sample.label_ids) == 7
    assert set(IDS[:2]) <= set(sample.label_ids)


def test_draw__more_than_there_are_draws_all() -> None:
    assert sorted(ReviewBook().draw(IDS, 500, seed=0).label_ids) == IDS


def test_add__the_sample_is_used_for_nothing_else(book: ReviewBook) -> None:
    drawn = book.sample[0]
    other = next(label_id for label_id in IDS if label_id not in book.sample)
    with pytest.raises(AlphaClipError, match="used for nothing else"):
        book.add("training", {drawn: "cat"})
    with pytest.raises(AlphaClipError, match="only what was drawn"):
        book.add("promise", {other: "cat"})
    book.add("training", {other: "cat"})
    with pytest.raises(AlphaClipError, match="were reviewed for training"):
        book.draw(IDS, 3, seed=2)
    assert book.examples() == {other: "cat"}
    book.draw([label_id for label_id in IDS if label_id != other], 3, seed=2)
    with pytest.raises(AlphaClipError, match="used for nothing else"):
        book.add("training", {drawn: "cat"})


def test_add__refuses_all_if_one_is_wrong(book: ReviewBook) -> None:
    first, *_ = book.sample
    with pytest.raises(AlphaClipError):
        book.add("promise", {first: "cat", "unknown": "cat"})
    assert book.settled("promise") == {}


def test_settled__most_reviewers_decide(book: ReviewBook) -> None:
    first, second, third = book.sample
    book.add("promise", {first: "cat", second: "cat", third: SKIPPED}, "Ann")
    book.add("promise", {first: "dog", second: "cat", third: None}, "Ben")
    assert book.settled("promise") == {first: DISPUTED, second: "cat", third: None}
    book.add("promise", {first: "dog"}, "Cem")
    assert book.settled("promise")[first] == "dog"
    book.add("promise", {first: SKIPPED}, "Cem")
    assert book.settled("promise")[first] == DISPUTED


def test_examples__neither_skipped_nor_disputed() -> None:
    book = ReviewBook()
    book.add("training", {"a": "cat", "b": SKIPPED, "c": "cat", "d": None})
    book.add("training", {"c": "dog"}, "Ben")
    assert book.examples() == {"a": "cat", "d": None}


@pytest.mark.parametrize(
    ("label_ids", "count", "message"),
    [([], 1, "no candidate"), (["a"], 0, "count is 0"), (["a", "a"], 1, "given twice")],
)
def test_draw__refuses_bad_input(label_ids: list[str], count: int, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        ReviewBook().draw(label_ids, count, seed=0)


def test_most_informative__the_least_sure_first_but_not_twice_the_same() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [-1, 0]], np.float32)
    margins = np.array([0.1, 0.2, 0.3, 0.4, 9.0])
    # A copy of what was chosen is worth nothing; the sure one is far from it, but last in rank.
    assert most_informative(vectors, margins, 2).tolist() == [0, 2]
    assert sorted(most_informative(vectors, margins, 9).tolist()) == [0, 1, 2, 3, 4]


def test_most_informative__looks_at_a_pool_only() -> None:
    vectors = np.eye(30, dtype=np.float32)
    assert set(most_informative(vectors, np.arange(30.0), 2, pool=3).tolist()) <= set(range(6))


def test_most_informative__of_nothing_is_empty() -> None:
    assert most_informative(np.zeros((0, 2)), np.zeros(0), 5).tolist() == []
    with pytest.raises(AlphaClipError, match="expected the same"):
        most_informative(np.zeros((1, 2)), np.zeros(2), 5)
