"""Logits of classes, and the answer for each region."""

import tracemalloc

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scoring import (
    MOST_SURE,
    Answers,
    Scorer,
    answer,
    answer_logits,
    zero_shot,
)

WORDS = {
    "cat": [1, 0, 0],
    "kitten": [0, 1, 0],
    "dog": [0, 0, 1],
    "toy cat": [0.6, 0.8, 0],
}


def encode(texts: list[str], templates: list[str] | None) -> np.ndarray:
    return np.array([WORDS.get(text, [0, 0, 1]) for text in texts], np.float32).reshape(-1, 3)


def hierarchy(logits: list[float]) -> Answers:
    """The answer where one region has these logits of animal, bird, sparrow, finch and none."""
    classes = ClassSet(
        [
            "animal",
            {"name": "bird", "parent": "animal"},
            {"name": "sparrow", "parent": "bird"},
            {"name": "finch", "parent": "bird"},
        ]
    )
    scorer = Scorer(np.eye(5, dtype=np.float32), np.zeros(5, np.float32), 4)
    return answer(np.array([logits], np.float32), scorer, classes)


def test_answer_logits__a_class_that_cannot_be_told_is_never_the_answer() -> None:
    logits = np.array([[-np.inf, 1, 3], [-np.inf, 2, -np.inf]], np.float32)
    found = answer_logits(logits, ClassSet(["cat", "dog", {"name": "pup", "parent": "dog"}]))
    assert found.classes.tolist() == [2, 1]
    assert found.scores == pytest.approx([2, MOST_SURE]) and found.margins[0] == 2
    flat = answer_logits(logits, ClassSet(["cat", "dog"]))
    assert flat.classes.tolist() == [2, 1], "the last column is none of these"


def test_zero_shot__is_100_times_the_cosine_to_the_mean_of_the_prompts() -> None:
    classes = ClassSet([{"name": "cat", "prompts": ["cat", "kitten"]}, "dog"])
    scorer = zero_shot(classes, encode)
    vectors = np.array([[1, 0, 0], [0, 0.6, 0.8]])
    half = 100 / np.sqrt(2)
    assert scorer.logits(vectors) == pytest.approx(np.array([[half, 0], [0.6 * half, 80]]))
    assert len(scorer.weights) == 2, "nobody said what is none of these"


def test_zero_shot__a_negative_counts_only_where_it_fits_better() -> None:
    classes = ClassSet([{"name": "cat", "negatives": ["toy cat"]}, "dog"])
    scorer = zero_shot(classes, encode)
    assert scorer.logits(np.array([[1.0, 0, 0]]))[0] == pytest.approx([100, 0])
    # To the cat 0.6, to the toy 1: the difference is taken off.
    assert scorer.logits(np.array([[0.6, 0.8, 0]]))[0] == pytest.approx([20, 0], abs=1e-4)


def test_zero_shot__a_class_of_examples_only_is_never_the_answer() -> None:
    classes = ClassSet(["cat", {"name": "part 17", "examples": ["x"]}])
    found = answer(np.array([[0, 0, 1.0]]), zero_shot(classes, encode), classes)
    assert found.classes.tolist() == [0]
    only = ClassSet([{"name": "cat", "examples": ["x"]}])
    assert zero_shot(only, encode).weights[0] == pytest.approx([100, 0, 0]), "then names must do"


def test_zero_shot__none_of_these_is_learned_from_the_background() -> None:
    rng = np.random.default_rng(0)
    background = np.stack([rng.uniform(0, 0.5, 1000), np.zeros(1000), np.zeros(1000)], axis=1)
    classes = ClassSet(["cat", "dog"])
    scorer = zero_shot(classes, encode, None, background)
    assert len(scorer.weights) == 3
    assert scorer.offset[2] == pytest.approx(47.5, abs=1)
    nothing = answer(background.astype(np.float32), scorer, classes).classes == 2
    assert nothing.mean() == pytest.approx(0.95, abs=0.002)
    assert answer(np.array([[0.8, 0, 0]]), scorer, classes).classes.tolist() == [0]


