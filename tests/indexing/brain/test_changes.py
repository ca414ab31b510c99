"""Vectors are added to a Brain run, removed from it and read back."""

import logging
from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.similarity import FaissSimilarityIndex

from ..brain_data import DIM, compute, images, label_ids, patches, vectors


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, 20)


@pytest.fixture
def index(dataset: fo.Dataset) -> FaissSimilarityIndex:
    return compute(dataset, embeddings=vectors(20))


@pytest.fixture
def labelled(dataset_factory: Callable) -> fo.Dataset:
    return patches(dataset_factory, [3, 0, 5, 1])


@pytest.fixture
def label_index(labelled: fo.Dataset) -> FaissSimilarityIndex:
    by_sample = {
        sample.id: vectors(len(sample.gt.detections), seed=i)
        for i, sample in enumerate(labelled)
        if sample.gt.detections
    }
    return compute(labelled, patches_field="gt", embeddings=by_sample)


def test_add__replaces_by_default(index: FaissSimilarityIndex) -> None:
    ids = index.sample_ids.tolist()
    index.add_to_index(np.ones((2, DIM)), [ids[4], "f" * 24])
    assert index.total_index_size == 21
    found, samples, _ = index.get_embeddings(sample_ids=[ids[4], "f" * 24, ids[5]])
    assert samples.tolist() == [ids[4], "f" * 24, ids[5]]
    np.testing.assert_array_equal(found[:2], np.ones((2, DIM)))
    np.testing.assert_array_equal(found[2], vectors(20)[5])
    assert found.dtype == np.float32


def test_add__without_overwriting(
    index: FaissSimilarityIndex, caplog: pytest.LogCaptureFixture
) -> None:
    known, new = index.sample_ids[4], "f" * 24
    with pytest.raises(ValueError, match=known):
        index.add_to_index(np.ones((2, DIM)), [known, new], overwrite=False, allow_existing=False)
    assert index.total_index_size == 20
    with caplog.at_level(logging.WARNING):
        index.add_to_index(np.ones((2, DIM)), [known, new], overwrite=False)
    assert not caplog.records
    assert index.total_index_size == 21
    np.testing.assert_array_equal(index.get_embeddings(sample_ids=known)[0][0], vectors(20)[4])
    with caplog.at_level(logging.WARNING):
        index.add_to_index(np.ones((1, DIM)), [known], overwrite=False, warn_existing=True)
    assert "1 ids are in the index already" in caplog.text
    index.add_to_index(np.ones((1, DIM)), [known], allow_existing=False)
    np.testing.assert_array_equal(index.get_embeddings(sample_ids=known)[0][0], np.ones(DIM))


def test_add__one_call_is_one_version(index: FaissSimilarityIndex) -> None:
    before = index._current.version
    index.add_to_index(list(np.ones((1, DIM), np.float64)), np.array([index.sample_ids[0]]))
    after = index._current.version
    assert after.number == before.number + 1
    assert [len(segment) for segment in after.segments] == [20, 1]
    assert after.segments[0].name == before.segments[0].name


@pytest.mark.parametrize(
    ("embeddings", "ids", "match"),
    [
        (np.ones((1, DIM + 1)), ["a"], rf"shape \(1, {DIM + 1}\)"),
        (np.ones(DIM), ["a"], rf"shape \({DIM},\)"),
        (np.ones((2, DIM)), ["a"], "1 sample ids"),
        (np.ones((2, DIM)), ["a", "a"], "id a is given twice"),
        (np.full((1, DIM), np.nan), ["abc"], "abc"),
        (np.full((1, DIM), 1e300), ["abc"], "abc"),
        (np.ones((2, DIM)), ["a", None], "id is None"),
        (np.full((1, DIM), "x"), ["a"], "numbers"),
    ],
)
def test_add__refuses_what_does_not_fit(
    index: FaissSimilarityIndex, embeddings: np.ndarray, ids: list, match: str
) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        index.add_to_index(embeddings, ids)
    assert isinstance(caught.value, AlphaClipError)
    assert index.total_index_size == 20


