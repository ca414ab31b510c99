"""What FiftyOne's Brain documents of a similarity backend, on vectors that are given to it.

The first two tests are those of the Brain's own ``tests/intensive/test_similarity.py``, with
random vectors in place of models that would have to be downloaded.
"""

import random
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F

from alphaclip.indexing.dataset.locations import store_root
from alphaclip.indexing.similarity import FaissSimilarityConfig, FaissSimilarityIndex

from ..brain_data import DIM, compute, images, label_ids, patches, reloaded, vectors


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


def test_backend__images(dataset_factory: Callable) -> None:
    dataset = images(dataset_factory, 200)
    embeddings, sample_ids = vectors(200, dim=512), dataset.values("id")
    index = compute(dataset, metric="euclidean", embeddings=False, brain_key="clip_faiss")
    index.add_to_index(embeddings, sample_ids)
    index.save()
    index.reload()
    assert index.total_index_size == index.index_size == 200
    assert index.missing_size is None
    query = vectors(1, seed=9, dim=512)[0]
    assert len(dataset.sort_by_similarity(query, k=10, brain_key="clip_faiss")) == 10

    assert "alphaclip.indexing.similarity" in str(dataset.get_brain_info("clip_faiss"))
    index = reloaded(dataset, "clip_faiss")
    assert index.total_index_size == 200
    found, ids, labels = index.get_embeddings()
    assert (found.shape, ids.shape, labels) == ((200, 512), (200,), None)
    chosen = random.sample(list(index.sample_ids), 100)
    found, ids, _ = index.get_embeddings(sample_ids=chosen)
    assert found.shape == (100, 512)
    assert ids.tolist() == chosen
    given = dict(zip(sample_ids, embeddings, strict=True))
    np.testing.assert_array_equal(found, [given[i] for i in chosen])

    index.remove_from_index(sample_ids=chosen)
    assert index.total_index_size == 100
    index.cleanup()
    dataset.delete_brain_run("clip_faiss")


def test_backend__patches(dataset_factory: Callable) -> None:
    dataset = patches(dataset_factory, [6] * 30)
    embeddings = vectors(180, dim=64)
    view = dataset.to_patches("gt")
    sample_ids, labels = view.values(["sample_id", "id"])
    index = compute(
        dataset, patches_field="gt", metric="euclidean", embeddings=False, brain_key="gt_faiss"
    )
    index.add_to_index(embeddings, sample_ids, label_ids=labels)
    index.save()
    index.reload()
    assert index.total_index_size == index.index_size == 180
    assert index.missing_size is None
    query = vectors(1, seed=9, dim=64)[0]
    assert len(view.sort_by_similarity(query, k=10, brain_key="gt_faiss")) == 10

    index = reloaded(dataset, "gt_faiss")
    found, ids, found_labels = index.get_embeddings()
    assert (found.shape, ids.shape, found_labels.shape) == ((180, 64), (180,), (180,))
    chosen = random.sample(list(index.label_ids), 100)
    found, ids, found_labels = index.get_embeddings(label_ids=chosen)
    assert found.shape == (100, 64)
    assert found_labels.tolist() == chosen
    sample_of = dict(zip(labels, sample_ids, strict=True))
    assert ids.tolist() == [sample_of[label] for label in chosen]

    index.remove_from_index(label_ids=chosen)
    assert index.total_index_size == 80
    index.cleanup()
    dataset.delete_brain_run("gt_faiss")


def test_config__needs_nothing_but_fields() -> None:
    config = FaissSimilarityConfig(embeddings_field=None, patches_field="gt")
    assert (config.method, config.max_k, config.metric, config.store) == (
        "faiss", None, "cosine", None,
    )  # fmt: skip
    assert config.supports_least_similarity
    assert config.supported_aggregations == ("mean", "post-mean", "post-min", "post-max")
    with pytest.raises(ValueError, match="metric is 'manhattan'"):
        FaissSimilarityConfig(metric="manhattan")


def test_register_backend__makes_its_name_known(dataset: fo.Dataset) -> None:
    from alphaclip.indexing.similarity import register_backend

    register_backend()
    register_backend()
    index = fob.compute_similarity(
        dataset, embeddings=vectors(20), backend="faiss", metric="dotproduct", brain_key="named"
    )
    assert isinstance(index, FaissSimilarityIndex)
    assert reloaded(dataset, "named").config.metric == "dotproduct"


def test_environment__makes_the_backend_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from fiftyone.brain.config import load_brain_config

    name = "alphaclip.indexing.similarity.FaissSimilarityConfig"
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_BACKENDS", "*,faiss")
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_FAISS_CONFIG_CLS", name)
    assert load_brain_config().similarity_backends["faiss"] == {"config_cls": name}


