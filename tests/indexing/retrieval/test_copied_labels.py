"""Labels that were copied to another sample keep their ids: what is done to one leaves the other.

The pictures "one" and "two" have two boxes each; "copy" has those of "one", under the same ids,
of another picture.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import Example
from alphaclip.indexing.act.acting import label, save_view, tag, undo
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.explore.unlabelled import find_unlabelled
from alphaclip.indexing.labelling.review.runs import add_reviews
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.hit_listing import list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.similarity import FaissSimilarityConfig

BOXES = ([0.1, 0.1, 0.3, 0.5], [0.5, 0.2, 0.4, 0.6])


def picture(folder: Path, name: str, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    return str(path)


def boxes(*names: str) -> fo.Detections:
    both = zip(names, BOXES, strict=True)
    return fo.Detections(detections=[fo.Detection(label=n, bounding_box=b) for n, b in both])


@pytest.fixture(scope="module")
def dataset(dataset_factory: Callable, tmp_path_factory: pytest.TempPathFactory) -> fo.Dataset:
    folder, dataset = tmp_path_factory.mktemp("pictures"), dataset_factory()
    one = fo.Sample(picture(folder, "one", 0), name="one", boxes=boxes("a", "b"))
    dataset.add_sample(one)
    dataset.add_sample(fo.Sample(picture(folder, "two", 1), name="two", boxes=boxes("c", "d")))
    copied = fo.Detections.from_dict(one.boxes.to_dict())
    dataset.add_sample(fo.Sample(picture(folder, "copy", 2), name="copy", boxes=copied))
    return dataset


@pytest.fixture(scope="module")
def index(dataset: fo.Dataset, encoder: Encoder) -> RegionIndex:
    return indexing.build(dataset, "boxes", encoder)


@pytest.fixture
def hits(index: RegionIndex) -> Hits:
    return index.search("a red apple", k=None)


@pytest.fixture
def ids(dataset: fo.Dataset) -> dict[str, str]:
    return dict(zip(*dataset.values(["name", "id"]), strict=True))


def of(hits: Hits, *samples: str) -> Hits:
    return hits.take(np.isin(hits.sample_ids, samples))


def labels_of(dataset: fo.Dataset, name: str, attribute: str) -> list:
    return dataset.match({"name": name}).values(f"boxes.detections.{attribute}", unwind=True)


def test_build__every_region_has_its_own_vector(index: RegionIndex, hits: Hits) -> None:
    assert len(hits) == len(set(hits.region_ids)) == 6
    assert len(set(hits.label_ids.tolist())) == 4
    assert len(np.unique(index.vectors(np.arange(6)), axis=0)) == 6
    assert not index.info()["report"]["skipped"]


def test_update__nothing_is_new(index: RegionIndex) -> None:
    assert index.freshness().is_fresh
    report = index.update()
    assert (report.regions, report.kept) == (6, 6)


@pytest.mark.parametrize("name", ["one", "copy", "two"])
@pytest.mark.parametrize("kind", ["samples", "patches", "grouped"])
def test_search__in_a_view_of_one_of_them(
    dataset: fo.Dataset, index: RegionIndex, ids: dict[str, str], name: str, kind: str
) -> None:
    view = dataset.select(ids[name])
    if kind != "samples":
        view = view.to_patches("boxes") if kind == "patches" else view.group_by("name")
    found = index.search("a red apple", k=None, view=view)
    assert set(found.sample_ids.tolist()) == {ids[name]}
    assert len(found) == 2
    (several,) = index.search_many(["a red apple"], view=view)
    assert several.region_ids == found.region_ids


def test_search__an_index_of_one_in_a_view_of_the_other(
    dataset: fo.Dataset, encoder: Encoder, ids: dict[str, str]
) -> None:
    some = indexing.build(dataset.select(ids["one"]), "boxes", encoder, "some")
    assert len(some.search("a red apple", view=dataset.select(ids["copy"]))) == 0
    results = dataset.load_brain_results("some")
    assert results.use_view(dataset.select(ids["copy"])).index_size == 0
    some.delete()


def test_examples__each_by_its_name(index: RegionIndex, hits: Hits, ids: dict[str, str]) -> None:
    names = index.names(hits)
    assert len(set(names)) == 6
    for name, region in zip(names, hits.region_ids, strict=True):
        assert index.search(Example(name), k=1).region_ids == [region]
    shared = of(hits, ids["copy"]).label_ids[0]
    assert index.search(Example(str(shared)), k=1).sample_ids[0] == ids["one"]
    assert index.search(Example(f"{ids['copy']}-{shared}"), k=1).sample_ids[0] == ids["copy"]
    with pytest.raises(AlphaClipError, match="is not in index"):
        index.search(Example(f"{ids['two']}-{shared}"))


def test_list_hits__each_with_its_own_picture(hits: Hits, dataset: fo.Dataset) -> None:
    paths = dict(zip(*dataset.values(["id", "filepath"]), strict=True))
    listed = list_hits(hits)
    assert [(one.sample_id, one.label_id) for one in listed] == hits.region_ids
    assert [one.image for one in listed] == [paths[sample] for sample in hits.sample_ids]


def test_refine__marks_of_one(index: RegionIndex, ids: dict[str, str], hits: Hits) -> None:
    shared = str(of(hits, ids["copy"]).label_ids[0])
    copy = f"{ids['copy']}-{shared}"
    vector = indexing.refine(index, "a red apple", right=[copy], wrong=[shared])
    found = index.search(vector, k=None).region_ids
    assert found.index((ids["copy"], shared)) < found.index((ids["one"], shared))


@pytest.mark.parametrize("few", [1000, 0])
def test_view__only_what_was_found(
    dataset: fo.Dataset,
    hits: Hits,
    ids: dict[str, str],
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alphaclip.indexing.retrieval.hits._FEW", few)
    one, copy = of(hits, ids["one"]), of(hits, ids["copy"])
    assert of(hits, ids["copy"], ids["two"]).view()._is_patches
    both = of(hits, ids["one"], ids["copy"]).view()
    assert not both._is_patches
    assert both.count("boxes.detections") == 4
    other = next(i for i, label_id in enumerate(copy.label_ids) if label_id != one.label_ids[0])
    mixed = Hits.joined([one.take(slice(1)), copy.take(slice(other, other + 1))], None)
    view = mixed.view()
    assert view._is_patches
    assert list(zip(*view.values(["sample_id", "id"]), strict=True)) == mixed.region_ids


def test_find_unlabelled__each_in_its_picture(
    dataset: fo.Dataset, index: RegionIndex, ids: dict[str, str]
) -> None:
    dataset.add_sample_field("drawn", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    sample = dataset[ids["one"]]
    sample["drawn"] = boxes("x", "y")
    sample.save()
    info = dataset.get_field("boxes")
    info.info = {"alphaclip": {"kind": "sam", "field": None}}
    info.save()
    found = find_unlabelled(index, "a red apple", "drawn", k=10)
    dataset.delete_sample_field("drawn")
    assert set(found.sample_ids.tolist()) == {ids["two"], ids["copy"]}
    assert len(found) == 4


def test_tag__one_of_them(dataset: fo.Dataset, hits: Hits, ids: dict[str, str]) -> None:
    action = tag(of(hits, ids["copy"]), "seen")
    assert (action.count, action.left) == (2, 0)
    assert labels_of(dataset, "copy", "tags") == ["seen", "seen"]
    assert labels_of(dataset, "one", "tags") == []
    assert tag(hits, "seen").left == 2
    for one in indexing.history(dataset, 2):
        undo(dataset, one)
    assert dataset.count("boxes.detections.tags") == 0


def test_label__one_of_them(dataset: fo.Dataset, hits: Hits, ids: dict[str, str]) -> None:
    action = label(of(hits, ids["copy"]), "kite", overwrite=True)
    assert labels_of(dataset, "copy", "label") == ["kite", "kite"]
    assert labels_of(dataset, "one", "label") == ["a", "b"]
    rows = indexing.load(dataset).ids
    names = names_of(dataset, "boxes", "label", rows)
    expected = {ids["one"]: {"a", "b"}, ids["two"]: {"c", "d"}, ids["copy"]: {"kite"}}
    for sample, name in zip(rows.sample_ids, names, strict=True):
        assert name in expected[sample.decode()]
    undo(dataset, action)
    assert labels_of(dataset, "copy", "label") == ["a", "b"]


def test_copies__one_for_each(dataset: fo.Dataset, hits: Hits, ids: dict[str, str]) -> None:
    first = label(of(hits, ids["one"]), "kite", into="found")
    assert (first.count, first.left) == (2, 0)
    rest = label(hits, "kite", into="found")
    assert (rest.count, rest.left) == (4, 2)
    assert [len(some.detections) for some in dataset.values("found")] == [2, 2, 2]
    assert (undo(dataset, rest).restored, undo(dataset, first).restored) == (4, 2)
    assert not dataset.has_field("found")


def test_copies__of_a_field_and_of_its_clone(
    dataset: fo.Dataset, encoder: Encoder, index: RegionIndex
) -> None:
    dataset.clone_sample_field("boxes", "clone")
    other = indexing.build(dataset, "clone", encoder, "clone")
    hits = indexing.search([index, other], "a red apple", k=None)
    action = label(hits, "kite", into="found")
    assert (action.count, action.left, len(hits)) == (12, 0, 12)
    again = label(hits, "kite", into="found")
    assert (again.count, again.left) == (0, 12)
    undo(dataset, action)
    other.delete()
    dataset.delete_sample_field("clone")


def test_save_view__the_other_is_added(
    dataset: fo.Dataset, hits: Hits, ids: dict[str, str]
) -> None:
    first = save_view(of(hits, ids["one"]), "kites")
    more = save_view(of(hits, ids["one"], ids["copy"]), "kites", add=True)
    assert (more.count, more.left) == (2, 2)
    assert dataset.load_saved_view("kites").count("boxes.detections") == 4
    undo(dataset, more)
    assert len(dataset.load_saved_view("kites")) == 2
    undo(dataset, first)


def test_save_scores__of_one(dataset: fo.Dataset, hits: Hits, ids: dict[str, str]) -> None:
    of(hits, ids["copy"]).save_scores("likeness")
    assert all(isinstance(one, float) for one in labels_of(dataset, "copy", "likeness"))
    assert labels_of(dataset, "one", "likeness") == [None, None]
    dataset.delete_sample_field("boxes.detections.likeness")


@pytest.fixture
def auto(dataset: fo.Dataset) -> Iterator[str]:
    yield "auto"
    dataset.delete_sample_field("auto")


def test_labelling__each_gets_its_own(
    dataset: fo.Dataset, index: RegionIndex, auto: str, ids: dict[str, str]
) -> None:
    """Each region waits for a review under a name of its own, and is written once."""
    classes = ["a red apple", "a green square"]
    report = index.label(classes, into=auto)
    assert report.counts["written"] == 6
    copies = dict(zip(*dataset.values(["id", "auto.detections"]), strict=True))
    assert [len(some) for some in copies.values()] == [2, 2, 2]
    assert index.label(classes, into=auto).counts["written"] == 0
    shared = labels_of(dataset, "one", "id")[0]
    name = f"{ids['copy']}-{shared}"
    add_reviews(dataset, auto, {name: "a green square", shared: "a red apple"})
    index.label(classes, into=auto)
    written = {
        sample.name: next(d.label for d in sample.auto.detections if d.source_id == shared)
        for sample in dataset
        if sample.name != "two"
    }
    assert written == {"one": "a red apple", "copy": "a green square"}


def test_brain__views_and_ids(dataset: fo.Dataset, index: RegionIndex, ids: dict[str, str]) -> None:
    results = dataset.load_brain_results("regions")
    everything, samples, labels = results.get_embeddings(label_ids=results.label_ids)
    assert set(zip(samples, labels, strict=True)) == set(
        zip(results.sample_ids, results.label_ids, strict=True)
    )
    assert len(np.unique(everything, axis=0)) == 6
    with results.use_view(dataset.select(ids["copy"])):
        assert set(results.current_sample_ids) == {ids["copy"]}
        assert (results.index_size, results.missing_size) == (2, None)
        found, _ = results._kneighbors(query=everything[0], k=5)
        assert set(found) == {ids["copy"]}
    results.find_duplicates(thresh=2)
    assert len(results.unique_ids) == 1
    assert len(set(results.unique_ids + results.duplicate_ids)) == 6
    with pytest.raises(AlphaClipError, match="2 label ids are in several samples"):
        indexing.export(results, "sklearn", "other")
    assert not dataset.has_brain_run("other")
    copied = indexing.export(results, FaissSimilarityConfig, "other")
    assert copied.total_index_size == 6
    copied.remove_from_index(label_ids=[str(copied.names[np.char.find(copied.names, "-") > 0][0])])
    assert copied.total_index_size == 5
    copied.remove_from_index(label_ids=copied.label_ids)
    assert copied.total_index_size == 0
    dataset.delete_brain_run("other")


def test_update__only_the_edited_one(
    dataset: fo.Dataset, encoder: Encoder, ids: dict[str, str]
) -> None:
    index = indexing.build(dataset, "boxes", encoder, "edited")
    sample = dataset[ids["copy"]]
    before = sample.boxes.copy()
    sample.boxes.detections[0].bounding_box = [0, 0, 0.2, 0.2]
    sample.save()
    fresh = index.freshness()
    assert (fresh.held, fresh.edited, fresh.missing, fresh.gone) == (5, 1, 0, 0)
    report = index.update()
    assert (report.kept, report.edited, report.gone) == (5, 1, 0)
    sample.boxes.detections[:] = before.detections
    sample.boxes.detections.append(before.detections[1])
    sample.save()
    for _ in range(2):
        report = index.update()
        assert report.regions == 6
        assert [one.reason for one in report.skipped] == [
            "its id occurs twice: a region has one vector"
        ]
        assert index.freshness().is_fresh
    sample.boxes.detections.pop()
    sample.save()
    index.delete()
