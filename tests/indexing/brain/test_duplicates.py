"""Near-duplicates and unique samples, and the other Brain methods that take an index."""

from collections.abc import Callable

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from alphaclip.indexing.similarity import FaissSimilarityIndex

from ..brain_data import compute, distances, images, label_ids, patches, vectors

COUNT = 60


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, COUNT)


@pytest.fixture
def index(dataset: fo.Dataset) -> FaissSimilarityIndex:
    return compute(dataset, embeddings=vectors(COUNT))


def index_of(index: FaissSimilarityIndex, ids: list[str]) -> list[int]:
    places = {name: place for place, name in enumerate(index.sample_ids.tolist())}
    return [places[name] for name in ids]


def sklearn_run(dataset: fo.Dataset, **settings: object) -> fob.SimilarityIndex:
    return fob.compute_similarity(dataset, backend="sklearn", brain_key="builtin", **settings)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_duplicates__are_those_of_the_built_in_backend(dataset: fo.Dataset, metric: str) -> None:
    # The built-in backend moves the mean of the vectors to the origin, in place.
    rows = vectors(COUNT, dim=3).astype(np.float64)
    rows -= rows.mean(axis=0)
    rows = rows.astype(np.float32)
    ours = compute(dataset, embeddings=rows, metric=metric)
    theirs = sklearn_run(dataset, embeddings=rows.copy(), metric=metric)
    for settings in ({"thresh": 0.2}, {"thresh": 0.5}, {"fraction": 0.3}, {"fraction": 0.9}):
        ours.find_duplicates(**settings)
        theirs.find_duplicates(**settings)
        assert set(ours.unique_ids) == set(theirs.unique_ids)
        assert set(ours.duplicate_ids) == set(theirs.duplicate_ids)
        assert ours.thresh == pytest.approx(theirs.thresh)
        for nearest, duplicates in ours.neighbors_map.items():
            for duplicate, apart in duplicates:
                here = distances(rows[index_of(ours, [duplicate])], rows, metric)[0]
                assert apart == pytest.approx(here[index_of(ours, ours.unique_ids)].min(), abs=1e-5)
                assert apart == pytest.approx(here[index_of(ours, [nearest])[0]], abs=1e-5)
    ours.find_unique(12)
    theirs.find_unique(12)
    assert set(ours.unique_ids) == set(theirs.unique_ids)


def test_duplicates__views_and_plots(dataset: fo.Dataset) -> None:
    rows = vectors(COUNT)
    rows[50:] = rows[:10] + 1e-4
    index = compute(dataset, embeddings=rows)
    view = dataset.skip(5)
    with index.use_view(view):
        index.find_duplicates(thresh=0.001)
        assert len(index.duplicate_ids) == 5
        assert len(index.duplicates_view(type_field="kind", dist_field="apart")) == 10
        assert dataset.count_values("kind") == {"nearest": 5, "duplicate": 5, None: 50}
        assert len(index.unique_view()) == 50
    visualization = fob.compute_visualization(
        dataset, similarity_index=index, method="pca", num_dims=2, brain_key="vis"
    )
    assert len(visualization.points) == COUNT
    index.find_duplicates(thresh=0.001)
    assert index.visualize_duplicates(visualization, backend="matplotlib") is not None
    index.find_unique(20)
    assert len(index.unique_ids) == 20
    assert index.visualize_unique(visualization, backend="matplotlib") is not None
    assert index.plot_distances() is not None
    with pytest.raises(ValueError, match="threshold"):
        index.find_duplicates()


def test_duplicates__of_labels(dataset_factory: Callable) -> None:
    dataset = patches(dataset_factory, [4, 4])
    rows = vectors(4)
    index = compute(
        dataset, patches_field="gt", embeddings=dict.fromkeys(dataset.values("id"), rows)
    )
    index.find_duplicates(thresh=0.001)
    assert index.duplicate_ids == label_ids(dataset)[4:]
    assert index.unique_view().values("id") == label_ids(dataset)[:4]
    assert len(index.duplicates_view()) == 8


def test_duplicates__pairs_and_stream_agree(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alphaclip.indexing.brain import duplicates as brain_duplicates

    index = compute(dataset, embeddings=vectors(COUNT, dim=3))
    index.find_unique(15)
    expected = index.unique_ids
    monkeypatch.setattr(brain_duplicates, "ROWS", 7)
    monkeypatch.setattr(brain_duplicates, "LATER", 11)
    monkeypatch.setattr(brain_duplicates, "MOST_BYTES", 0)
    index.find_unique(15)
    assert index.unique_ids == expected
    for most in (0, 100):
        monkeypatch.setattr(brain_duplicates, "MOST_PAIRS", most)
        index.find_unique(15)
        assert index.unique_ids == expected


def test_brain_methods__take_the_index(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    near = fob.compute_near_duplicates(dataset, threshold=0.05, similarity_index=index)
    assert near is index
    fob.compute_uniqueness(dataset, similarity_index=index)
    assert np.isfinite(dataset.values("uniqueness")).all()
    for field, given in (("a", {"similarity_index": "sim"}), ("b", {"embeddings": vectors(COUNT)})):
        fob.compute_representativeness(dataset, representativeness_field=field, **given)
    np.testing.assert_allclose(dataset.values("a"), dataset.values("b"), atol=1e-4)
    dataset[:30].tag_samples("train")
    dataset[30:].tag_samples("test")
    leaks = fob.compute_leaky_splits(
        dataset, ["train", "test"], threshold=0.3, similarity_index=index
    )
    assert leaks.leaks_view() is not None


def test_uniqueness__is_the_built_in_backends(
    dataset: fo.Dataset, index: FaissSimilarityIndex
) -> None:
    theirs = sklearn_run(dataset, embeddings=vectors(COUNT), metric="cosine")
    fob.compute_uniqueness(dataset, uniqueness_field="ours", similarity_index=index)
    fob.compute_uniqueness(dataset, uniqueness_field="theirs", similarity_index=theirs)
    ours, built_in = dataset.values("ours"), dataset.values("theirs")
    # The built-in backend leaves out each sample's nearest neighbour, and centres the vectors.
    assert np.corrcoef(ours, built_in)[0, 1] > 0.5
