"""Exports to other Brain backends.

``sklearn`` and the embedded LanceDB really run here. The backends that need a server do not: a
stand-in behaves as they are documented to, which is a contract test and no proof that they work.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.brain.similarity as fbs
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.exporting import export
from alphaclip.indexing.similarity import FaissSimilarityConfig, FaissSimilarityIndex

from ..brain_data import compute, images, label_ids, patches, reloaded, vectors

QUERY = vectors(1, seed=9)[0]


class ServerSimilarityConfig(fbs.SimilarityConfig):
    """Like those of Qdrant, Pinecone and the others: a metric, a bound, no least similar."""

    def __init__(self, metric: str = "cosine", collection: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.metric, self.collection = metric, collection

    method = "server"
    max_k = 10_000
    supports_least_similarity = False
    supported_aggregations = ("mean",)


class ServerSimilarity(fbs.Similarity):
    def initialize(self, samples: Any, brain_key: str) -> "ServerSimilarityIndex":
        self.config.collection = self.config.collection or f"fiftyone-{brain_key}"
        self.update_run_config(samples, brain_key, self.config)
        return ServerSimilarityIndex(samples, self.config, brain_key, backend=self)


class ServerSimilarityIndex(fbs.SimilarityIndex):
    """Keeps points by id; takes batches up to a size, as servers do, and lists of plain text."""

    collections: dict[str, dict[str, tuple[str, np.ndarray]]] = {}  # noqa: RUF012
    batches: list[int] = []  # noqa: RUF012
    most = 25

    @property
    def points(self) -> dict[str, tuple[str, np.ndarray]]:
        return self.collections.setdefault(self.config.collection, {})

    @property
    def total_index_size(self) -> int:
        return len(self.points)

    def add_to_index(
        self, embeddings: Any, sample_ids: Any, label_ids: Any = None, overwrite: bool = True,
        allow_existing: bool = True, warn_existing: bool = False, reload: bool = True,
    ) -> None:  # fmt: skip
        assert type(sample_ids) is list
        assert label_ids is None or type(label_ids) is list
        assert all(type(i) is str for i in [*sample_ids, *(label_ids or [])])
        if len(embeddings) > self.most:
            raise ValueError("payload is too large")
        self.batches.append(len(embeddings))
        for place, name in enumerate(label_ids or sample_ids):
            self.points[name] = (sample_ids[place], embeddings[place])
        if reload:
            self.reload()

    def cleanup(self) -> None:
        self.collections.pop(self.config.collection, None)

    @classmethod
    def _from_dict(cls, d: dict, samples: Any, config: Any, brain_key: str) -> Any:
        return cls(samples, config, brain_key)


@pytest.fixture(autouse=True)
def server() -> type[ServerSimilarityIndex]:
    ServerSimilarityIndex.collections.clear()
    ServerSimilarityIndex.batches.clear()
    return ServerSimilarityIndex


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, 40)


@pytest.fixture
def index(dataset: fo.Dataset) -> FaissSimilarityIndex:
    return compute(dataset, embeddings=vectors(40), metric="euclidean")


@pytest.fixture
def labelled(dataset_factory: Callable) -> fo.Dataset:
    return patches(dataset_factory, [4, 0, 6, 2])


@pytest.fixture
def label_index(labelled: fo.Dataset) -> FaissSimilarityIndex:
    index = compute(labelled, patches_field="gt", embeddings=False)
    view = labelled.to_patches("gt")
    index.add_to_index(vectors(12), *view.values(["sample_id", "id"]))
    return index


def test_export__to_sklearn(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    index.use_view(dataset.limit(3))
    copy = export(index, "sklearn", "copy", batch_size=15)
    assert copy.config.metric == "euclidean"
    index.clear_view()
    copy = reloaded(dataset, "copy")
    assert copy.config.method == "sklearn"
    np.testing.assert_allclose(copy.get_embeddings()[0], vectors(40), atol=1e-6)
    found = dataset.sort_by_similarity(QUERY, k=5, brain_key="copy").values("id")
    assert found == dataset.sort_by_similarity(QUERY, k=5, brain_key="sim").values("id")


def test_export__labels_to_sklearn(labelled: fo.Dataset, label_index: FaissSimilarityIndex) -> None:
    export(label_index, "sklearn", "copy", batch_size=5)
    copy = reloaded(labelled, "copy")
    assert copy.label_ids.tolist() == label_ids(labelled)
    assert copy.sample_ids.tolist() == label_index.sample_ids.tolist()
    assert copy.config.patches_field == "gt"


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_export__to_lancedb(dataset: fo.Dataset, tmp_path: Path, metric: str) -> None:
    pytest.importorskip("lancedb")
    compute(dataset, embeddings=vectors(40), metric=metric)
    index = dataset.load_brain_results("sim")
    copy = export(index, "lancedb", "copy", batch_size=15, uri=str(tmp_path))
    assert copy.config.metric == metric
    assert copy.total_index_size == 40
    found = copy.sort_by_similarity(QUERY, k=5).values("id")
    assert found == index.sort_by_similarity(QUERY, k=5).values("id")
    again = dataset.load_brain_results("copy", cache=False, uri=str(tmp_path))
    found, samples, _ = again.get_embeddings()
    np.testing.assert_array_equal(found, vectors(40))
    assert samples.tolist() == index.sample_ids.tolist()
    copy.cleanup()


def test_export__labels_to_lancedb(
    labelled: fo.Dataset, label_index: FaissSimilarityIndex, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb")
    copy = export(label_index, "lancedb", "copy", batch_size=5, uri=str(tmp_path))
    assert copy.total_index_size == 12
    view = labelled.to_patches("gt")
    found = view.sort_by_similarity(QUERY, k=5, brain_key="copy").values("id")
    assert found == view.sort_by_similarity(QUERY, k=5, brain_key="sim").values("id")


def test_export__to_lancedb_by_a_metric_that_it_has_not(
    dataset: fo.Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb")
    index = compute(dataset, embeddings=vectors(40), metric="dotproduct")
    with pytest.raises(ValueError, match="dotproduct"):
        export(index, "lancedb", "copy", uri=str(tmp_path))
    assert dataset.list_brain_runs() == ["sim"]
    copy = export(index, "lancedb", "copy", uri=str(tmp_path), metric="cosine")
    assert copy.config.metric == "cosine"


def test_contract__a_server_gets_lists_in_batches(
    labelled: fo.Dataset, label_index: FaissSimilarityIndex, server: type[ServerSimilarityIndex]
) -> None:
    copy = export(label_index, ServerSimilarityConfig, "copy", batch_size=5, collection="mine")
    assert copy.total_index_size == 12
    assert server.batches == [5, 5, 2]
    sample, vector = server.collections["mine"][label_ids(labelled)[7]]
    assert sample == labelled.skip(2).first().id
    np.testing.assert_array_equal(vector, vectors(12)[7])
    config = labelled.get_brain_info("copy").config
    assert (config.method, config.metric, config.patches_field) == ("server", "cosine", "gt")


def test_contract__a_server_that_refuses_leaves_no_run(
    dataset: fo.Dataset, index: FaissSimilarityIndex, server: type[ServerSimilarityIndex]
) -> None:
    with pytest.raises(AlphaClipError, match=r"cannot be moved to .*: payload is too large"):
        export(index, ServerSimilarityConfig, "copy")
    assert dataset.list_brain_runs() == ["sim"]
    assert server.collections == {}
    assert index.total_index_size == 40


def test_export__an_engine_that_is_lost_is_cleared_by_the_next_export(
    dataset: fo.Dataset,
    index: FaissSimilarityIndex,
    server: type[ServerSimilarityIndex],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(server, "add_to_index", lost)
        patch.setattr(server, "cleanup", lost)
        with pytest.raises(AlphaClipError, match=r"cannot be moved to .*: nobody answers"):
            export(index, ServerSimilarityConfig, "copy", batch_size=5)
    assert dataset.has_brain_run("copy")
    copy = export(index, ServerSimilarityConfig, "copy", batch_size=5)
    assert copy.total_index_size == 40


def test_export__keeps_the_model(dataset: fo.Dataset, server: type[ServerSimilarityIndex]) -> None:
    index = compute(dataset, embeddings=vectors(40))
    index.config.model, index.config.supports_prompts = "some-model", True
    index.config.model_kwargs = {"size": 1}
    index.save_config()
    copy = export(reloaded(dataset), ServerSimilarityConfig, "copy", batch_size=20)
    assert copy.supports_prompts
    config = dataset.get_brain_info("copy").config
    assert (config.model, config.model_kwargs, config.supports_prompts) == (
        "some-model", {"size": 1}, True,
    )  # fmt: skip


def test_export__between_any_two_backends(dataset: fo.Dataset) -> None:
    theirs = fob.compute_similarity(
        dataset, embeddings=vectors(40), backend="sklearn", brain_key="theirs", metric="euclidean"
    )
    ours = export(theirs, FaissSimilarityConfig, "ours", batch_size=7)
    np.testing.assert_allclose(ours.get_embeddings()[0], vectors(40), atol=1e-6)
    assert ours.config.metric == "euclidean"
    assert len(export(ours, FaissSimilarityConfig, "again").sample_ids) == 40


def test_export__of_nothing(dataset: fo.Dataset) -> None:
    index = compute(dataset, embeddings=False)
    assert export(index, "sklearn", "copy").total_index_size == 0


def test_export__refuses(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    for settings, match in (
        ({"brain_key": "sim"}, "choose another key"),
        ({"brain_key": "copy", "batch_size": 0}, "batch_size is 0"),
        ({"brain_key": "copy", "backend": "nonesuch"}, "nonesuch"),
    ):
        with pytest.raises(ValueError, match=match):
            export(index, **{"backend": "sklearn", **settings})
    assert dataset.list_brain_runs() == ["sim"]
    export(index, ServerSimilarityConfig, "copy", batch_size=20)
    with pytest.raises(AlphaClipError, match="does not give its ids"):
        export(dataset.load_brain_results("copy"), "sklearn", "back")
    assert dataset.list_brain_runs() == ["copy", "sim"]