@pytest.mark.parametrize("name", ["Sim", "CLIP_1", "_sim", "größe"])
def test_keys__any_that_fiftyone_takes(dataset: fo.Dataset, name: str) -> None:
    compute(dataset, embeddings=vectors(20), brain_key=name)
    assert reloaded(dataset, name).total_index_size == 20


def test_keys__that_differ_in_case_have_stores_of_their_own(dataset: fo.Dataset) -> None:
    compute(dataset, embeddings=vectors(20), brain_key="sim")
    compute(dataset, embeddings=vectors(20, seed=1), brain_key="SIM")
    dataset.delete_brain_run("sim")
    np.testing.assert_array_equal(reloaded(dataset, "SIM").get_embeddings()[0], vectors(20, 1))


def test_embeddings__from_a_field_of_the_samples(dataset: fo.Dataset) -> None:
    dataset.set_values("emb", list(vectors(20)))
    index = compute(dataset, embeddings="emb")
    np.testing.assert_array_equal(index.get_embeddings()[0], vectors(20))
    assert index.config.embeddings_field == "emb"
    assert dataset.get_brain_info("sim").config.embeddings_field == "emb"


def test_embeddings__from_a_field_of_the_labels(labelled: fo.Dataset) -> None:
    values = dict(zip(label_ids(labelled), vectors(9), strict=True))
    labelled.set_label_values("gt.detections.emb", values, dynamic=True)
    index = compute(labelled, patches_field="gt", embeddings="emb")
    assert index.label_ids.tolist() == label_ids(labelled)
    np.testing.assert_array_equal(index.get_embeddings()[0], vectors(9))


def test_embeddings__of_some_samples_only(dataset: fo.Dataset) -> None:
    ids = dataset.values("id")
    index = compute(dataset, embeddings={ids[3]: vectors(1)[0], ids[5]: vectors(1, seed=1)[0]})
    assert index.sample_ids.tolist() == [ids[3], ids[5]]
    view = dataset[:4]
    assert index.use_view(view).index_size == 1
    assert index.missing_size == 3
    with pytest.raises(ValueError):
        assert index.use_view(view, allow_missing=False).index_size


def test_embeddings__of_a_view_make_an_index_of_the_dataset(dataset: fo.Dataset) -> None:
    index = compute(dataset[:5], embeddings=vectors(5))
    assert index.samples == dataset
    assert index.total_index_size == 5


def test_empty_index__answers_nothing(dataset: fo.Dataset) -> None:
    index = compute(dataset, embeddings=False)
    assert index.total_index_size == index.index_size == 0
    assert index.get_embeddings()[0].shape[0] == 0
    assert index._kneighbors(query=np.ones(DIM), k=3, return_dists=True) == ([], None, [])
    assert index._kneighbors(query=np.ones(DIM), k=3, aggregation="post-min") == ([], None)
    assert index._kneighbors(k=3) == []
    assert len(dataset.sort_by_similarity(np.ones(DIM), k=3, brain_key="sim")) == 0
    index.add_to_index([], [])
    index.remove_from_index(sample_ids=["nobody"])
    assert index.total_index_size == 0


