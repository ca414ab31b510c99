"""Labelling runs: from the draw of a sample to labels, updates, and taking them back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.acting import undo
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.labelling import label_dataset
from alphaclip.indexing.labelling.report import LabelReport
from alphaclip.indexing.labelling.report_words import summarize
from alphaclip.indexing.labelling.review.previewing import review_choices
from alphaclip.indexing.labelling.review.runs import (
    STORE,
    Labelling,
    add_reviews,
    book_of,
    labelling_of,
)
from alphaclip.indexing.labelling.scoring.classes import SKIPPED, LabelClass
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.region_index import RegionIndex

CLASSES = ("ant", "bee", "cat")
SWAPPED = (LabelClass("ant", ("bee",)), LabelClass("bee", ("ant",)), "cat")
"""Classes of which two thirds of the regions are taken for the wrong one, until it is learned."""

QUIET: dict[str, Any] = {"progress": lambda *_: None}

ON_AVERAGE = {"": {"mode": "on average", "confidence": None, "threshold": 3.0}}
"""A promise of the mode that was removed."""


def pictures(count: int, seed: int = 0, unsure: float = 0.15) -> list[list[tuple[int, float]]]:
    """Four regions each; of the unsure ones, which score low, about half are wrong."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        is_unsure = rng.random(4) < unsure
        xs = np.where(is_unsure, rng.uniform(0.4, 0.6, 4), rng.uniform(0, 0.35, 4))
        found.append([(int(rng.integers(3)), float(x)) for x in xs])
    return found


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    return make_dataset(pictures(80))


@pytest.fixture
def index(dataset: fo.Dataset, make_index: Callable) -> RegionIndex:
    return make_index(dataset)


def state(dataset: fo.Dataset, into: str = "auto") -> Labelling:
    found = labelling_of(dataset, into)
    assert found is not None
    return found


def truths(dataset: fo.Dataset) -> dict[str, str]:
    ids, names = dataset.values(["boxes.detections.id", "boxes.detections.truth"], unwind=True)
    return dict(zip(ids, names, strict=True))


def precision(dataset: fo.Dataset) -> float:
    truth = truths(dataset)
    copies = [d for d in dataset.values("auto.detections", unwind=True) if d is not None]
    return float(np.mean([d.label == truth[d.source_id] for d in copies]))


def run_of(report: LabelReport) -> str:
    return str(report.run["run"])


