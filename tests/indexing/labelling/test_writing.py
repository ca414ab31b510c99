"""Answers written as copies and in place, what of people stays, and taking them back."""

from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.indexing.act.acting import Undone, undo
from alphaclip.indexing.act.actions import Action
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.records import new_key
from alphaclip.indexing.labelling import writing
from alphaclip.indexing.labelling.writing import check_into
from alphaclip.indexing.retrieval.hits import Hits

PICTURES = [[(0, 0.0), (1, 0.1)], [(2, 0.0)]]
NAMES = ("ant", "bee", "cat")


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    return make_dataset(PICTURES)


def hits_of(dataset: fo.Dataset) -> Hits:
    ids = dataset.values("boxes.detections.id")
    samples = [s for s, some in zip(dataset.values("id"), ids, strict=True) for _ in some]
    flat = [label for some in ids for label in some]
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    return Hits(np.array(samples), np.array(flat), np.full(3, "boxes"), scores, scores, dataset)


def write(
    dataset: fo.Dataset,
    into: str,
    labels: tuple[str, ...] = NAMES,
    made_of: str = "a",
    overwrite: bool = False,
) -> Action:
    """Writes a class for each of the three regions."""
    hits, run = hits_of(dataset), new_key()
    rest = {"model": "toy", "index_version": 7, "run": run, "made_of": made_of}
    rows = zip(hits.region_ids, labels, hits.scores.tolist(), strict=True)
    answers = {key: {"label": label, "score": score, **rest} for key, label, score in rows}
    return writing.write(hits, answers, into, run, overwrite)[0]


def everything(dataset: fo.Dataset) -> list[dict]:
    return list(dataset._sample_collection.find({}, {"last_modified_at": 0}).sort("_id", 1))


def copies(dataset: fo.Dataset) -> dict[str, fo.Detection]:
    return {d.source_id: d for d in dataset.values("auto.detections", unwind=True) if d}


def test_write__copies_carry_where_they_are_from(dataset: fo.Dataset) -> None:
    before, fields = everything(dataset), list(dataset.get_field_schema())
    action = write(dataset, "auto")
    assert (action.count, action.left) == (3, 0)
    found = copies(dataset)
    own = {d.id: d for d in dataset.values("boxes.detections", unwind=True)}
    for label_id, name in zip(hits_of(dataset).label_ids, NAMES, strict=True):
        copy = found[label_id]
        assert (copy.label, copy.model, copy.index_version) == (name, "toy", 7)
        assert (copy.run, copy.made_of) == (action.id, "a")
        assert copy.bounding_box == own[label_id].bounding_box
    assert found[hits_of(dataset).label_ids[0]].score == pytest.approx(0.9)
    assert undo(dataset, action) == Undone(3, 0)
    assert list(dataset.get_field_schema()) == fields
    assert [{k: v for k, v in d.items() if k != "auto"} for d in everything(dataset)] == before


def test_write__again_changes_nothing(dataset: fo.Dataset) -> None:
    for into in ("auto", "boxes.auto_label"):
        write(dataset, into)
        before = everything(dataset)
        action = write(dataset, into)
        assert (action.count, action.left) == (0, 3)
        assert everything(dataset) == before


def test_write__newer_answers_replace_older_and_come_back(dataset: fo.Dataset) -> None:
    write(dataset, "auto")
    before = everything(dataset)
    action = write(dataset, "auto", ("ant", "cat", "cat"))
    assert (action.count, action.left) == (1, 2)
    assert dataset.count_values("auto.detections.label") == {"ant": 1, "cat": 2}
    assert undo(dataset, action) == Undone(1, 0)
    assert dataset.count_values("auto.detections.label") == {"ant": 1, "bee": 1, "cat": 1}
    assert sorted(map(str, flat(everything(dataset)))) == sorted(map(str, flat(before)))
    edited = write(dataset, "auto", made_of="b")
    assert edited.count == 3


def flat(documents: list[dict]) -> list[dict]:
    return [label for document in documents for label in document["auto"]["detections"]]


def test_write__what_a_person_changed_stays_unless_asked(dataset: fo.Dataset) -> None:
    write(dataset, "auto")
    first = dataset.first()
    first.auto.detections[0].label = "mine"
    first.save()
    newer = ("cat", "cat", "cat")
    assert write(dataset, "auto", newer).count == 1
    assert dataset.count_values("auto.detections.label") == {"mine": 1, "cat": 2}
    action = write(dataset, "auto", newer, overwrite=True)
    assert action.count == 1
    assert dataset.count_values("auto.detections.label") == {"cat": 3}
    undo(dataset, action)
    assert dataset.count_values("auto.detections.label") == {"mine": 1, "cat": 2}