def test_views__restrict_what_is_found(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    view = dataset.match(F("place") > 11).sort_by("place", reverse=True)
    with index.use_view(view):
        assert index.has_view
        assert index.index_size == 8
        assert index.current_sample_ids.tolist() == view.values("id")
        assert index.values("place") == view.values("place")
        ids, labels, dists = index._kneighbors(query=vectors(20)[15], k=100, return_dists=True)
        assert set(ids) == set(view.values("id"))
        assert ids[0] == dataset.skip(15).first().id
        assert labels is None
        assert all(type(dist) is float for dist in dists)
    assert not index.has_view
    assert index.index_size == 20
    index.use_view(dataset.limit(0))
    assert index.index_size == 0
    assert index._kneighbors(query=vectors(20)[15]) == ([], None)
    index.clear_view()
    assert index.values("place") == list(range(20))


def test_views__of_labels(labelled: fo.Dataset, label_index: FaissSimilarityIndex) -> None:
    view = labelled.filter_labels("gt", F("label").starts_with("2-"))
    label_index.use_view(view)
    assert label_index.index_size == 5
    assert label_index.current_label_ids.tolist() == label_ids(view)
    assert label_index.values("gt.detections.label") == [f"2-{i}" for i in range(5)]
    label_index.use_view(labelled.to_patches("gt").limit(2))
    assert label_index.current_label_ids.tolist() == label_ids(labelled)[:2]


def test_answers__have_the_documented_forms(index: FaissSimilarityIndex) -> None:
    a, b = index.sample_ids[:2].tolist()
    one = index._kneighbors(query=a, k=3, return_dists=True)
    assert one[0][0] == a
    assert len(one[0]) == len(one[2]) == 3
    assert index._kneighbors(query=[a], k=3) == ([one[0]], None)
    several = index._kneighbors(query=[a, b], k=3, return_dists=True)
    assert several[0][0] == one[0]
    assert several[2][0] == pytest.approx(one[2], abs=1e-6)
    assert index._kneighbors(query=vectors(20)[0], k=3)[0] == one[0]
    assert index._kneighbors(query=vectors(20)[:1], k=3)[0] == [one[0]]
    assert index._kneighbors(query=vectors(20)[:1].tolist(), k=3)[0] == [one[0]]
    assert len(index._kneighbors(query=[a, b], k=3, aggregation="mean")[0]) == 3
    assert len(index._kneighbors(query=a)[0]) == 20
    found, dists = index._kneighbors(k=2, return_dists=True)
    assert [len(f) for f in found] == [2] * 20
    assert all(f.dtype.kind == "i" and i not in f for i, f in enumerate(found))
    assert len(dists) == 20


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"query": "nobody"}, "nobody"),
        ({"query": ["a", "b", "c", "d", "e"]}, "a, b, c and 2 more"),
        ({"query": []}, "empty"),
        ({"query": np.ones(DIM + 1)}, "numbers"),
        ({"query": np.full(DIM, np.nan)}, "finite"),
        ({"query": np.zeros(DIM)}, "direction"),
        ({"query": np.ones(DIM), "k": 0}, "k is 0"),
        ({"query": np.ones(DIM), "k": 2.5}, "k is 2.5"),
        ({"query": np.ones(DIM), "aggregation": "median"}, "median"),
        ({"aggregation": "mean"}, "needs a query"),
    ],
)
def test_queries__that_cannot_be_answered(
    index: FaissSimilarityIndex, settings: dict, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        index._kneighbors(**settings)


def test_sort_by_similarity__stores_distances(
    dataset: fo.Dataset, index: FaissSimilarityIndex
) -> None:
    first = dataset.first().id
    view = dataset.sort_by_similarity(first, k=4, brain_key="sim", dist_field="dist")
    assert view.first().id == first
    assert view.values("dist") == sorted(view.values("dist"))
    assert view.first().dist == pytest.approx(0, abs=1e-6)


def test_sort_by_similarity__labels(
    labelled: fo.Dataset, label_index: FaissSimilarityIndex
) -> None:
    label = labelled.first().gt.detections[1].id
    view = labelled.sort_by_similarity(label, k=4, brain_key="sim")
    assert len(label_ids(view)) == 4
    assert view.first().id == labelled.first().id
    labels = labelled.to_patches("gt")
    assert labels.sort_by_similarity(label, k=4, brain_key="sim").first().id == label
    farthest = labels.sort_by_similarity(label, k=9, reverse=True, brain_key="sim")
    assert farthest.last().id == label


def test_prompts__of_a_model_that_is_given(dataset: fo.Dataset, tmp_path: Path) -> None:
    class Model(fo.core.models.Model, fo.core.models.PromptMixin):
        can_embed_prompts = True
        media_type = "image"

        def embed_prompts(self, texts: list[str]) -> np.ndarray:
            return np.stack([vectors(20)[int(text.split()[-1])] for text in texts])

        def embed_prompt(self, text: str) -> np.ndarray:
            return self.embed_prompts([text])[0]

    index = compute(dataset, embeddings=vectors(20), model=Model())
    assert index.supports_prompts
    assert index.sort_by_similarity("number 7", k=1).first().place == 7
    texts = dataset.sort_by_similarity("number 7", k=5, brain_key="sim").values("id")
    index._kneighbors(query=index.sample_ids.tolist(), k=3)
    index._kneighbors(k=2)
    assert dataset.sort_by_similarity("number 7", k=5, brain_key="sim").values("id") == texts
    np.testing.assert_array_equal(index.get_embeddings()[0], vectors(20))


def test_prompts__without_a_model(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    with pytest.raises(ValueError, match="does not support prompts"):
        index.sort_by_similarity("a red apple")
    with pytest.raises(ValueError, match="stored model"):
        index.get_model()


def test_index_without_a_key__goes_with_the_object(dataset: fo.Dataset) -> None:
    index = compute(dataset, brain_key=None, embeddings=vectors(20))
    folder = index._current.version.folder
    assert index.total_index_size == 20
    index.add_to_index(np.ones((1, DIM)), ["a"])
    assert index.total_index_size == 21
    assert not dataset.has_brain_runs
    assert store_root() not in folder.parents
    del index
    assert not folder.exists()