def test_label__nothing_before_the_sample_is_reviewed(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    report = index.label(CLASSES, precision=0.9, **QUIET)
    assert report.outcome == "not reachable"
    assert report.counts["written"] == 0 and "auto" not in dataset.get_field_schema()
    kept = state(dataset)
    sample = kept.draws[0]["label_ids"]
    assert report.counts["sample to review"] == len(sample) == 2 * 61
    assert "not reviewed" in report.promise.reason and report.promise.more == len(sample)
    assert not set(kept.queue) & set(sample)
    assert set(kept.answers) == {*kept.queue, *sample}
    again = index.label(CLASSES, precision=0.9, **QUIET)
    assert again.counts["sample to review"] == len(sample)
    assert state(dataset).draws == kept.draws


def test_label__reviews_in_an_attribute(dataset: fo.Dataset, index: RegionIndex) -> None:
    report = index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    assert report.outcome == "done" and report.promise.is_made
    assert report.counts["written"] == dataset.count("auto.detections") > 200
    assert precision(dataset) >= 0.9
    assert report.calibration == "ranking" and "ranking" in report.to_dict()["scores"]
    copy = dataset.first().auto.detections[0]
    assert (copy.run, copy.index_version) == (run_of(report), 1)
    models = set(dataset.distinct("auto.detections.model"))
    assert models == {"toy, zero-shot", "review"}
    again = index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    assert again.counts["written"] == 0 and again.promise == report.promise
    assert undo(dataset, run_of(report)).left == 0
    assert not dataset.has_sample_field("auto")


def test_label__says_how_much_of_each_class_has_its_label(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    """Cats are none of the classes here, and cost no recall."""
    options = {"precision": 0.5, "sample": 120, "reviews": "boxes.truth", **QUIET}
    report = index.label(CLASSES[:2], **options)
    truth, drawn = truths(dataset), state(dataset).draws[0]["label_ids"]
    copies = dataset.values("auto.detections", unwind=True)
    right = {d.source_id for d in copies if d.model != "review" and d.label == truth[d.source_id]}
    lines = {line.name: line.recall for line in report.classes}
    for recall, names in (report.recall, CLASSES[:2]), (lines["ant"], ["ant"]):
        of_class = [key for key in truth if truth[key] in names]
        sample = [key for key in drawn if truth[key] in names]
        assert recall is not None and recall.total == len(sample)
        # Labels of reviewed regions are written as people's
        others = [key in right for key in of_class if key not in drawn]
        low, high = recall.interval
        assert low <= recall.estimate <= high and low <= np.mean(others) <= high
    assert report.recall.recalled == sum(one.recalled for one in lines.values() if one)
    assert "which are" in summarize(report.to_dict())


def test_label__skipped_regions_cost_recall(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, precision=0.8, **QUIET)
    truth, sample = truths(dataset), state(dataset).draws[0]["label_ids"]
    answers = {key: truth[key] for key in sample} | dict.fromkeys(sample[:3], SKIPPED)
    add_reviews(dataset, "auto", answers)
    recall = index.label(CLASSES, precision=0.8, **QUIET).recall
    assert recall is not None and recall.total == len(sample)
    assert recall.recalled <= len(sample) - 3


def test_label__reviews_given_in_parts(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, precision=0.9, **QUIET)
    truth, sample = truths(dataset), state(dataset).draws[0]["label_ids"]
    add_reviews(dataset, "auto", {key: truth[key] for key in sample[:50]}, reviewer="a")
    half = index.label(CLASSES, precision=0.9, **QUIET)
    assert half.counts["sample to review"] == len(sample) - 50 and not half.promise.is_made
    report = index.label(CLASSES, precision=0.9, reviews=truth, **QUIET)
    assert report.promise.is_made and report.promise.reviewed <= len(sample)
    assert set(book_of(dataset, state(dataset)).settled("promise")) == set(sample)
    assert not book_of(dataset, state(dataset)).settled("training")


def test_label__a_reviewed_class_that_is_gone_is_none_of_these(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    report = index.label(CLASSES, precision=0.9, **QUIET)
    truth = truths(dataset)
    sample = {key: truth[key] for key in state(dataset).draws[0]["label_ids"]}
    add_reviews(dataset, "auto", sample)
    report = index.label(
        ("ant", "bee", LabelClass("lynx", prompts=("cat",))), precision=0.9, **QUIET
    )
    assert report.promise is not None and report.promise.reviewed == len(sample)
    assert {line.name: line.right for line in report.classes}["lynx"] == 0


def test_label__a_given_random_sample(dataset: fo.Dataset, index: RegionIndex) -> None:
    truth = truths(dataset)
    drawn = np.random.default_rng(5).choice(sorted(truth), 120, replace=False).tolist()
    given = {key: truth[key] for key in drawn}
    report = index.label(CLASSES, precision=0.9, reviews=given, sample="reviews", **QUIET)
    assert report.promise.is_made and report.counts["sample"] == 120
    assert list(state(dataset).draws[0]["label_ids"]) == drawn
    with pytest.raises(AlphaClipError, match="pass the reviews as a dict"):
        index.label(CLASSES, precision=0.9, sample="reviews", **QUIET)


def test_label__people_are_right(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, precision=0.9, **QUIET)
    sample = state(dataset).draws[0]["label_ids"]
    said = truths(dataset) | {sample[0]: "cat", sample[1]: None}
    index.label(CLASSES, precision=0.8, reviews=said, **QUIET)
    copies = {d.source_id: d for d in dataset.values("auto.detections", unwind=True) if d}
    assert (copies[sample[0]].label, copies[sample[0]].model) == ("cat", "review")
    assert sample[1] not in copies


def test_label__an_example_is_known(dataset: fo.Dataset, index: RegionIndex) -> None:
    one = dataset.first().boxes.detections[0].id
    index.label(["ant", "bee", LabelClass("cat", ("cat",), examples=(one,))], **QUIET)
    copies = {d.source_id: d for d in dataset.values("auto.detections", unwind=True) if d}
    assert (copies[one].label, copies[one].model) == ("cat", "review")


def test_label__a_sample_is_tested_once(dataset: fo.Dataset, index: RegionIndex) -> None:
    truth = truths(dataset)
    index.label(CLASSES, precision=0.9, reviews=truth, **QUIET)
    first = set(state(dataset).draws[0]["label_ids"])
    report = index.label([*CLASSES[:2]], precision=0.9, **QUIET)
    kept = state(dataset)
    assert report.samples == len(kept.draws) == 2 and not report.promise.is_made
    assert not first & set(kept.draws[1]["label_ids"])


def test_label__a_promise_keeps_what_it_was_made_with(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    truth = truths(dataset)
    before = index.label(CLASSES, precision=0.9, reviews=truth, **QUIET)
    queue = state(dataset).queue[:5]
    add_reviews(dataset, "auto", {key: truth[key] for key in queue})
    report = index.label(CLASSES, precision=0.9, **QUIET)
    assert report.promise == before.promise and report.samples == 1
    assert report.counts["written"] == len(queue) == 5
    retrained = index.label(CLASSES, precision=0.9, retrain=True, **QUIET)
    assert retrained.samples == 2 and not retrained.promise.is_made


def test_label__again_after_a_failed_test_learns_and_draws_a_new_sample(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    given: dict[str, Any] = {"precision": 0.9, "reviews": "boxes.truth", **QUIET}
    failed = index.label(SWAPPED, **given)
    assert failed.outcome == "not reachable" and (failed.tests, failed.next_sample) == (1, 140)
    assert failed.to_dict()["remarks"][0] == (
        "The test of the sample has failed. To learn from the answers in it and draw a new random "
        "sample, label again: test 2 takes 140 answers."
    )
    first = set(state(dataset).draws[0]["label_ids"])
    report = index.label(SWAPPED, **given)
    kept = state(dataset)
    assert set(kept.learnt) == first and not first & set(kept.draws[1]["label_ids"])
    assert [draw["share"] for draw in kept.draws] == [0.5, 0.25] and report.spent == 0.75
    assert report.promise.is_made and report.tests == report.samples == 2
    assert "Tests so far: 2." in report.to_dict()["assumptions"][-1]
    assert precision(dataset) >= 0.9 and dataset.count("auto.detections") > 250
    truth = truths(dataset)
    choices = review_choices(index, replace(kept, answers={}), list(truth))
    assert np.mean([choices[key][0] == name for key, name in truth.items()]) > 0.9
    again = index.label(SWAPPED, **given)
    assert again.counts["written"] == 0 and again.promise == report.promise


def test_label__a_sample_that_cannot_pass_is_given_up(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    index.label(SWAPPED, precision=0.9, **QUIET)
    truth, sample = truths(dataset), state(dataset).draws[0]["label_ids"]
    add_reviews(dataset, "auto", {key: truth[key] for key in sample[:40]})
    lost = index.label(SWAPPED, precision=0.9, **QUIET)
    assert lost.is_lost and lost.tests == 0 and state(dataset).draws[0]["label_ids"] == sample
    assert "review no more of it" in lost.to_dict()["remarks"][0]
    assert "with `retrain`: test 2 takes 140 answers" in lost.to_dict()["remarks"][0]
    report = index.label(SWAPPED, precision=0.9, retrain=True, **QUIET)
    kept = state(dataset)
    assert (report.tests, report.counts["sample to review"]) == (1, 140)
    assert not set(sample) & set(kept.draws[1]["label_ids"]) and set(kept.learnt) == {*sample[:40]}
    assert set(kept.queue) >= set(sample[40:]), "they wait for people"
    report = index.label(SWAPPED, precision=0.9, reviews=truth, **QUIET)
    assert report.promise.is_made and len(book_of(dataset, state(dataset)).examples()) == 40


def test_label__a_reviewed_region_that_is_gone_is_not_learned_from(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    index.label(SWAPPED, precision=0.9, reviews="boxes.truth", **QUIET)
    sample = state(dataset).draws[0]["label_ids"]
    dataset.delete_labels(ids=sample[:1])
    index.update(**QUIET)
    index.label(SWAPPED, precision=0.9, **QUIET)
    assert set(state(dataset).learnt) == set(sample[1:])


@pytest.mark.parametrize("per_class", [True, False])
def test_label__may_be_taught_first_and_tested_last(
    dataset: fo.Dataset, index: RegionIndex, per_class: bool
) -> None:
    options: dict[str, Any] = {"precision": 0.8, "per_class": per_class, "sample": 40, **QUIET}
    index.label(CLASSES, **options)
    truth, queue = truths(dataset), state(dataset).queue
    first = state(dataset).draws[0]["label_ids"]
    add_reviews(dataset, "auto", {key: truth[key] for key in queue[:10]})
    add_reviews(dataset, "auto", {}, skipped=queue[10:11])
    index.label(CLASSES, **options)
    (draw,) = state(dataset).draws
    assert draw["share"] == 0.5 and draw["label_ids"] != first, "nobody had begun to review it"
    assert not set(draw["label_ids"]) & set(queue[:11])
    assert set(state(dataset).learnt) == set(queue[:10])
    add_reviews(dataset, "auto", {key: truth[key] for key in draw["label_ids"][:1]})
    add_reviews(dataset, "auto", {key: truth[key] for key in queue[11:20]})
    report = index.label(CLASSES, reviews=truth, **options)
    assert report.samples == 1 and all(one.is_made for one in report.promises)
    assert set(state(dataset).learnt) == set(queue[:10]), "once it is begun, nothing is learned"
    index.label(CLASSES, retrain=True, **options)
    assert set(state(dataset).learnt) == {*queue[:10], *queue[11:20], *draw["label_ids"]}
    assert state(dataset).draws[1]["share"] == 0.25


def test_label__a_sample_of_an_earlier_version_has_all_of_the_risk(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    index.label(SWAPPED, precision=0.9, **QUIET)
    records = Records(dataset, STORE)
    old = records.get("auto")
    (draw,) = old["draws"]
    drawn = {key: value for key, value in draw.items() if key != "share"}
    records.set("auto", old | {"draws": [drawn], "report": {}})
    assert index.label(SWAPPED, precision=0.9, reviews="boxes.truth", **QUIET).spent == 1
    report = index.label(SWAPPED, precision=0.9, **QUIET)
    assert report.spent == 1.25 and "lower than stated" in report.to_dict()["assumptions"][-1]


def test_label__training_makes_probabilities(dataset: fo.Dataset, index: RegionIndex) -> None:
    truth = truths(dataset)
    learnt = dict(list(truth.items())[:100])
    report = index.label(CLASSES, precision=0.9, reviews=truth, training=learnt, **QUIET)
    sample = set(state(dataset).draws[0]["label_ids"])
    assert not sample & set(learnt)
    assert report.calibration != "ranking" and report.reliability is not None
    scores = dataset.values("auto.detections.score", unwind=True)
    assert all(0 <= score <= 1 for score in scores if score is not None)
    one = next(iter(sample))
    with pytest.raises(AlphaClipError, match="used for nothing else"):
        index.label(CLASSES, precision=0.9, training={one: truth[one]}, **QUIET)
    with pytest.raises(AlphaClipError, match="used for nothing else"):
        index.label([*CLASSES[:2], LabelClass("cat", examples=(one,))], precision=0.9, **QUIET)


def test_label__an_update_labels_what_is_new(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    truth = truths(dataset)
    first = index.label(CLASSES, precision=0.9, reviews=truth, **QUIET)
    before = dataset.count("auto.detections")
    make_dataset.add(dataset, pictures(25, seed=1))
    index.update(**QUIET)
    report = index.label(CLASSES, precision=0.9, new_only=True, **QUIET)
    assert report.outcome == "done" and report.promise == first.promise
    assert report.drift is not None and report.drift.moved is False
    assert 60 < report.counts["written"] <= 100
    assert dataset.count("auto.detections") == before + report.counts["written"]
    again = index.label(CLASSES, precision=0.9, new_only=True, **QUIET)
    assert again.counts["written"] == 0 and again.drift is None
    undo(dataset, run_of(report))
    assert dataset.count("auto.detections") == before


def test_label__an_edited_region_gets_a_new_copy(dataset: fo.Dataset, index: RegionIndex) -> None:
    index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    sample = dataset.first()
    copy = sample.auto.detections[0]
    own = next(d for d in sample.boxes.detections if d.id == copy.source_id)
    own.bounding_box = [0.01, own.bounding_box[1], 0.2, 0.15]
    sample.save()
    index.update(**QUIET)
    report = index.label(CLASSES, precision=0.9, new_only=True, **QUIET)
    newer = next(d for d in dataset.first().auto.detections if d.source_id == own.id)
    assert report.counts["written"] == 1
    assert newer.bounding_box == own.bounding_box and newer.id != copy.id


def test_label__other_pictures_are_held_back(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    before = dataset.count("auto.detections")
    make_dataset.add(dataset, [[(0, 0.34), (0, 0.33)] for _ in range(60)])
    index.update(**QUIET)
    report = index.label(CLASSES, precision=0.9, new_only=True, **QUIET)
    assert report.outcome == "moved" and report.counts["held back"] == 120
    assert report.counts["written"] == 0 and dataset.count("auto.detections") == before
    assert index.label(CLASSES, precision=0.9, new_only=True, **QUIET).outcome == "moved"


def test_label__a_few_pictures_a_night(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    outcomes = []
    for _ in range(3):
        make_dataset.add(dataset, [[(0, 0.34), (0, 0.33)] for _ in range(9)])
        index.update(**QUIET)
        outcomes.append(index.label(CLASSES, precision=0.9, new_only=True, **QUIET).outcome)
    assert outcomes == ["done", "done", "moved"]


def test_label__a_ranking_writes_all(dataset: fo.Dataset, index: RegionIndex) -> None:
    report = index.label(CLASSES, **QUIET)
    assert report.counts["written"] == len(index) == dataset.count("auto.detections")
    assert report.outcome == "done" and report.promises == [] and report.recall is None
    assert state(dataset).draws == () and 0.8 < precision(dataset) < 0.97


def test_label__each_class_by_itself(dataset: fo.Dataset, index: RegionIndex) -> None:
    options = {"per_class": True, "sample": 80, "reviews": "boxes.truth", **QUIET}
    report = index.label(CLASSES, precision=0.9, **options)
    assert set(report.by_class) == set(CLASSES) and report.promise is None
    assert report.recall is None and "cannot be told" in " ".join(report.to_dict()["assumptions"])
    assert all(promise.is_made for promise in report.by_class.values())
    assert precision(dataset) >= 0.9


def test_label__a_class_that_cannot_be_promised(dataset: fo.Dataset, index: RegionIndex) -> None:
    classes = ("ant", "bee", LabelClass("lynx", prompts=("cat",)))
    options = {"per_class": True, "sample": 80, "reviews": "boxes.truth", **QUIET}
    report = index.label(classes, precision=0.9, **options)
    made = {name: promise.is_made for name, promise in report.by_class.items()}
    assert made == {"ant": True, "bee": True, "lynx": False} and report.outcome == "done"
    assert set(dataset.count_values("auto.detections.label")) == {"ant", "bee"}


def test_label__in_place(dataset: fo.Dataset, index: RegionIndex) -> None:
    report = index.label(CLASSES, "boxes.auto_label", precision=0.9, reviews="boxes.truth", **QUIET)
    named = dataset.count_values("boxes.detections.auto_label")
    assert len(index) - named[None] == report.counts["written"] > 200
    undo(dataset, run_of(report))
    assert dataset.get_field("boxes.detections.auto_label") is None


def test_label__report_and_state_are_json(
    dataset: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    report = index.label(CLASSES, precision=0.9, reviews="boxes.truth", **QUIET)
    path = report.write(tmp_path / "new" / "report")
    assert json.loads(path.read_text("utf-8")) == report.to_dict()
    assert json.loads(json.dumps(state(dataset).report)) == state(dataset).report


def test_label__keeps_classes_and_settings(dataset: fo.Dataset, index: RegionIndex) -> None:
    classes = ["ant", LabelClass("bug", ("bee",), parent="ant", synonyms=("b",))]
    options: dict[str, Any] = {"templates": ("a {}",), "sample": 5, "seed": 3}
    index.label(classes, precision=0.9, **options, **QUIET)
    kept = state(dataset)
    assert [LabelClass.from_dict(one) for one in kept.class_set] == [LabelClass("ant"), classes[1]]
    assert LabelSettings(**kept.settings) == LabelSettings(
        precision=0.9, **options | {"templates": ["a {}"]}
    )
    index.label(["cat"], **QUIET)
    assert state(dataset).class_set == ({"name": "cat"},)
    assert state(dataset).settings["precision"] is None


def test_label__classes_that_are_too_large_are_not_kept(
    dataset: fo.Dataset, index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_dataset, "MOST_KEPT", 10)
    index.label(CLASSES, **QUIET)
    assert state(dataset).class_set == () and state(dataset).classes == CLASSES


def test_labelling_of__a_state_of_an_earlier_version(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    index.label(CLASSES, **QUIET)
    records = Records(dataset, STORE)
    old = {k: v for k, v in records.get("auto").items() if k not in ("class_set", "settings")}
    records.set("auto", old | {"unknown": 1})
    assert (state(dataset).class_set, state(dataset).settings) == ((), {})
    records.set("auto", old | {"settings": {"mode": "expected"}, "promises": ON_AVERAGE})
    assert state(dataset).settings == {"mode": "expected"} and state(dataset).is_promised
    report = index.label(CLASSES, precision=0.9, **QUIET)
    assert report.counts["sample to review"] > 0 and not report.promise.is_made


def test_label__one_region_and_one_class(make_dataset: Callable, make_index: Callable) -> None:
    dataset = make_dataset([[(0, 0.1)]])
    report = make_index(dataset).label(["ant"], precision=0.9, reviews="boxes.truth", **QUIET)
    assert report.outcome == "not reachable" and dataset.count("auto.detections") == 1
    assert dataset.first().auto.detections[0].model == "review"
    assert "not reachable" in report.promise.reason


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], {}, "0 classes"),
        (["ant", "Ant"], {}, "two classes"),
        ("ant", {}, "expected a list"),
        (CLASSES, {"precision": 1}, "cannot be tested"),
        (CLASSES, {"precision": 1.5}, "precision is 1.5"),
        (CLASSES, {"precision": 0.9, "confidence": 0}, "confidence is 0"),
        (CLASSES, {"precision": 0.9, "mode": "luck"}, "mode is 'luck'"),
        (CLASSES, {"precision": 0.9, "mode": "expected"}, "'expected' was removed.*'ranking'"),
        (CLASSES, {"mode": "promise"}, "precision is None"),
        (CLASSES, {"precision": 0.9, "mode": "ranking"}, "no precision"),
        (CLASSES, {"precision": 0.9, "sample": 0}, "sample is 0"),
        (CLASSES, {"per_class": True}, "per_class"),
        (CLASSES, {"into": "boxes"}, "own field"),
        (CLASSES, {"precision": 0.9, "reviews": "truth"}, "own field"),
        (CLASSES, {"precision": 0.9, "reviews": "boxes.colour"}, "has 'colour'"),
        (CLASSES, {"training": {"0" * 24: "ant"}}, "not in index"),
        ([{"name": n, "examples": ["0" * 24]} for n in CLASSES], {}, "is an example of 'bee' and"),
    ],
)
def test_label__bad_input(
    dataset: fo.Dataset, index: RegionIndex, classes: Any, options: dict, message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        index.label(classes, **options, **QUIET)
    assert dataset.count("auto.detections") == 0 if dataset.has_sample_field("auto") else True


def test_label__a_run_that_is_cut_off_is_known_and_can_be_taken_back(
    dataset: fo.Dataset, index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_end(*args: Any, **kwargs: Any) -> None:
        bulk_write(*args, **kwargs)
        raise KeyboardInterrupt

    bulk_write, schema = fo.Dataset._bulk_write, list(dataset.get_field_schema(flat=True))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fo.Dataset, "_bulk_write", write_and_end)
        index.label(CLASSES, **QUIET)
    (run,) = state(dataset).runs
    written = dataset.count("auto.detections")
    assert written > 200
    assert undo(dataset, run).restored == written
    assert list(dataset.get_field_schema(flat=True)) == schema
    report = index.label(CLASSES, **QUIET)
    assert report.counts["written"] == written
    assert index.label(CLASSES, **QUIET).counts["written"] == 0
    assert state(dataset).runs == (run, run_of(report))
