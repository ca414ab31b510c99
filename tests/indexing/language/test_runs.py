"""Regions that a language model describes, and is asked about."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.files import StoreBusyError, StoreError
from alphaclip.indexing import history, load, undo
from alphaclip.indexing.dataset.locations import own_folder
from alphaclip.indexing.labelling.review.queueing import ReviewItem, ReviewQueue
from alphaclip.indexing.language.runs import describing
from alphaclip.indexing.region_index import RegionIndex
from tests.indexing.language.fakes import FakeDescriber

BOXES = ((0, 0.1), (1, 0.2), (2, 0.3), (0, 0.45), (1, 0.7))
ROOT = Path(__file__).resolve().parents[3]
QUIET = {"progress": lambda *counts: None}


@pytest.fixture
def index(make_dataset: Callable, make_index: Callable) -> RegionIndex:
    """Five regions in two pictures."""
    return make_index(make_dataset([BOXES[:3], BOXES[3:]]))


def values(index: RegionIndex, name: str) -> list[Any]:
    """What the labels have in an attribute, from left to right."""
    index.dataset.reload()
    labels = [label for sample in index.dataset for label in sample.boxes.detections]
    return [
        label[name] if label.has_field(name) else None
        for label in sorted(labels, key=lambda label: label.bounding_box[0])
    ]


def edit(index: RegionIndex, left: float, **attributes: Any) -> None:
    """Changes the label whose box begins there."""
    for sample in index.dataset:
        for label in sample.boxes.detections:
            if label.bounding_box[0] == left:
                for name, value in attributes.items():
                    label[name] = value
        sample.save()


@pytest.mark.parametrize("sees", ["vectors", "painted"])
def test_describe__writes_what_is_said_and_asks_once(index: RegionIndex, sees: str) -> None:
    model = FakeDescriber(sees)
    report = index.describe(model=model, **QUIET)
    captions = values(index, "caption")
    assert [text.rpartition(" ")[2] for text in captions] == [
        "0.100",
        "0.200",
        "0.300",
        "0.450",
        "0.700",
    ]
    if sees == "vectors":
        assert captions[0] == "1.0 at 0.100"
    else:
        assert captions[0].startswith(Path(index.dataset.first().filepath).stem)
    assert values(index, "caption_by") == [f"fake@{model.fingerprint}"] * 5
    assert values(index, "caption_loglik") == [-0.5] * 5
    assert (report.asked, report.written, report.answered_before) == (5, 5, 0)
    assert "5 asked now" in str(report) and "'boxes.caption'" in str(report)

    again = index.describe(model=model, **QUIET)
    assert len(model.shown) == 5
    assert (again.asked, again.written, again.answered_before, again.action) == (0, 0, 5, None)


def test_describe__an_edited_region_is_asked_again_and_nothing_else(
    index: RegionIndex, make_dataset: Any
) -> None:
    model = FakeDescriber()
    index.describe(model=model, **QUIET)
    edit(index, 0.2, bounding_box=[0.25, 0.2, 0.1, 0.1])
    make_dataset.add(index.dataset, [[(2, 0.9)]])
    index._built_with = index.encoder
    index.update(progress=lambda *_: None)
    report = index.describe(model=model, **QUIET)
    assert sorted(left for left, _ in model.shown[5:]) == [0.25, 0.9]
    assert (report.asked, report.written, report.left) == (2, 2, 0)
    assert values(index, "caption")[1] == "1.0 at 0.250"


def test_describe__undo_restores_and_a_persons_words_stay(index: RegionIndex) -> None:
    edit(index, 0.3, caption="by hand")
    report = index.describe(model=FakeDescriber(), **QUIET)
    assert (report.written, report.left) == (4, 1)
    edit(index, 0.1, caption="better")
    other = FakeDescriber(name="other")
    assert index.describe(model=other, prompt="say", **QUIET).left == 2
    assert values(index, "caption")[:3] == ["better", "1.0 at 0.200 say", "by hand"]
    assert values(index, "caption_by")[1].startswith("other@")

    forced = index.describe(model=other, prompt="say", overwrite=True, **QUIET)
    assert (forced.asked, forced.written) == (0, 2)
    for action in history(index.dataset):
        undo(index.dataset, action)
    assert values(index, "caption") == ["better", None, "by hand", None, None]
    assert values(index, "caption_by")[1:] == [None] * 4
    assert index.describe(model=other, prompt="say", **QUIET).written == 3, "kept, not asked again"
    assert len(other.shown) == 5


def test_ask__a_label_that_is_renamed_is_asked_about_again(index: RegionIndex) -> None:
    model = FakeDescriber()
    edit(index, 0.7, truth=None)
    report = index.ask("is this a {truth}?", into="verified", model=model, **QUIET)
    assert model.shown[0][1] == "1.0 at 0.100 is this a ant?"
    assert values(index, "verified") == ["no"] * 4 + [None]
    assert values(index, "verified_score") == pytest.approx(
        [0.9997, 0.9975, 0.982, 0.7311, None], abs=1e-3
    )
    assert report.counts == {"no": 4}
    assert "which the label has no value of: it has" in report.skipped[0].reason
    assert not index.dataset.has_field("boxes.detections.verified_p")
    edit(index, 0.2, truth="wasp")
    index.ask("is this a {truth}?", into="verified", model=model, **QUIET)
    assert [text for _, text in model.shown[4:]] == ["1.0 at 0.200 is this a wasp?"]


def test_view__of_every_kind(index: RegionIndex) -> None:
    hits = index.search(index.vectors(np.array([1]))[0], k=3)
    names = index.names(hits)
    queue = ReviewQueue(tuple(ReviewItem(one, None, "training") for one in names[:2]), 0, 0, 2, 0)
    first = index.dataset.limit(1)
    for view, count in ((hits, 3), (names, 3), (queue, 2), (first, 3), (None, 5)):
        model = FakeDescriber(name=f"m{type(view).__name__}")
        assert index.describe(model=model, view=view, overwrite=True, **QUIET).asked == count
    model = FakeDescriber(name="limited")
    index.describe(model=model, view=names[::-1], limit=1, overwrite=True, **QUIET)
    index.describe(model=model, view=names[:0:-1], overwrite=True, **QUIET)
    assert len(model.shown) == 2, "the last name alone, then the one before it"


def test_ask__uncertain_takes_first_what_another_model_was_least_sure_of(
    index: RegionIndex,
) -> None:
    with pytest.raises(AlphaClipError, match="no region has an answer in"):
        index.ask("sure?", model=FakeDescriber(), order="uncertain", **QUIET)
    index.ask("sure?", model=FakeDescriber(), **QUIET)
    other = FakeDescriber(name="other")
    report = index.ask("sure?", model=other, order="uncertain", limit=2, **QUIET)
    assert sorted(left for left, _ in other.shown) == [0.3, 0.45] and report.written == 2


def test_run__that_is_stopped_goes_on(index: RegionIndex) -> None:
    model = FakeDescriber("painted")

    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("regions described", 5)
        if done == 2:
            raise AlphaClipError("stopped")

    with pytest.raises(AlphaClipError, match="stopped"):
        index.describe(model=model, progress=stop)
    assert not index.dataset.has_field("boxes.detections.caption")
    report = index.describe(model=model, **QUIET)
    assert (report.asked, report.answered_before, report.written) == (3, 2, 5)


def test_estimate__is_measured_on_the_first_regions_which_are_kept(
    index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphaclip.indexing.language.runs.FIRST", 2)
    model = FakeDescriber("painted")
    estimate = describing(index, model=model).estimate()
    assert (estimate.regions, estimate.answered, len(model.shown)) == (5, 2, 2)
    assert estimate.rate is not None and estimate.seconds == pytest.approx(3 / estimate.rate)
    assert str(estimate).startswith("5 regions, 3 of them to ask: about 1 minutes at")
    index.describe(model=model, **QUIET)
    assert len(model.shown) == 5
    assert str(describing(index, model=model).estimate()) == "5 regions, nothing left to ask"


def test_run__that_is_killed_goes_on(index: RegionIndex) -> None:
    # After the first part, after the last one, between two records, before the labels
    moments = (7, 9, 2, 4)
    script = [sys.executable, "-m", "tests.indexing.language.kill_script", index.dataset.name]
    killed = subprocess.run(
        [*script, *map(str, moments)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert killed.stdout.split()[-1] == str(len(moments)), killed.stderr[-2000:]
    model = FakeDescriber("painted")
    report = index.describe(model=model, **QUIET)
    assert report.asked + report.answered_before == 5 and report.answered_before > 0
    captions = values(index, "caption")
    assert [float(text.split()[-1]) for text in captions] == [left for _, left in BOXES]
    for action in history(index.dataset):
        undo(index.dataset, action)
    assert values(index, "caption") == [None] * 5


def test_run__two_at_once__the_second_is_refused(index: RegionIndex) -> None:
    def second(*counts: object) -> None:
        index.describe(model=FakeDescriber(), **QUIET)

    with pytest.raises(StoreBusyError, match="is being written by process"):
        index.describe(model=FakeDescriber(), progress=second)
    assert index.ask("sure?", model=FakeDescriber(), **QUIET).asked == 5, "another run may go on"


def test_describe__what_fails_is_reported_and_asked_again(index: RegionIndex) -> None:
    (gone,) = index.dataset.first().boxes.detections[2:]
    index.dataset.delete_labels(ids=[gone.id])
    report = index.describe(model=FakeDescriber(fails_at=0.1), **QUIET)
    reasons = sorted(one.reason for one in report.skipped)
    assert reasons == [
        "it is gone since it was embedded: update the index",
        "its numbers are not finite",
    ]
    assert report.asked == 3 and values(index, "caption")[0] is None
    assert index.describe(model=FakeDescriber(), **QUIET).asked == 1


def test_describe__a_text_is_data(index: RegionIndex) -> None:
    class Rude(FakeDescriber):
        def describe_many(self, *args: Any, **kwargs: Any) -> Any:
            for captions in super().describe_many(*args, **kwargs):
                yield [one._replace(text="\x1b[31m<b>\u202e" + "x" * 600) for one in captions]

    index.describe(model=Rude(), **QUIET)
    assert values(index, "caption")[0] == ("[31m<b>" + "x" * 600)[:500]


def test_run__a_damaged_part_is_asked_again(index: RegionIndex) -> None:
    model = FakeDescriber()
    index.describe(model=model, **QUIET)
    (part,) = own_folder(index.dataset, index.key).glob("language/*/part-*")
    part.write_text(part.read_text("utf-8").replace("0.300", "0.400"), "utf-8")
    assert index.describe(model=model, **QUIET).asked == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": "is it {red}?"}, "no label of field 'boxes' has 'red'; attributes are"),
        ({"question": " "}, "the question is empty"),
        ({"choices": ["yes"]}, "expected a list of two texts"),
        ({"choices": ["yes", "n\x00o"]}, "has a character that is none of a text"),
        ({"choices": ["yes", "\ud800"]}, "has a character that is none of a text"),
        ({"into": "bounding_box"}, "has a meaning of its own"),
        ({"into": "truth_count"}, "truth_count is a IntField, to be written is a StringField"),
        ({"into": "$where"}, "attribute name is"),
        ({"limit": 0}, "limit is 0"),
        ({"order": "surest"}, "order is 'surest'"),
        ({"view": ["0" * 24]}, "none of these regions"),
        ({"view": 7}, "view is 7"),
        ({"model": 7}, "model is 7: expected the name of a language model"),
        ({"reviews": "boxes.answer"}, "where the model's own answers are written"),
        ({"reviews": "other.checked"}, "expected an attribute of the index's own field"),
        ({"reviews": "boxes.truth", "choices": ["ant", "bee"]}, "2 'ant', 2 'bee'.*least 50"),
    ],
)  # fmt: skip
def test_ask__bad_input(index: RegionIndex, arguments: dict[str, Any], message: str) -> None:
    index.dataset.add_sample_field("boxes.detections.truth_count", fo.IntField)
    model = FakeDescriber()
    with pytest.raises(AlphaClipError, match=message):
        index.ask(**{"question": "is it?", "model": model, **QUIET, **arguments})
    assert model.shown == []


def test_run__of_an_index_that_was_deleted_leaves_nothing(index: RegionIndex) -> None:
    prepared = describing(index, model=FakeDescriber())
    folder = own_folder(index.dataset, index.key)
    index.delete()
    with pytest.raises(StoreError, match="the index was deleted while it was described"):
        prepared.run(QUIET["progress"])
    assert not folder.exists()


def test_describe__a_clone_has_answers_of_its_own(index: RegionIndex) -> None:
    index.describe(model=FakeDescriber(), **QUIET)
    clone = index.dataset.clone()
    try:
        report = load(clone, index.key).describe(into="words", model=FakeDescriber(), **QUIET)
        assert (report.asked, report.written) == (5, 5)
        assert not index.dataset.has_field("boxes.detections.words")
    finally:
        clone.delete()
