"""Tags, labels, copies and saved views of hits, and taking them back."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act import acting
from alphaclip.indexing.act.acting import (
    Action,
    Undone,
    export_ids,
    history,
    label,
    save_view,
    tag,
    undo,
)
from alphaclip.indexing.retrieval.hits import Hits

ODD = 'it\'s "<b>כלב</b>" 🐕 \ud83d'


@pytest.fixture
def hits(dataset: fo.Dataset) -> Hits:
    """Five boxes, of all three pictures."""
    return hits_of(dataset, "boxes", [0, 1, 5, 8, 11])


def hits_of(dataset: fo.Dataset, field: str, places: list[int]) -> Hits:
    kind = "" if field == "shape" else ".detections"
    ids = dataset.values(f"{field}{kind}.id", unwind=True)
    samples = {label: s.id for s in dataset for label in labels_of(s[field])}
    chosen = [ids[place] for place in places]
    scores = np.linspace(0.3, 0.2, len(chosen), dtype=np.float32)
    of = np.array([samples[label] for label in chosen])
    return Hits(of, np.array(chosen), np.full(len(chosen), field), scores, scores, dataset)


def labels_of(value: fo.Label) -> list[str]:
    return [d.id for d in value.detections] if isinstance(value, fo.Detections) else [value.id]


def everything(dataset: fo.Dataset) -> list[dict]:
    """The documents of all samples, but for when they were changed."""
    found = dataset._sample_collection.find({}, {"last_modified_at": 0}).sort("_id", 1)
    return list(found)


def test_tag__and_back(dataset: fo.Dataset, hits: Hits) -> None:
    before = everything(dataset)
    action = tag(hits, "fruit")
    assert (action.kind, action.count, action.left) == ("tag", 5, 0)
    assert dataset.count_label_tags() == {"fruit": 5}
    assert sorted(dataset.match_labels(tags="fruit").values("id")) == sorted(set(hits.sample_ids))
    assert undo(dataset, action) == Undone(5, 0)
    assert everything(dataset) == before


def test_tag__those_that_have_it_keep_it(dataset: fo.Dataset, hits: Hits) -> None:
    dataset.select_labels(ids=hits.label_ids[:2].tolist()).tag_labels("fruit")
    action = tag(hits, "fruit")
    assert (action.count, action.left) == (3, 2)
    undo(dataset, action.id)
    assert dataset.count_label_tags() == {"fruit": 2}


def test_tag__null_tags_and_single_labels(dataset: fo.Dataset) -> None:
    dataset._sample_collection.update_many({}, {"$set": {"boxes.detections.$[].tags": None}})
    dataset._sample_collection.update_many({}, {"$unset": {"shape.tags": ""}})
    both = [hits_of(dataset, "boxes", [0, 4]), hits_of(dataset, "shape", [1, 2])]
    names = ("sample_ids", "label_ids", "fields", "scores", "rank_scores")
    hits = Hits(*(np.concatenate([getattr(h, n) for h in both]) for n in names), dataset)
    action = tag(hits, "odd")
    assert dataset.count_label_tags() == {"odd": 4}
    assert undo(dataset, action) == Undone(4, 0)
    assert dataset.count_label_tags() == {}


def test_undo__what_was_edited_since_stays(dataset: fo.Dataset, hits: Hits) -> None:
    action = tag(hits, "fruit")
    dataset.select_labels(ids=[hits.label_ids[0]]).untag_labels("fruit")
    dataset.delete_labels(ids=[hits.label_ids[4]])
    assert undo(dataset, action) == Undone(3, 2)
    assert dataset.count_label_tags() == {}
    with pytest.raises(AlphaClipError, match="taken back already"):
        undo(dataset, action)


def test_undo__of_another_dataset(
    dataset: fo.Dataset, hits: Hits, dataset_factory: Callable
) -> None:
    action = tag(hits, "fruit")
    with pytest.raises(AlphaClipError, match="has no action"):
        undo(dataset_factory(), action)


def test_label__only_where_there_is_none(dataset: fo.Dataset, hits: Hits) -> None:
    first = dataset.first()
    first.boxes.detections[0].label = None
    first.save()
    before = everything(dataset)
    action = label(hits, "apple")
    assert (action.count, action.left) == (1, 4)
    assert dataset.count_values("boxes.detections.label")["apple"] == 1
    assert undo(dataset, action) == Undone(1, 0)
    assert everything(dataset) == before


def test_label__in_place_where_asked(dataset: fo.Dataset, hits: Hits) -> None:
    before = everything(dataset)
    action = label(hits, ODD.encode("utf-8", "ignore").decode(), overwrite=True)
    assert action.count == 5
    assert undo(dataset, action) == Undone(5, 0)
    assert everything(dataset) == before
    again = label(hits, "apple", overwrite=True)
    mine = dataset.select_labels(ids=[hits.label_ids[2]])
    mine.set_field("boxes.detections.label", "mine").save()
    assert undo(dataset, again) == Undone(4, 1)
    labels = dataset.count_values("boxes.detections.label")
    assert labels["mine"] == 1 and "apple" not in labels


def test_label__in_another_attribute(dataset: fo.Dataset, hits: Hits) -> None:
    path = "boxes.detections.colour"
    ids = dataset.values("boxes.detections.id")
    dataset.set_values(path, [["red"] * len(some) for some in ids], dynamic=True)
    before = everything(dataset)
    assert label(hits, "green", attribute="colour").count == 0
    action = label(hits, "green", overwrite=True, attribute="colour")
    assert dataset.count_values(path)["green"] == action.count == 5
    assert label(hits, "green", overwrite=True, attribute="colour").left == 5
    assert undo(dataset, action) == Undone(5, 0)
    assert everything(dataset) == before


@pytest.mark.parametrize(
    ("attribute", "into", "message"),
    [
        ("color", None, "no label of field 'boxes' has 'color'"),
        ("bounding_box", None, "has a meaning of its own"),
        ("$set", None, "has '\\$set'"),
        ("colour", "copies", "attribute is for the hits' own labels"),
    ],
)
def test_label__attributes_that_cannot_be_written(
    dataset: fo.Dataset, hits: Hits, attribute: str, into: str | None, message: str
) -> None:
    before = everything(dataset)
    with pytest.raises(AlphaClipError, match=message):
        label(hits, "green", into, attribute=attribute)
    assert everything(dataset) == before


def test_label__samples_in_memory_see_it(dataset: fo.Dataset, hits: Hits) -> None:
    sample = dataset[hits.sample_ids[0]]
    action = label(hits, "apple", overwrite=True)
    assert sample.boxes.detections[0].label == "apple"
    undo(dataset, action)
    assert sample.boxes.detections[0].label == "00"


def test_label__into_a_new_field(dataset: fo.Dataset, hits: Hits) -> None:
    first = dataset[hits.sample_ids[0]]
    first.boxes.detections[0].mask = np.eye(5, dtype=bool)
    first.save()
    before, fields = everything(dataset), list(dataset.get_field_schema())
    action = label(hits, "apple", into="auto")
    assert (action.kind, action.count) == ("copy", 5)
    copies = {d.source_id: d for d in dataset.values("auto.detections", unwind=True)}
    assert sorted(copies) == sorted(hits.label_ids)
    own = {d.id: d for d in dataset.values("boxes.detections", unwind=True)}
    for source, copy in copies.items():
        assert copy.label == "apple" and copy.id != source
        assert copy.bounding_box == own[source].bounding_box
    np.testing.assert_array_equal(copies[hits.label_ids[0]].mask, np.eye(5, dtype=bool))
    assert copies[hits.label_ids[0]].score == pytest.approx(0.3)
    again = label(hits, "pear", into="auto")
    assert (again.count, again.left) == (0, 5)
    undo(dataset, again)
    assert undo(dataset, action) == Undone(5, 0)
    assert list(dataset.get_field_schema()) == fields
    assert without(everything(dataset), "auto") == before


def without(documents: list[dict], field: str) -> list[dict]:
    return [{k: v for k, v in d.items() if k != field} for d in documents]


def test_label__an_edited_copy_stays(dataset: fo.Dataset, hits: Hits) -> None:
    action = label(hits, "apple", into="auto")
    sample = dataset[hits.sample_ids[0]]
    sample.auto.detections[0].bounding_box = [0.5, 0.5, 0.1, 0.1]
    sample.save()
    assert undo(dataset, action) == Undone(4, 1)
    assert dataset.count("auto.detections") == 1


def test_label__into_of_polylines(dataset: fo.Dataset) -> None:
    action = label(hits_of(dataset, "shape", [0, 2]), "triangle", into="lines")
    assert dataset.count("lines.polylines") == 2
    line = dataset.first().lines.polylines[0]
    assert line.points == dataset.first().shape.points and line.closed and not line.filled
    assert undo(dataset, action) == Undone(2, 0)


@pytest.mark.parametrize(
    ("into", "message"),
    [
        ("boxes", "own field"),
        ("kind", "holds Classification"),
        ("shape", "the copies are Detections"),
        ("a.b", "expected at most 100"),
        ("filepath", "gives a meaning"),
        ("frames", "gives a meaning"),
        (5, "expected a text"),
    ],
)
def test_label__into_a_field_that_does_not_fit(
    dataset: fo.Dataset, hits: Hits, into: str, message: str
) -> None:
    before = everything(dataset)
    with pytest.raises(AlphaClipError, match=message):
        label(hits, "apple", into=into)
    assert everything(dataset) == before and history(dataset) == []


@pytest.mark.parametrize("text", ["", "  ", "x" * 1001, 5])
def test_tag_and_label__no_text(hits: Hits, text: str) -> None:
    for act in (tag, label):
        with pytest.raises(AlphaClipError, match="expected a text"):
            act(hits, text)


def test_save_view__and_back(dataset: fo.Dataset, hits: Hits) -> None:
    action = save_view(hits, "the best")
    view = dataset.load_saved_view("the best")
    assert view.values("id") == hits.label_ids.tolist()
    with pytest.raises(AlphaClipError, match="has a saved view"):
        save_view(hits, "the best")
    assert undo(dataset, action) == Undone(5, 0)
    assert dataset.list_saved_views() == []


def test_save_view__add(dataset: fo.Dataset, hits: Hits) -> None:
    save_view(hits, "best")
    more = hits_of(dataset, "boxes", [11, 2])
    action = save_view(more, "best", add=True)
    assert (action.count, action.left) == (1, 1)
    ids = [*hits.label_ids.tolist(), more.label_ids[1]]
    assert dataset.load_saved_view("best").values("id") == ids
    assert undo(dataset, action) == Undone(1, 0)
    assert dataset.load_saved_view("best").values("id") == hits.label_ids.tolist()


def test_save_view__one_of_somebody_else_stays(dataset: fo.Dataset, hits: Hits) -> None:
    dataset.save_view("mine", dataset.limit(1))
    with pytest.raises(AlphaClipError, match="made or edited elsewhere"):
        save_view(hits, "mine", add=True)
    action = save_view(hits, "best")
    dataset.save_view("best", dataset.limit(1), overwrite=True)
    assert undo(dataset, action) == Undone(0, 5)
    assert len(dataset.load_saved_view("best")) == 1


def test_history__newest_first_and_json(dataset: fo.Dataset, hits: Hits) -> None:
    done = [tag(hits, "a"), label(hits, "b"), save_view(hits, "c")]
    undo(dataset, done[1])
    expected = [done[2], replace(done[1], undone=True), done[0]]
    assert history(dataset) == expected
    assert history(dataset, 1) == expected[:1]
    for action in done:
        assert Action.from_dict(json.loads(json.dumps(action.to_dict()))) == action


def test_history__old_actions_are_forgotten(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphaclip.indexing.act.actions.MOST_ACTIONS", 2)
    done = [tag(hits, name) for name in "abc"]
    assert history(dataset) == done[:0:-1]
    with pytest.raises(AlphaClipError, match="has no action"):
        undo(dataset, done[0])


def test_acts__on_nothing(dataset: fo.Dataset, hits: Hits) -> None:
    nothing = Hits(*(c[:0] for c in (hits.sample_ids, hits.label_ids, hits.fields)),
                   hits.scores[:0], hits.scores[:0], dataset)  # fmt: skip
    for action in (tag(nothing, "a"), label(nothing, "b"), label(nothing, "c", into="d")):
        assert action.count == 0
        assert undo(dataset, action) == Undone(0, 0)
    with pytest.raises(AlphaClipError, match="no hits"):
        save_view(nothing, "e")


def test_export_ids__json(hits: Hits) -> None:
    listing = json.loads(export_ids(hits))
    assert listing["count"] == 5
    assert [row["label_id"] for row in listing["hits"]] == hits.label_ids.tolist()
    assert listing["hits"][0]["score"] == pytest.approx(0.3)


def test_begin__cut_off_before_the_write(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    before = everything(dataset)
    monkeypatch.setattr(acting, "write_labels", fail)
    with pytest.raises(KeyboardInterrupt):
        tag(hits, "fruit")
    monkeypatch.undo()
    assert undo(dataset, history(dataset)[0]) == Undone(0, 5)
    assert everything(dataset) == before


def test_acts__on_thousands_take_seconds(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    boxes = [[0.1, 0.1, 0.2, 0.2]] * 5
    # The samples are let go of at once: FiftyOne reads each that a process holds again, one by one.
    dataset.add_samples(
        (
            fo.Sample(
                f"/pictures/{i}.png",
                boxes=fo.Detections(detections=[fo.Detection(bounding_box=box) for box in boxes]),
            )
            for i in range(1000)
        ),
        progress=False,
    )
    ids = dataset.values("boxes.detections.id", unwind=True)
    of = np.repeat(dataset.values("id"), 5)
    scores = np.zeros(5000, np.float32)
    hits = Hits(of, np.array(ids), np.full(5000, "boxes"), scores, scores, dataset)
    started = time.monotonic()
    for action in (tag(hits, "a"), label(hits, "b"), label(hits, "c", into="d")):
        assert action.count == 5000
        assert undo(dataset, action) == Undone(5000, 0)
    assert time.monotonic() - started < 30


def many_hits(dataset: fo.Dataset, count: int) -> Hits:
    """Of one picture, and all of them gone."""
    ids, zeros = np.array([f"{number:024x}" for number in range(count)]), np.zeros(count)
    samples = np.full(count, dataset.first().id)
    return Hits(samples, ids, np.full(count, "boxes"), zeros, zeros, dataset)


def test_save_view__more_hits_than_a_view_can_name_are_refused(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_view(hits, "few")
    monkeypatch.setattr("alphaclip.indexing.act.saved_views._MOST_CHARACTERS", 20_000)
    for name, add in (("many", False), ("few", True)):
        with pytest.raises(AlphaClipError, match=r"hits take \d+ MB .*indexing\.tag"):
            save_view(many_hits(dataset, 800), name, add=add)
    assert dataset.list_saved_views() == ["few"]
    assert [action.detail["name"] for action in history(dataset)] == ["few"]
    assert len(dataset.load_saved_view("few")) == 5


@pytest.mark.parametrize("name", ["", " ", 5, None, "few" * 100_000, "Few"])
def test_save_view__what_cannot_be_saved_is_not_in_the_history(
    dataset: fo.Dataset, hits: Hits, name: str
) -> None:
    save_view(hits, "few")
    try:
        save_view(hits, name)
    except AlphaClipError:
        assert [action.detail["name"] for action in history(dataset)] == ["few"]
    else:
        assert dataset.has_saved_view(name)


@pytest.mark.parametrize("field", ["boxes", "shape"])
def test_view__of_more_hits_than_the_database_takes(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    hits = hits_of(dataset, field, [0, 1, 2])
    monkeypatch.setattr("alphaclip.indexing.dataset.labels._MOST_BYTES", 100_000)
    assert len(hits.view()) == 3
    monkeypatch.setattr("alphaclip.indexing.dataset.labels._MOST_BYTES", 300)
    with pytest.raises(AlphaClipError, match=r"indexing\.tag\(hits, name\)"):
        hits.view()


def test_view__of_more_hits_than_it_names(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = hits_of(dataset, "boxes", [0, 1, 2])
    monkeypatch.setattr("alphaclip.indexing.retrieval.hits.MOST", 2)
    with pytest.raises(AlphaClipError, match=r"names 2 hits at most, not 3: .*indexing\.tag"):
        hits.view()


def test_view__of_many_hits_is_that_of_few(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that were not hit, or are gone, are not in it; and it can be saved."""
    hits = hits_of(dataset, "boxes", [8, 0, 11, 1])
    gone = replace(hits, label_ids=np.array([*hits.label_ids[:3].tolist(), "f" * 24]))
    for some in (hits, gone):
        few = some.view()
        monkeypatch.setattr("alphaclip.indexing.retrieval.hits._FEW", 1)
        many = some.view()
        columns = ["id", "sample_id", "filepath", "boxes.label", "boxes.bounding_box"]
        assert many.values(columns) == few.values(columns)
        assert many.get_field_schema().keys() == few.get_field_schema().keys()
        monkeypatch.undo()
    monkeypatch.setattr("alphaclip.indexing.retrieval.hits._FEW", 1)
    action = save_view(hits, "many")
    assert dataset.load_saved_view("many").values("id") == hits.label_ids.tolist()
    assert undo(dataset, action) == Undone(4, 0)
