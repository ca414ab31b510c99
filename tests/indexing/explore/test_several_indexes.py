"""Options of a search, several indexes at once, and what becomes of hits."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing, load
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.searches import Search
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.views.view import View


@pytest.fixture
def shapes(dataset: fo.Dataset, encoder: Encoder) -> RegionIndex:
    return indexing.build(dataset, "shape", encoder, key="shapes")


def test_search__an_example_of_the_index(dataset: fo.Dataset, index: RegionIndex) -> None:
    label = dataset.first().boxes.detections[2].id
    hits = index.search(indexing.Example(label), k=3)
    assert hits.label_ids[0] == label
    mixed = index.search(["red apple", indexing.Example(label)], k=12)
    assert mixed.label_ids[0] == label
    with pytest.raises(AlphaClipError, match="is not in index"):
        index.search(indexing.Example("0" * 24))


def test_search__what_to_avoid(dataset: fo.Dataset, index: RegionIndex) -> None:
    label = dataset.first().boxes.detections[2].id
    hits = index.search("red apple", k=12, negative=indexing.Example(label))
    assert (np.diff(hits.rank_scores) <= 0).all()
    plain = index.search("red apple", k=12)
    assert hits.label_ids.tolist().index(label) > plain.label_ids.tolist().index(label)
    scores = dict(zip(plain.label_ids, plain.scores, strict=True))
    np.testing.assert_allclose(hits.scores, [scores[i] for i in hits.label_ids], atol=1e-5)


def test_search__best_of_each_image_and_lowest_score(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    everything = index.search("red apple", k=12)
    best = index.search("red apple", per_image=True)
    assert sorted(best.sample_ids) == sorted(dataset.values("id"))
    assert best.label_ids[0] == everything.label_ids[0]
    limit = float(everything.scores[4])
    assert len(index.search("red apple", k=None, min_score=limit)) == 5
    least = index.search("red apple", k=12, reverse=True)
    assert least.label_ids.tolist() == everything.label_ids[::-1].tolist()


def test_search_many__is_what_single_searches_give(dataset: fo.Dataset, index: RegionIndex) -> None:
    queries = ["red apple", ["green", "blue"], np.ones(index.info()["dim"])]
    for view in (None, dataset.limit(2)):
        for query, hits in zip(queries, index.search_many(queries, 5, view), strict=True):
            assert hits.label_ids.tolist() == index.search(query, 5, view).label_ids.tolist()
        many = index.search_many(["red apple", "pear"], 5, view)
        assert many[1].label_ids.tolist() == index.search("pear", 5, view).label_ids.tolist()


def test_joint_search__one_ranking(
    dataset: fo.Dataset, index: RegionIndex, shapes: RegionIndex
) -> None:
    hits = indexing.search([index, shapes], "red apple", k=15)
    assert sorted(set(hits.fields)) == ["boxes", "shape"]
    assert (np.diff(hits.scores) <= 0).all()
    example = indexing.Example(dataset.first().shape.id)
    assert indexing.search([index, shapes], example, k=1).label_ids[0] == example.label_id
    best = indexing.search([index, shapes], "red apple", per_image=True)
    assert len(best) == len(set(best.sample_ids)) == 3
    view = hits.view()
    assert view.values("id") == list(dict.fromkeys(hits.sample_ids))


def test_joint__found_and_measured_together(
    dataset: fo.Dataset, index: RegionIndex, shapes: RegionIndex
) -> None:
    indexes = [index, shapes]
    search = Search(texts=("red apple",), negative_texts=("pear",), k=4)
    hits, spread = search.measure(indexes, dataset.limit(2))
    expected = indexing.search(indexes, "red apple", 4, dataset.limit(2), ["pear"])
    assert hits.label_ids.tolist() == expected.label_ids.tolist()
    assert len(spread) == 10


def test_hits_of__some_regions(
    dataset: fo.Dataset, index: RegionIndex, shapes: RegionIndex
) -> None:
    every = indexing.search([index, shapes], "red apple", k=15, negative="pear")
    some = every.take(np.array([9, 2, 14]))
    asked = [*some.label_ids.tolist(), "0" * 24]
    search = Search(texts=("red apple",), negative_texts=("pear",), k=1, min_score=1.0)
    hits = search.hits_of([index, shapes], asked)
    assert hits.label_ids.tolist() == every.label_ids[[2, 9, 14]].tolist()
    assert hits.fields.tolist() == every.fields[[2, 9, 14]].tolist()
    np.testing.assert_allclose(hits.scores, every.scores[[2, 9, 14]], atol=1e-6)
    assert len(search.hits_of([index], [])) == 0


def test_joint_search__bad_input(dataset: fo.Dataset, index: RegionIndex, dataset_factory) -> None:
    other = load("alphaclip-nano", view=View("image"))
    mixed = indexing.build(dataset, "shape", other, key="mixed")
    with pytest.raises(AlphaClipError, match="different encoders"):
        indexing.search([index, mixed], "red apple")
    with pytest.raises(AlphaClipError, match="is empty"):
        indexing.search([], "red apple")


def test_save_scores__into_the_labels(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("red apple", k=5)
    gone = dataset.select_labels(ids=[hits.label_ids[4]]).first().boxes.detections[0].id
    dataset.delete_labels(ids=[gone])
    hits.save_scores("apple")
    ids, values = dataset.values(["boxes.detections.id", "boxes.detections.apple"], unwind=True)
    found = {i: v for i, v in zip(ids, values, strict=True) if v is not None}
    expected = zip(hits.label_ids[:4].tolist(), hits.scores[:4].tolist(), strict=True)
    assert found == pytest.approx(dict(expected))


def test_save_scores__of_single_labels(dataset: fo.Dataset, shapes: RegionIndex) -> None:
    hits = shapes.search("triangle", k=2)
    hits.save_scores()
    values = dataset.values("shape.score")
    assert sum(value is not None for value in values) == 2
