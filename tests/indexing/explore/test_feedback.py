"""Queries refined by marks."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.feedback import refine, refined_vector
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.queries import unit_vectors

DIM, KINDS = 48, 30


@pytest.fixture(scope="module")
def kinds() -> tuple[np.ndarray, np.ndarray]:
    """3,000 vectors around 30 directions, and which each is around."""
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(KINDS, DIM))
    kind = rng.integers(KINDS, size=3000)
    return unit_vectors(middles[kind] + rng.normal(scale=1.2, size=(3000, DIM))), kind


def precision(scores: np.ndarray, good: np.ndarray) -> float:
    """Average precision."""
    ranked = good[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


def between(vectors: np.ndarray, kind: np.ndarray, share: float) -> np.ndarray:
    """A text that lies between kind 0 and kind 1."""
    zero, one = (vectors[kind == k].mean(axis=0) for k in (0, 1))
    return unit_vectors(share * zero + (1 - share) * one)[0]


def test_refined_vector__helps_a_poor_text(kinds: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, kind = kinds
    text, good = between(vectors, kind, 0.45), kind == 0
    before = precision(vectors @ text, good)
    for _ in range(2):
        top = np.argsort(-(vectors @ text))[:10]
        marked = np.zeros(len(vectors), bool)
        marked[top] = True
        refined = refined_vector(
            text, vectors[marked & good], vectors[marked & ~good], vectors[::3]
        )
    assert np.linalg.norm(refined) == pytest.approx(1, abs=1e-5)
    assert precision((vectors @ refined)[~marked], good[~marked]) > before + 0.1


def test_refined_vector__spares_a_good_text(kinds: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, kind = kinds
    text, good = between(vectors, kind, 1.0), kind == 0
    top = np.argsort(-(vectors @ text))[:10]
    right, wrong = (vectors[top[good[top] == here]] for here in (True, False))
    refined = refined_vector(text, right, wrong, vectors)
    after, before = (precision(vectors @ vector, good) for vector in (refined, text))
    assert after > before - 0.01


def test_refined_vector__marks_that_disagree_leave_the_text(
    kinds: tuple[np.ndarray, np.ndarray],
) -> None:
    vectors, kind = kinds
    text = between(vectors, kind, 1.0)
    top = np.argsort(-(vectors @ text))[:20]
    # Every region is marked once, and its near twin the other way.
    twins = unit_vectors(vectors[top] + 1e-3)
    right = np.concatenate([vectors[top[::2]], twins[1::2]])
    wrong = np.concatenate([vectors[top[1::2]], twins[::2]])
    assert refined_vector(text, right, wrong, vectors) @ text > 0.98


def test_refined_vector__without_marks_or_sample(kinds: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, kind = kinds
    text, none = 3 * between(vectors, kind, 1.0), vectors[:0]
    expected = unit_vectors(text)[0]
    np.testing.assert_allclose(refined_vector(text, none, none, vectors), expected, atol=1e-6)
    few = refined_vector(text, vectors[:2], none, vectors[:1])
    np.testing.assert_allclose(few, expected, atol=1e-6)
    with pytest.raises(AlphaClipError, match="no direction"):
        refined_vector(0 * text, none, none, vectors)


def test_refined_vector__only_right_or_only_wrong(kinds: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, kind = kinds
    text, none = between(vectors, kind, 0.6), vectors[:0]
    some = vectors[kind == 1][:10]
    away, towards = (
        refined_vector(text, *marks, vectors) for marks in ((none, some), (some, none))
    )
    middle = vectors[kind == 1].mean(axis=0)
    assert away @ middle < text @ middle < towards @ middle


def test_refine__of_an_index(dataset: fo.Dataset, index: RegionIndex, encoder: Encoder) -> None:
    ids = index.search("red apple", k=12).label_ids.tolist()
    np.testing.assert_allclose(
        refine(index, "red apple", [], []), encoder.encode_text(["red apple"])[0], atol=1e-6
    )
    vector = refine(index, ["red apple", "pear"], ids[6:8], ids[:2], negative="noise")
    assert vector.shape == (encoder.dim,) and vector.dtype == np.float32
    found = index.search(vector, k=12).label_ids.tolist()
    assert max(map(found.index, ids[6:8])) < min(map(found.index, ids[:2]))
    shapes = indexing.build(dataset, "shape", encoder, key="shapes")
    both = refine([index, shapes], "red apple", [dataset.first().shape.id], ids[:1])
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)


def test_refine__bad_marks(index: RegionIndex) -> None:
    ids = index.search("red apple", k=2).label_ids.tolist()
    with pytest.raises(AlphaClipError, match="marked right and wrong"):
        refine(index, "red apple", ids, ids[:1])
    with pytest.raises(AlphaClipError, match="1 of 1 labels are not in index"):
        refine(index, "red apple", [*ids, "0" * 24], [])