def test_add__labels_to_labels_only(
    index: FaissSimilarityIndex, label_index: FaissSimilarityIndex
) -> None:
    with pytest.raises(ValueError, match="label_ids are given, expected none"):
        index.add_to_index(np.ones((1, DIM)), ["a"], label_ids=["b"])
    with pytest.raises(ValueError, match="label_ids are missing"):
        label_index.add_to_index(np.ones((1, DIM)), ["a"])


def test_add__ids_of_no_sample_are_left_out_of_views(
    dataset: fo.Dataset, index: FaissSimilarityIndex
) -> None:
    index.add_to_index(np.ones((1, DIM)), ["f" * 24])
    assert index.total_index_size == index.index_size == 21
    found = dataset.sort_by_similarity(np.ones(DIM), k=5, brain_key="sim")
    assert len(found) == 4
    index.use_view(dataset.limit(15))
    assert index.index_size == 15
    assert len(index._kneighbors(query=np.ones(DIM), k=100)[0]) == 15


def test_remove__samples(index: FaissSimilarityIndex, caplog: pytest.LogCaptureFixture) -> None:
    ids = index.sample_ids.tolist()
    with pytest.raises(ValueError, match="nobody"):
        index.remove_from_index(sample_ids=[ids[0], "nobody"], allow_missing=False)
    assert index.total_index_size == 20
    index.remove_from_index(sample_ids=[ids[0], "nobody"], warn_missing=True)
    assert "nobody" in caplog.text
    assert index.sample_ids.tolist() == ids[1:]
    with pytest.raises(ValueError, match="no label ids"):
        index.remove_from_index(label_ids=["a"])
    index.remove_from_index(sample_ids=ids)
    assert index.total_index_size == 0
    index.add_to_index(np.ones((1, DIM + 1)), [ids[0]])
    assert index.get_embeddings()[0].shape == (1, DIM + 1)


def test_remove__all_labels_of_a_sample(
    labelled: fo.Dataset, label_index: FaissSimilarityIndex
) -> None:
    first, last = labelled.first(), labelled.last()
    label_index.remove_from_index(sample_ids=[first.id])
    assert label_index.total_index_size == 6
    label_index.remove_from_index(label_ids=last.gt.detections[0].id)
    assert label_index.total_index_size == 5
    with pytest.raises(ValueError, match="1 label ids are not in the index"):
        label_index.remove_from_index(label_ids=[first.gt.detections[0].id], allow_missing=False)


def test_get_embeddings__in_the_order_asked_for(
    labelled: fo.Dataset, label_index: FaissSimilarityIndex, caplog: pytest.LogCaptureFixture
) -> None:
    labels = label_ids(labelled)
    everything, samples, all_labels = label_index.get_embeddings()
    assert all_labels.tolist() == labels
    assert samples.dtype.kind == all_labels.dtype.kind == "U"
    found, _, got = label_index.get_embeddings(label_ids=[labels[5], labels[2], labels[5]])
    np.testing.assert_array_equal(found, everything[[5, 2, 5]])
    assert got.tolist() == [labels[5], labels[2], labels[5]]
    first, _, third, last = labelled.values("id")
    found, samples, got = label_index.get_embeddings(sample_ids=[last, first])
    assert samples.tolist() == [last, first, first, first]
    assert got.tolist() == [labels[8], *labels[:3]]
    assert label_index.get_embeddings(sample_ids=third)[0].shape == (5, DIM)
    assert label_index.get_embeddings(label_ids=[])[0].shape == (0, DIM)
    assert len(label_index.get_embeddings(label_ids=["nobody"], warn_missing=True)[0]) == 0
    assert "nobody" in caplog.text
    with pytest.raises(ValueError, match="nobody"):
        label_index.get_embeddings(label_ids=["nobody"], allow_missing=False)


def test_get_embeddings__labels_of_an_index_of_samples(index: FaissSimilarityIndex) -> None:
    with pytest.raises(ValueError, match="no label ids"):
        index.get_embeddings(label_ids=["a"])
