"""Prototypes and probes, and when they are taken."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring.choosing import (
    Examples,
    choose_scorer,
    linear_probe,
    prototypes,
)
from alphaclip.indexing.labelling.scoring.scoring import Scorer

DIM = 12


def world(count: int, skew: float, seed: int = 0) -> tuple[Scorer, np.ndarray, np.ndarray]:
    """Three classes round axes of their own; their texts are off by ``skew`` at random."""
    rng = np.random.default_rng(seed)
    centres = np.eye(3, DIM)
    texts = centres + skew * rng.normal(size=centres.shape)
    truths = np.arange(count) % 3
    vectors = centres[truths] + rng.normal(scale=0.25, size=(count, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = 100 * texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return Scorer(weights.astype(np.float32), np.zeros(3, np.float32), 3), vectors, truths


def examples(vectors: list, truths: list[int]) -> Examples:
    return Examples(np.array(vectors, np.float32), np.array(truths), np.arange(len(truths)))


def test_choose_scorer__takes_what_surely_helps() -> None:
    texts, vectors, truths = world(120, skew=1.0)
    choice = choose_scorer(texts, vectors, truths)
    _, others, their_truths = world(600, skew=1.0, seed=5)
    before = (texts.logits(others).argmax(axis=1) == their_truths).mean()
    after = (choice.scorer.logits(others).argmax(axis=1) == their_truths).mean()
    assert choice.kind in ("prototypes", "linear probe") and after > before + 0.1
    taken = next(trial for trial in choice.trials if trial.kind == choice.kind)
    assert 0 < taken.lower < taken.gain
    assert taken.accuracy == pytest.approx(after, abs=0.1), "the held-out figure is honest"
    assert (
        f"{choice.kind} is taken" in choice.reason and "lower bound of the gain +" in choice.reason
    )
    assert choice.to_dict()["trials"][0]["kind"] == "prototypes"


def test_choose_scorer__stays_with_good_texts() -> None:
    texts, vectors, truths = world(120, skew=0.0)
    choice = choose_scorer(texts, vectors, truths)
    assert choice.kind == "zero-shot" and choice.scorer is texts
    assert len(choice.trials) == 2 and not any(trial.lower > 0 for trial in choice.trials)
    assert (choice.held_out == texts.logits(vectors)).all()


def test_choose_scorer__few_examples_are_not_enough_to_be_sure() -> None:
    texts, vectors, truths = world(9, skew=1.0)
    choice = choose_scorer(texts, vectors, truths)
    assert choice.kind == "zero-shot"
    assert "linear probe: not tried, 3 of 3 classes have fewer than 4 examples" in choice.reason


def test_choose_scorer__labels_of_no_meaning_never_help() -> None:
    texts, vectors, truths = world(90, skew=0.5)
    for seed in range(3):
        mixed = np.random.default_rng(seed).permutation(truths)
        assert choose_scorer(texts, vectors, mixed).kind == "zero-shot"


def test_choose_scorer__regions_of_one_picture_are_held_out_together() -> None:
    texts, vectors, truths = world(12, skew=1.0)
    copies = np.repeat(vectors, 10, axis=0)
    pictures = np.repeat([f"picture {i}" for i in range(12)], 10)
    alone = choose_scorer(texts, copies, np.repeat(truths, 10))
    together = choose_scorer(texts, copies, np.repeat(truths, 10), pictures)
    assert alone.kind != "zero-shot", "copies of a region are no test of it"
    assert together.kind == "zero-shot" and "of 12 pictures" in together.reason


def test_choose_scorer__without_examples_is_zero_shot() -> None:
    texts, vectors, truths = world(3, skew=0.0)
    choice = choose_scorer(texts, vectors[:0], truths[:0])
    assert (
        choice.kind == "zero-shot" and choice.accuracy is None and choice.held_out.shape == (0, 3)
    )
    assert "no examples" in choice.reason
    one = choose_scorer(texts, vectors[:1], truths[:1])
    assert one.kind == "zero-shot" and "1 examples are too few" in one.reason


def test_choose_scorer__all_of_one_class_is_zero_shot() -> None:
    texts, vectors, _ = world(30, skew=0.0)
    choice = choose_scorer(texts, vectors, np.zeros(30, int))
    assert choice.kind in ("zero-shot", "prototypes")
    assert choice.trials[1].accuracy is None, "a probe needs every class"


@pytest.mark.parametrize(
    ("truths", "pictures", "message"),
    [
        ([0, 4], None, "numbers of classes go from 0 to 4"),
        ([-1, 0], None, "expected 0 to 3"),
        ([0], None, "2 vectors, 1 classes"),
        ([0, 1], ["a"], "1 pictures"),
    ],
)
def test_choose_scorer__refuses_what_does_not_fit(
    truths: list[int], pictures: list[str] | None, message: str
) -> None:
    texts, vectors, _ = world(2, skew=0.0)
    with pytest.raises(AlphaClipError, match=message):
        choose_scorer(texts, vectors, np.array(truths), pictures)


def test_prototypes__move_by_the_shrunken_mean_less_that_of_all() -> None:
    texts = Scorer(np.array([[100, 0], [0, 100.0]], np.float32), np.zeros(2, np.float32), 2)
    found = prototypes(texts, examples([[1, 0], [1, 0], [1, 0], [0, 1]], [0, 0, 0, 1]))
    # The mean of all is (0.75, 0.25); of three examples half the way is gone, of one a quarter.
    assert found.weights[0] == pytest.approx([100 + 0.5 * 25, -0.5 * 25])
    assert found.weights[1] == pytest.approx([-0.25 * 75, 100 + 0.25 * 75])
    middle = np.array([[0.75, 0.25]])
    assert found.logits(middle) == pytest.approx(texts.logits(middle)), "the mean is not favoured"


def test_prototypes__a_class_without_text_starts_at_the_mean_of_the_others() -> None:
    offset = np.array([0, 0, -np.inf], np.float32)
    texts = Scorer(np.array([[10, 0], [0, 10], [0, 0]], np.float32), offset, 3)
    found = prototypes(texts, examples([[1, 0], [0.6, -0.8]], [0, 2]))
    # It starts at (5, 5), and moves by a quarter of 100 times (0.6, -0.8) less (0.8, -0.4).
    assert found.weights[2] == pytest.approx([0, -5], abs=1e-5)
    assert found.logits(np.array([[0.6, -0.8]])).argmax() == 2
    assert found.weights[1].tolist() == [0, 10], "nothing was said of this one"


def test_prototypes__learn_none_of_these_from_examples() -> None:
    texts = Scorer(np.array([[100, 0], [0, 100.0]], np.float32), np.zeros(2, np.float32), 2)
    found = prototypes(texts, examples([[1, 0], [0, 1], [-1, 0]], [0, 1, 2]), move=2)
    assert len(found.weights) == 3 and found.logits(np.array([[-1.0, 0]])).argmax() == 2


def test_prototypes__negatives_count_as_before() -> None:
    penalty = np.array([[-60, 80], [0, 0]], np.float32)
    texts = Scorer(100 * np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 2, penalty)
    found = prototypes(texts, examples([[1, 0], [0, 1], [-1, 0]], [0, 1, 2]))
    assert found.penalty.tolist() == [[-60, 80], [0, 0], [0, 0]]


def test_linear_probe__of_two_classes_and_a_missing_one() -> None:
    texts, vectors, truths = world(60, skew=1.0)
    two = truths < 2
    found = linear_probe(texts, Examples(vectors[two].astype(np.float32), truths[two], truths), 100)
    logits = found.logits(vectors)
    assert np.isneginf(logits[:, 2]).all(), "it never saw the third"
    assert (logits[two].argmax(axis=1) == truths[two]).mean() > 0.9


def test_linear_probe__of_one_class_always_answers_it() -> None:
    texts, vectors, _ = world(6, skew=0.0)
    found = linear_probe(
        texts, Examples(vectors.astype(np.float32), np.full(6, 1), np.arange(6)), 1
    )
    assert (found.logits(vectors).argmax(axis=1) == 1).all()


def test_choose_scorer__each_class_in_a_picture_of_its_own_is_no_error() -> None:
    texts, vectors, truths = world(30, skew=0.5)
    choice = choose_scorer(texts, vectors, truths, [f"picture {place}" for place in truths])
    assert choice.kind == "zero-shot" and choice.trials[1].accuracy == 0


def test_choose_scorer__of_a_single_class_is_zero_shot() -> None:
    one = Scorer(np.eye(1, DIM, dtype=np.float32), np.zeros(1, np.float32), 1)
    _, vectors, truths = world(20, skew=0.0)
    choice = choose_scorer(one, vectors, truths * 0)
    assert choice.kind == "zero-shot" and "there is only one class" in choice.reason
