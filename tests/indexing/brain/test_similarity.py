"""The Brain backend: what it finds, in this process and in others, and who shares its vectors."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.indexing.similarity import FaissSimilarityIndex
from alphaclip.indexing.store.store import open_store

from ..brain_data import DIM, compute, distances, images, reloaded, vectors

METRICS = ("cosine", "euclidean", "dotproduct")
COUNT = 60
ELSEWHERE = """
import json, sys
sys.stdout = sys.stderr  # Whatever is said there, answers stay apart
import fiftyone as fo
for line in sys.stdin:
    name, code = json.loads(line)
    names = {"dataset": fo.load_dataset(name), "result": None}
    exec(code, names)
    print(json.dumps(names["result"]), file=sys.__stdout__, flush=True)
"""

Elsewhere = Callable[[fo.Dataset, str], object]
Measured = tuple[fo.Dataset, FaissSimilarityIndex]


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, COUNT)


@pytest.fixture
def index(dataset: fo.Dataset) -> FaissSimilarityIndex:
    return compute(dataset, embeddings=vectors(COUNT))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Runs code for a dataset in another process, which is started once: it imports for seconds."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", ELSEWHERE], text=True, **pipes) as process:

        def run(dataset: fo.Dataset, code: str) -> object:
            dataset.persistent = True
            process.stdin.write(json.dumps([dataset.name, code]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run


@pytest.fixture(scope="module", params=METRICS)
def measured(request: pytest.FixtureRequest, dataset_factory: Callable) -> Measured:
    """A dataset and its index by each metric, for tests that change neither."""
    dataset = images(dataset_factory, COUNT)
    return dataset, compute(dataset, embeddings=vectors(COUNT), metric=request.param)


@pytest.mark.parametrize("reverse", [False, True])
def test_neighbours__are_those_of_numpy(measured: Measured, reverse: bool) -> None:
    _, index = measured
    queries = vectors(3, seed=5)
    ids, _, found = index._kneighbors(queries, k=7, reverse=reverse, return_dists=True)
    expected = distances(queries, vectors(COUNT), index.config.metric)
    order = np.argsort(-expected if reverse else expected, axis=1)[:, :7]
    assert ids == index.sample_ids[order].tolist()
    np.testing.assert_allclose(found, np.take_along_axis(expected, order, 1), atol=1e-5)


@pytest.mark.parametrize("how", ["post-mean", "post-min", "post-max", "mean"])
@pytest.mark.parametrize("reverse", [False, True])
def test_aggregations__are_those_of_numpy(measured: Measured, how: str, reverse: bool) -> None:
    dataset, index = measured
    metric = index.config.metric
    queries = vectors(3, seed=5)
    with index.use_view(dataset.skip(10)):
        ids, _, found = index._kneighbors(
            queries, k=9, reverse=reverse, aggregation=how, return_dists=True
        )
        viewed = index.current_sample_ids
    rows = vectors(COUNT)[10:]
    if how == "mean":
        expected = distances(queries.mean(axis=0, keepdims=True), rows, metric)[0]
    else:
        join = {"post-mean": np.mean, "post-min": np.min, "post-max": np.max}[how]
        expected = join(distances(queries, rows, metric), axis=0)
    order = np.argsort(-expected if reverse else expected)[:9]
    assert ids == viewed[order].tolist()
    np.testing.assert_allclose(found, expected[order], atol=1e-5)


def test_aggregations__of_queries_by_id(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    ids = index.sample_ids[:3].tolist()
    by_id = index._kneighbors(ids, k=5, aggregation="post-min", return_dists=True)
    by_vector = index._kneighbors(vectors(COUNT)[:3], k=5, aggregation="post-min")
    assert by_id[0] == by_vector[0]
    assert set(by_id[0][:3]) == set(ids)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, None])
def test_full_index__leaves_out_the_point_itself(
    dataset: fo.Dataset, metric: str, k: int | None
) -> None:
    rows = np.concatenate([vectors(COUNT - 2), vectors(2)])
    index = compute(dataset, embeddings=rows, metric=metric)
    view = dataset.sort_by("place", reverse=True).limit(30)
    with index.use_view(view):
        found, apart = index._kneighbors(k=k, return_dists=True)
    own = rows[::-1][:30]
    expected = distances(own, own, metric)
    np.fill_diagonal(expected, np.inf)
    expected.sort(axis=1)
    assert [len(f) for f in found] == [29 if k is None else k] * 30
    np.testing.assert_allclose(apart, expected[:, : 29 if k is None else k], atol=1e-5)
    assert all(line not in others for line, others in enumerate(found))


def test_zero_vectors__have_no_direction_but_do_no_harm(dataset: fo.Dataset) -> None:
    rows = vectors(COUNT)
    rows[[3, 7]] = 0
    index = compute(dataset, embeddings=rows)
    zero = index.sample_ids[3]
    ids, _, apart = index._kneighbors(zero, k=4, return_dists=True)
    assert len(set(ids)) == 4
    assert apart == [1.0] * 4
    found, apart = index._kneighbors(k=2, return_dists=True)
    assert apart[7].tolist() == [1.0, 1.0]
    assert 7 not in found[7]
    index.find_duplicates(thresh=0.01)
    assert index.duplicate_ids == []
    index.find_duplicates(thresh=1.5)
    assert len(index.duplicate_ids) > 1


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_radius__is_that_of_numpy(dataset: fo.Dataset, metric: str) -> None:
    index = compute(dataset, embeddings=vectors(COUNT), metric=metric)
    thresh = {"cosine": 0.5, "euclidean": 3.0}[metric]
    expected = distances(vectors(COUNT), vectors(COUNT), metric)
    own_excluded = expected + np.diag([np.inf] * COUNT)
    found, apart = index._radius_neighbors(thresh=thresh, return_dists=True)
    for line, others in enumerate(found):
        assert set(others) == set(np.flatnonzero(own_excluded[line] <= thresh))
        np.testing.assert_allclose(apart[line], expected[line, others], atol=1e-5)
        assert (np.diff(apart[line]) >= 0).all()
    ids, labels, near = index._radius_neighbors(
        vectors(COUNT)[:2], thresh=thresh, return_dists=True
    )
    assert labels is None
    assert [len(i) for i in ids] == (expected[:2] <= thresh).sum(axis=1).tolist()
    assert index._radius_neighbors(index.sample_ids[1], thresh=thresh)[0] == ids[1]
    assert near[0] == sorted(near[0])
    with pytest.raises(ValueError, match="thresh"):
        index._radius_neighbors()


def test_another_process__is_seen_at_the_next_call(
    dataset: fo.Dataset, index: FaissSimilarityIndex, elsewhere: Elsewhere
) -> None:
    index.use_view(dataset.limit(50))
    assert index.index_size == 50
    engine = index._current.engine()
    assert index._current.engine() is engine
    code = "dataset.load_brain_results('sim').remove_from_index(dataset.limit(5).values('id'))"
    elsewhere(dataset, code)
    assert index.total_index_size == 55
    assert index.index_size == 45
    assert index.missing_size == 5
    with pytest.raises(ValueError, match="not in the index"):
        index._kneighbors(query=dataset.first().id, k=1)
    code = "result = dataset.load_brain_results('sim', cache=False).sample_ids.tolist()"
    assert elsewhere(dataset, code) == index.sample_ids.tolist()


def test_a_run_made_anew_by_another_process__is_seen(
    dataset: fo.Dataset, index: FaissSimilarityIndex, elsewhere: Elsewhere
) -> None:
    assert index.total_index_size == COUNT
    code = f"""
