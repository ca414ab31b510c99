"""What the public functions of this house are given: numbers of NumPy, and what is none of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.region_index import RegionIndex

SIX = np.int64(6)


@pytest.fixture(scope="module")
def index(dataset_factory: Callable, tmp_path_factory: pytest.TempPathFactory) -> RegionIndex:
    """Of six boxes on three pictures; no test changes it."""
    dataset, rng = dataset_factory("arguments"), np.random.default_rng(0)
    for number in range(3):
        path = tmp_path_factory.getbasetemp() / f"arguments-{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        boxes = [[0.1 + 0.3 * i, 0.2, 0.3, 0.5] for i in range(2)]
        labels = [fo.Detection(label=f"box {i}", bounding_box=b) for i, b in enumerate(boxes)]
        dataset.add_sample(fo.Sample(path, boxes=fo.Detections(detections=labels)))
    return indexing.build(dataset, "boxes", "alphaclip-nano", progress=False)


@pytest.mark.parametrize("k", [3, np.int64(3), np.uint8(3), np.array(3), 3.0])
def test_search__takes_whole_numbers_of_any_kind(index: RegionIndex, k: Any) -> None:
    hits = index.search("a box", k=k, per_image=np.False_, min_score=np.float32(-1))
    assert hits.label_ids.tolist() == index.search("a box", k=3).label_ids.tolist()
    assert len(indexing.search(index, "a box", k=k)) == 3
    assert len(indexing.find_outliers(index, count=k, progress=False)) == 3


def test_search__takes_its_own_scores_as_thresholds(index: RegionIndex) -> None:
    vector = index.vectors(np.array([0]))[0] * 1.000001
    best = index.search(vector, k=1)
    assert len(index.search(vector, k=1, min_score=best.scores[0])) == 1


def test_search_many__of_all_and_of_nothing(index: RegionIndex) -> None:
    assert index.search_many([]) == []
    assert index.search_many([], k=None) == []
    found = index.search_many(["a box", "a ball"], k=None)
    assert [len(hits) for hits in found] == [6, 6]
    for hits, query in zip(found, ("a box", "a ball"), strict=True):
        assert hits.label_ids.tolist() == index.search(query, k=None).label_ids.tolist()
    rows = index.search_many(index.vectors(np.arange(2)), k=SIX)
    assert [hits.label_ids[0] for hits in rows] == [
        index.search(vector, k=1).label_ids[0] for vector in index.vectors(np.arange(2))
    ]


def test_export__takes_an_index(index: RegionIndex) -> None:
    copy = indexing.export(index, "sklearn", "copy", batch_size=np.int64(4))
    assert copy.total_index_size == 6
    index.dataset.delete_brain_run("copy")


def test_settings__are_json(index: RegionIndex) -> None:
    settings = LabelSettings(precision=np.float32(0.5), sample=np.int64(5), seed=np.int64(1))
    assert [type(value) for value in (settings.precision, settings.sample, settings.seed)] == [
        float, int, int,
    ]  # fmt: skip


CALLS: list[tuple[Callable[[RegionIndex], Any], str]] = [
    (lambda i: i.search("a", k=True), "k is True: expected a whole number of at least 1, or None"),
    (lambda i: i.search("a", k="3"), "k is '3'"),
    (lambda i: i.search("a", min_score="0.1"), "min_score is '0.1': expected a cosine in"),
    (lambda i: i.search("a", min_score=7), "min_score is 7"),
    (lambda i: i.search("a", view="mine"), "view is 'mine': .*load_saved_view"),
    (lambda i: i.search("a", view=["id"]), "expected a FiftyOne dataset or view"),
    (lambda i: i.search("a", per_image="no"), "per_image is 'no': expected True or False"),
    (lambda i: i.search("a", weights="1"), "weights is '1': expected a list of numbers"),
    (lambda i: i.search("a", weights=1), "expected a list of numbers"),
    (lambda i: i.search(["a", "b"], weights=[1, "2"]), "expected a list of numbers"),
    (lambda i: i.search("a", aggregate=["max"]), "aggregate is .*: expected one of max, mean"),
    (lambda i: i.search(np.array(["a"])), "expected numbers"),
    (lambda i: i.search("a", negative=np.ones(3)), "the index holds vectors of"),
    (lambda i: i.search([np.ones(3), "a"]), "the index holds vectors of"),
    (lambda i: i.search(7), "query is a int"),
    (lambda i: i.search(indexing.Example(7)), "label_id is 7"),
    (lambda i: i.search_many("abc"), "queries is 'abc': expected a list of queries"),
    (lambda i: i.search_many(None), "queries is None"),
    (lambda i: i.search_many(["a"], k=0), "k is 0"),
    (lambda i: i.tag("a", "t", "0.1"), "min_score is '0.1'"),
    (lambda i: i.tag("a", "t", 0.9, samples="yes"), "samples is 'yes'"),
    (lambda i: i.label("abc"), "classes is 'abc': expected a list of classes"),
    (lambda i: i.label(7), "expected a list of classes"),
    (lambda i: i.label(["a"], precision="0.9"), "precision is '0.9'"),
    (lambda i: i.label(["a"], confidence=2), "confidence is 2"),
    (lambda i: i.label(["a"], training=["x"]), "training is .*: expected a dict of label ids"),
    (lambda i: i.label(["a"], reviews=7), "reviews is 7"),
    (lambda i: i.label(["a"], precision=0.5, sample=True), "sample is True"),
    (lambda i: i.update(progress="bar"), "progress is 'bar'"),
    (lambda i: indexing.search(None, "a"), "indexes is None"),
    (lambda i: indexing.search([i, "regions"], "a"), "expected indexes"),
    (lambda i: indexing.load("arguments"), "dataset is 'arguments': .*fo.load_dataset"),
    (lambda i: indexing.load(i.dataset.view()), "expected a FiftyOne dataset"),
    (lambda i: indexing.load(i.dataset, 7), "key is 7: expected a text"),
    (lambda i: indexing.build("arguments", "boxes"), "samples is 'arguments'"),
    (lambda i: indexing.build(i.dataset, ["boxes"]), "field is"),
    (lambda i: indexing.build(i.dataset, "boxes", 7, "new"), "encoder is 7"),
    (lambda i: indexing.build(i.dataset, "boxes", key=None), "key is None"),
    (lambda i: indexing.build(i.dataset, "boxes", overwrite="no"), "overwrite is 'no'"),
    (lambda i: indexing.build(i.dataset, "boxes", identify="name"), "expected one of stat, conte"),
    (lambda i: indexing.embed_part(7), "folder is 7"),
    (lambda i: indexing.embed_part("/nowhere", part="1/2"), "part is '1/2'"),
    (lambda i: indexing.merge_plan(i), "expected a FiftyOne dataset"),
    (lambda i: indexing.resume(i.dataset, 7), "key is 7: expected a text"),
    (lambda i: indexing.unfinished("arguments"), "dataset is 'arguments'"),
    (lambda i: indexing.segment_one(i.dataset, points_per_side=0), "points_per_side is 0"),
    (lambda i: indexing.distribution(i, "a", bins=0), "bins is 0"),
    (lambda i: indexing.count_above(i, "a", None), "min_score is None"),
    (lambda i: indexing.count_above("regions", "a", 0.1), "index is 'regions'"),
    (lambda i: indexing.find_outliers(i, count="5"), "count is '5'"),
    (lambda i: indexing.find_label_errors(i, by="all"), "by is 'all': expected one of auto"),
    (lambda i: indexing.find_label_errors(i, templates="a {}"), "templates is 'a {}'"),
    (lambda i: indexing.find_pictures(i, "cat"), "present is 'cat': expected a list of queries"),
    (lambda i: indexing.find_pictures(i, ["a"], "cat"), "absent is 'cat'"),
    (lambda i: indexing.find_pictures(i, ["a"], max_absent="1"), "max_absent is '1'"),
    (lambda i: indexing.find_unlabelled(i, "a", 7), "label_fields is 7"),
    (lambda i: indexing.find_unlabelled(i, "a", "x", max_iou=2), "max_iou is 2"),
    (lambda i: indexing.refine(i, "a", "abc", []), "right is 'abc': expected a list of texts"),
    (lambda i: indexing.explain_region(i, 7, "a"), "label_id is 7"),
    (lambda i: indexing.explain_region(i, i.search("a").label_ids[0], "a", cells=1), "cells is 1"),
    (lambda i: indexing.history(i.dataset, "5"), "count is '5'"),
    (lambda i: indexing.undo(i.dataset, 7), "action is 7"),
    (lambda i: indexing.recent("arguments"), "dataset is 'arguments'"),
    (lambda i: indexing.remember(i.dataset, "a"), "search is 'a'"),
    (lambda i: indexing.tag(["id"], "t"), "hits is .*: expected hits"),
    (lambda i: indexing.tag_samples(i.dataset, "t"), "expected hits"),
    (lambda i: indexing.label(i.search("a"), "b", into=7), "into is 7"),
    (lambda i: indexing.save_view(i.search("a"), 7), "name is 7"),
    (lambda i: indexing.save_view(i.search("a"), "v", add="yes"), "add is 'yes'"),
    (lambda i: indexing.export_ids("hits"), "hits is 'hits'"),
    (lambda i: indexing.segment(i.dataset, 7), "field is 7"),
    (lambda i: indexing.segment(i.dataset, "boxes", model=7), "model is 7"),
    (lambda i: indexing.segment(i.dataset, "boxes", limits={}), "limits is"),
    (lambda i: indexing.segment(i.dataset, points_per_side=True), "points_per_side is True"),
    (lambda i: indexing.materialize(i.dataset, "boxes", "b", min_area="0"), "min_area is '0'"),
    (lambda i: indexing.Search(texts=["a"], mode="all"), "mode is 'all': expected one of regions"),
    (lambda i: indexing.export(i, "sklearn", "copy", batch_size=True), "batch_size is True"),
    (lambda i: indexing.export(i, "nope", "copy"), "backend is 'nope': expected one of .*sklearn"),
    (lambda i: indexing.export(i, ["sklearn"], "copy"), "backend is"),
    (lambda i: indexing.export(i, "sklearn", "a copy"), "brain_key is 'a copy'"),
    (lambda i: indexing.export("regions", "sklearn", "copy"), "index is 'regions'"),
]


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[message for _, message in CALLS])
def test_functions__name_what_they_cannot_take(
    index: RegionIndex, call: Callable, message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        call(index)
    assert index.dataset.list_brain_runs() == ["regions"]


BRAIN: list[tuple[Callable[[Any], Any], str]] = [
    (lambda b: b._kneighbors(query=np.ones(8), k=True), "k is True"),
    (lambda b: b._kneighbors(query=np.ones(8), k="3"), "k is '3'"),
    (lambda b: b._kneighbors(query=[[1, 2], [3]]), "neither ids nor vectors"),
    (lambda b: b._kneighbors(query={"a": 1}), "not in the index"),
    (lambda b: b._radius_neighbors(query=np.ones(8), thresh="0.1"), "thresh is '0.1'"),
    (lambda b: b.find_duplicates(thresh=float("nan")), "thresh is nan"),
    (lambda b: b.find_duplicates(fraction=2), "fraction is 2"),
    (lambda b: b.find_unique("3"), "count is '3'"),
    (lambda b: b.find_unique(True), "count is True"),
    (lambda b: b.get_embeddings(sample_ids=7, allow_missing=False), "not in the index, as 7"),
    (lambda b: b.add_to_index(np.ones((1, 8)), ["a"], overwrite="no"), "overwrite is 'no'"),
]


@pytest.fixture(scope="module")
def run(index: RegionIndex) -> Any:
    """A Brain run without a key, so without a document."""
    indexing.register_backend()
    vectors = np.random.default_rng(0).random((3, 8))
    return fob.compute_similarity(index.dataset, embeddings=vectors, backend="faiss")


@pytest.mark.parametrize(("call", "message"), BRAIN, ids=[message for _, message in BRAIN])
def test_brain__names_what_it_cannot_take(run: Any, call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(run)


def test_brain__takes_numbers_of_numpy(run: Any) -> None:
    assert len(run._kneighbors(query=np.ones(8), k=np.int64(2))[0]) == 2
    run.find_unique(np.int64(2))
    assert len(run.unique_ids) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "sklearn", "copy"], "has no index 'nope'; it has: regions"),
        (["regions", "nope", "copy"], "backend is 'nope': expected one of "),
        (["regions", "sklearn", "a key"], "brain_key is 'a key': expected letters"),
        (["regions", "sklearn", "regions"], "choose another key"),
        (["regions", "qdrant", "copy"], "backend 'qdrant' cannot be set up: "),
    ],
)
def test_cli_export__says_what_is_wrong(
    index: RegionIndex, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    assert main(["index", "export", index.dataset.name, *arguments]) == 1
    assert message in capsys.readouterr().err
    assert index.dataset.list_brain_runs() == ["regions"]


def test_cli_verify__says_which_indexes_there_are(
    index: RegionIndex, capsys: pytest.CaptureFixture
) -> None:
    assert main(["index", "verify", index.dataset.name, "nope"]) == 1
    assert "it has: regions" in capsys.readouterr().err