def test_write__in_place_and_back(dataset: fo.Dataset) -> None:
    before = everything(dataset)
    action = write(dataset, "boxes.auto_label")
    first = dataset.first().boxes.detections[0]
    assert (first.auto_label, first.auto_label_model) == ("ant", "toy")
    assert (first.auto_label_index_version, first.auto_label_run) == (7, action.id)
    assert first.auto_label_score == pytest.approx(0.9)
    newer = write(dataset, "boxes.auto_label", ("ant", "cat", "cat"))
    assert newer.count == 1
    assert undo(dataset, newer) == Undone(1, 0)
    assert dataset.count_values("boxes.detections.auto_label") == {"ant": 1, "bee": 1, "cat": 1}
    assert undo(dataset, action) == Undone(3, 0)
    assert everything(dataset) == before
    assert "boxes.detections.auto_label" not in dataset.get_field_schema(flat=True)


def test_write__human_labels_in_place_stay_unless_asked(dataset: fo.Dataset) -> None:
    first = dataset.first()
    first.boxes.detections[0].label = "mine"
    first.boxes.detections[1].label = ""
    first.save()
    assert write(dataset, "boxes.label").count == 2
    assert dataset.count_values("boxes.detections.label") == {"mine": 1, "bee": 1, "cat": 1}
    last = dataset.last()
    last.boxes.detections[0].label = "mine"
    last.save()
    assert write(dataset, "boxes.label", ("cat",) * 3).count == 1
    action = write(dataset, "boxes.label", overwrite=True)
    assert action.count == 3
    assert dataset.count_values("boxes.detections.label") == {"ant": 1, "bee": 1, "cat": 1}
    undo(dataset, action)
    assert dataset.count_values("boxes.detections.label") == {"mine": 2, "cat": 1}


def test_write__an_edit_between_is_not_undone(dataset: fo.Dataset) -> None:
    action = write(dataset, "boxes.auto_label")
    first = dataset.first()
    first.boxes.detections[0].auto_label = "mine"
    first.save()
    assert undo(dataset, action) == Undone(2, 1)
    assert dataset.count_values("boxes.detections.auto_label") == {"mine": 1, None: 2}


@pytest.mark.parametrize(
    ("into", "message"),
    [
        ("boxes", "own field"),
        ("others.label", "the index is of field 'boxes'"),
        ("boxes.a.b", "the index is of field 'boxes'"),
        ("boxes.", "attribute name is"),
        ("filepath", "gives a meaning"),
        ("frames", "gives a meaning"),
        ("save", "gives a meaning"),
        ("boxes.mask_path", "meaning of its own"),
        ("boxes.id", "meaning of its own"),
        ("boxes._cls", "a letter first"),
        ("boxes.tags", "meaning of its own"),
        ("boxes.points", "meaning of its own"),
        ("boxes.instance", "meaning of its own"),
        ("boxes.has_mask", "meaning of its own"),
        ("boxes.confidence", "meaning of its own"),
        ("boxes.source_id", "meaning of its own"),
        ("boxes.detections", "meaning of its own"),
        ("", "field name is"),
        ("../x", "the index is of field 'boxes'"),
        (5, "expected a field"),
    ],
)
def test_check_into__bad_names(dataset: fo.Dataset, into: str, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        check_into(dataset, "boxes", into)


def test_write__an_attribute_of_another_kind(dataset: fo.Dataset) -> None:
    dataset.add_sample_field("boxes.detections.weight", fo.FloatField)
    fields = list(dataset.get_field_schema(flat=True))
    for into, message in (
        ("boxes.weight", "is a FloatField, to be written is a StringField"),
        ("boxes.mask_path", "meaning of its own"),
    ):
        with pytest.raises(FieldError, match=message):
            write(dataset, into)
    assert list(dataset.get_field_schema(flat=True)) == fields


def test_write__the_class_of_a_label_itself(dataset: fo.Dataset) -> None:
    check_into(dataset, "boxes", "boxes.label")
    before = everything(dataset)
    action = write(dataset, "boxes.label")
    assert dataset.count_values("boxes.detections.label") == dict.fromkeys(NAMES, 1)
    assert undo(dataset, action) == Undone(3, 0)
    assert everything(dataset) == before