import numpy as np, fiftyone.brain as fob
from alphaclip.indexing.similarity import FaissSimilarityConfig
dataset.delete_brain_run("sim")
fob.compute_similarity(
    dataset, embeddings=np.ones(({COUNT}, 3)), backend=FaissSimilarityConfig, brain_key="sim"
)
"""
    elsewhere(dataset, code)
    assert index.get_embeddings()[0].shape == (COUNT, 3)


def test_saving__stores_no_vectors(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    index.save()
    assert list(index.serialize()) == ["cls"]
    assert reloaded(dataset).total_index_size == COUNT


def test_clone__reads_and_gets_its_own_vectors_when_it_writes(
    dataset: fo.Dataset, index: FaissSimilarityIndex, dataset_factory: Callable
) -> None:
    index.remove_from_index(sample_ids=index.sample_ids[:2])
    clone = dataset.clone(f"{dataset.name}-clone")
    try:
        copy, other = clone.load_brain_results("sim"), reloaded(clone.clone())
        np.testing.assert_array_equal(copy.get_embeddings()[0], vectors(COUNT)[2:])
        assert copy.config.store == index.config.store
        copy.remove_from_index(sample_ids=copy.sample_ids[:10])
        assert (copy.total_index_size, index.total_index_size) == (48, 58)
        assert reloaded(clone).total_index_size == 48
        assert reloaded(dataset).total_index_size == 58
        assert clone.get_brain_info("sim").config.store.startswith(str(clone._doc.id))
        copy.add_to_index(np.ones((1, DIM)), [clone.first().id])
        assert other.total_index_size == 58
        dataset.delete_brain_run("sim")
        assert copy.total_index_size == 49
        assert other.total_index_size == 58
        other.cleanup()
        assert other.total_index_size == 58
    finally:
        fo.delete_dataset(clone.name)


def test_clone__an_index_that_is_open_follows_its_run(
    dataset: fo.Dataset, index: FaissSimilarityIndex, elsewhere: Elsewhere
) -> None:
    clone = dataset.clone()
    try:
        copy = clone.load_brain_results("sim")
        assert copy.total_index_size == COUNT
        code = "r = dataset.load_brain_results('sim'); r.remove_from_index(r.sample_ids[:1])"
        elsewhere(clone, code)
        assert copy.total_index_size == COUNT - 1
        assert index.total_index_size == COUNT
        fo.delete_dataset(dataset.name)
        assert copy.total_index_size == COUNT - 1
    finally:
        fo.delete_dataset(clone.name)


def test_rename__leaves_the_vectors_where_they_are(
    dataset: fo.Dataset, index: FaissSimilarityIndex
) -> None:
    folder = index._current.version.folder
    dataset.rename_brain_run("sim", "other")
    assert index.total_index_size == COUNT
    assert reloaded(dataset, "other")._current.version.folder == folder
    second = compute(dataset, embeddings=vectors(COUNT, seed=1))
    assert second._current.version.folder == folder.with_name("sim_2")
    dataset.delete_brain_run("sim")
    assert reloaded(dataset, "other").total_index_size == COUNT
    dataset.delete_brain_run("other")
    assert not folder.exists()


def test_cleanup__is_safe_to_repeat(dataset: fo.Dataset, index: FaissSimilarityIndex) -> None:
    folder = index._current.version.folder
    index.cleanup()
    index.cleanup()
    assert not folder.exists()
    assert index.total_index_size == 0
    dataset.delete_brain_run("sim")
    index.cleanup()
    with pytest.raises(ValueError, match="was deleted"):
        index.add_to_index(vectors(1), ["a"])
    assert not folder.exists()


def test_frames__are_searched_like_samples(dataset_factory: Callable, tmp_path: Path) -> None:
    dataset = dataset_factory("brain")
    sample = fo.Sample("/nowhere/video.mp4")
    for i in range(1, 6):
        sample.frames[i] = fo.Frame(filepath=f"/nowhere/{i}.png")
    dataset.add_sample(sample)
    frames = dataset.to_frames(sample_frames="dynamic")
    index = compute(frames, embeddings=vectors(5))
    assert index.sample_ids.tolist() == frames.values("id")
    assert frames.sort_by_similarity(vectors(5)[2], k=2, brain_key="sim").first().frame_number == 3
    assert reloaded(dataset).total_index_size == 5
    assert index._current.version.folder.parent.name == str(dataset._doc.id)


def test_groups__are_searched_over_all_slices(dataset_factory: Callable) -> None:
    dataset = dataset_factory("brain")
    dataset.add_group_field("group", default="left")
    for i in range(3):
        group = fo.Group()
        for name in ("left", "right"):
            element = group.element(name)
            dataset.add_sample(fo.Sample(f"/nowhere/{i}-{name}.png", group=element))
    slices = dataset.select_group_slices(["left", "right"])
    index = compute(slices, embeddings=vectors(6))
    assert index.index_size == 6
    found = slices.sort_by_similarity(vectors(6)[4], k=1, brain_key="sim").first()
    assert found.id == slices.values("id")[4]
    index.use_view(dataset.select_group_slices("right"))
    assert index.index_size == 3


def test_store__is_of_float32_from_elsewhere(
    dataset: fo.Dataset, index: FaissSimilarityIndex
) -> None:
    version = open_store(index._current.version.folder)
    assert version.dtype == np.float32
    assert version.info == {"kind": "external", "metric": "cosine", "field": ""}


def test_many_vectors__are_searched_by_lists(
    dataset_factory: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alphaclip.indexing.retrieval import snapshot

    monkeypatch.setattr(snapshot, "EXACT_LIMIT", 500)
    dataset, rows = images(dataset_factory, 10), vectors(2000, dim=16)
    index = compute(dataset, embeddings=False)
    index.add_to_index(rows, [f"{i:024x}" for i in range(2000)])
    found = index._kneighbors(rows[:50], k=1)[0]
    assert np.mean([ids[0] == f"{i:024x}" for i, ids in enumerate(found)]) > 0.95
    assert list((index._current.version.folder / "cache").iterdir())