def test_answer__is_the_best_class_with_its_log_odds_and_margin() -> None:
    classes = ClassSet(["a", "b", "c"])
    scorer = Scorer(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 3)
    found = answer(np.array([[2, 1, 0]]), scorer, classes)
    chance = np.exp(2) / (np.exp(2) + np.exp(1) + 1)
    assert found.classes.tolist() == [0]
    assert found.scores[0] == pytest.approx(np.log(chance / (1 - chance)))
    assert found.margins[0] == pytest.approx(1)


def test_answer__scores_do_not_saturate() -> None:
    classes = ClassSet(["a", "b"])
    scorer = Scorer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 2)
    found = answer(np.array([[90, 0], [95, 0]]), scorer, classes)
    assert found.scores.tolist() == [90, 95], "a softmax would be 1 for both"


def test_answer__the_parent_where_its_kinds_cannot_be_told() -> None:
    assert hierarchy([0, 0, 9, 0, 0]).classes.tolist() == [2]
    unsure = hierarchy([0, 0, 9, 9, 0])
    assert unsure.classes.tolist() == [1]
    assert unsure.scores[0] == pytest.approx(np.log((2 * np.exp(9) + 1) / 2), abs=1e-4)
    assert hierarchy([9, 9, 8, 8, 9]).classes.tolist() == [0], "no bird has half"
    assert hierarchy([0, 0, 0, 0, 9]).classes.tolist() == [4]
    assert hierarchy([0, 0, 0, 0, 1.3]).classes.tolist() == [0], "four times 1 against 3.7"


def test_answer__of_one_class_is_a_ranking_by_its_logit() -> None:
    classes = ClassSet(["cat"])
    found = answer(np.array([[1, 0, 0], [0, 1, 0]]), zero_shot(classes, encode), classes)
    assert found.classes.tolist() == [0, 0] and found.scores.tolist() == [100, 0]
    assert (found.margins == MOST_SURE).all()


def test_answer__batches_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    classes = ClassSet(["a", "b", {"name": "c", "parent": "b"}])
    scorer = Scorer(rng.normal(size=(3, 4)).astype(np.float32), np.zeros(3, np.float32), 3)
    vectors = rng.normal(size=(50, 4))
    whole = answer(vectors, scorer, classes)
    monkeypatch.setattr("alphaclip.indexing.labelling.scoring.scoring.BATCH_VALUES", 21)
    parts = answer(vectors, scorer, classes)
    assert (parts.classes == whole.classes).all() and len(parts) == 50
    assert parts.scores == pytest.approx(whole.scores) and parts.margins == pytest.approx(
        whole.margins
    )


def test_answer__of_no_region_is_empty() -> None:
    classes = ClassSet(["cat", "dog"])
    assert len(answer(np.zeros((0, 3)), zero_shot(classes, encode), classes)) == 0


def test_answer__10_000_classes_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaclip.indexing.labelling.scoring.scoring.BATCH_VALUES", 1_000_000)
    rng = np.random.default_rng(0)
    classes = ClassSet([f"kind {i}" for i in range(10_000)])
    weights = rng.normal(size=(10_000, 8)).astype(np.float32)
    vectors = rng.normal(size=(2000, 8)).astype(np.float32)
    scorer = Scorer(weights, np.zeros(10_000, np.float32), 10_000)
    tracemalloc.start()
    found = answer(vectors, scorer, classes)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60e6, "all logits at once would be 80 MB"
    assert (found.classes[:20] == (vectors[:20] @ weights.T).argmax(axis=1)).all()


def test_logits__vectors_of_another_model_are_refused() -> None:
    with pytest.raises(AlphaClipError, match="expected \\(n, 3\\)"):
        zero_shot(ClassSet(["cat"]), encode).logits(np.zeros((2, 5)))
