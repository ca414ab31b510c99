"""The report of a run in pictures: which regions, and the page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from PIL import Image

from alphaclip.indexing.act.acting import undo
from alphaclip.indexing.labelling.report import LabelReport
from alphaclip.indexing.labelling.report_page import report_content, write_label_page
from alphaclip.indexing.labelling.review.runs import labelling_of
from alphaclip.indexing.labelling.scoring.classes import LabelClass
from alphaclip.indexing.region_index import RegionIndex

QUIET: dict[str, Any] = {"progress": lambda *_: None}
HOSTILE = '<script>alert("cat")</script>'
CLASSES = ("ant", "bee", LabelClass(HOSTILE, prompts=("cat",), synonyms=("cat",)))
PICTURES = [[(kind, 0.01 * number + 0.05 * kind) for kind in range(3)] for number in range(20)]


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    """Regions that are surer the earlier they come, of pictures that can be opened."""
    dataset = make_dataset(PICTURES)
    for path in dataset.values("filepath"):
        Image.new("RGB", (60, 40), "red").save(path)
    return dataset


@pytest.fixture
def index(dataset: fo.Dataset, make_index: Callable) -> RegionIndex:
    return make_index(dataset)


def labels(dataset: fo.Dataset, field: str, name: str) -> dict[str, Any]:
    ids, values = dataset.values([f"{field}.detections.{one}" for one in ("id", name)], unwind=True)
    return dict(zip(ids, values, strict=True))


def content(report: LabelReport) -> dict[str, Any]:
    told = report_content(report.to_dict())
    assert json.loads(json.dumps(told)) == told
    return told


def test_content__the_least_sure_and_some_at_random(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    told = content(index.label(CLASSES, **QUIET))
    rows = [one for one in dataset.values("auto.detections", unwind=True) if one]
    by_score = sorted(rows, key=lambda one: one.score)
    assert {one["label_id"] for one in told["least_sure"]} == {
        one.source_id for one in by_score[:12]
    }
    scores = [one["score"] for one in told["least_sure"]]
    assert scores == sorted(scores) and len(scores) == 12
    written = {one.source_id: one.label for one in rows}
    picked = {one["label_id"]: one["label"] for one in told["random"]}
    assert len(picked) == 12 and picked.items() <= written.items()
    assert (told["confusions"], told["reviewed"]) == ([], 0)
    assert told["sentence"].startswith("60 labels written into auto as a ranking")


def test_content__confusions_of_reviewed_regions(dataset: fo.Dataset, index: RegionIndex) -> None:
    truth = labels(dataset, "boxes", "truth")
    first, second, third, right, *_ = (one for one, name in truth.items() if name == "ant")
    bee = next(one for one, name in truth.items() if name == "bee")
    said = truth | dict.fromkeys((first, second), "bee") | {third: None}
    report = index.label(CLASSES, precision=0.8, sample=60, reviews=said, **QUIET)
    told = content(report)
    assert (told["reviewed"], told["wrong"]) == (60, 3)
    often, once = told["confusions"]
    assert (often["answer"], often["truth"], often["count"]) == ("ant", "bee", 2)
    assert (often["mistake"]["id"], often["example"]["id"]) == (first, bee)
    assert (often["mistake"]["sample_id"], often["example"]["label"]) == (dataset.first().id, "bee")
    assert (once["answer"], once["truth"], once["count"]) == ("ant", None, 1)
    assert (once["mistake"]["id"], once["example"]["id"]) == (third, right)
    assert often["example"]["reviewed"]


def test_content__confusions_without_a_right_one(dataset: fo.Dataset, index: RegionIndex) -> None:
    bees = [one for one, name in labels(dataset, "boxes", "truth").items() if name == "bee"]
    (one,) = content(index.label(CLASSES, training={bees[5]: "ant"}, **QUIET))["confusions"]
    assert (one["answer"], one["truth"], one["mistake"]["id"]) == ("bee", "ant", bees[5])
    # The surest of the ants that were written, or where none was, of the bees.
    assert one["example"]["label"] in ("ant", "bee") and not one["example"]["reviewed"]


def test_content__of_a_run_that_changes_nothing_and_of_one_after_an_undo(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    first = index.label(CLASSES, **QUIET)
    again = content(index.label(CLASSES, **QUIET))
    assert again["least_sure"] == content(first)["least_sure"]
    assert again["sentence"].startswith("0 labels written into auto, 60 left as they were")
    undo(dataset, first.run["run"])
    waiting = content(index.label(CLASSES, precision=0.9, **QUIET))
    assert waiting["least_sure"] == again["least_sure"]  # the second run was not undone
    state = labelling_of(dataset, "auto")
    assert state is not None
    assert report_content({**state.report, "pictures": None})["random"] == []


def test_content__what_a_person_changed_was_not_written(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    index.label(CLASSES, **QUIET)
    sample = dataset.last()
    sample.auto.detections[0].label = "bee"
    sample.save()
    changed, again, _ = (one.source_id for one in sample.auto.detections)
    dataset.delete_labels(ids=[sample.auto.detections[1].id])
    told = content(index.label(CLASSES, **QUIET))
    assert [one["label_id"] for one in told["random"]] == [again]
    assert changed not in {one["label_id"] for one in told["least_sure"]}


def test_page__pictures_words_and_hostile_names(
    dataset: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    truth = labels(dataset, "boxes", "truth")
    said = dict(list(truth.items())[:9]) | {next(iter(truth)): "bee"}
    report = index.label(CLASSES, training=said, **QUIET)
    path = report.save_html(tmp_path / "new" / "a.html")
    text = path.read_text("utf-8")
    assert text.count("data:image/jpeg") == 12 + 12 + 2
    assert "<script" not in text and "&lt;script&gt;alert(" in text
    assert "taken for ant" in text and "1 of 9 reviewed regions" in text
    assert path.stat().st_size < 3_000_000
    assert report.save_html(tmp_path / "b.html").read_bytes() == path.read_bytes()


def test_page__before_any_review(dataset: fo.Dataset, index: RegionIndex, tmp_path: Path) -> None:
    text = index.label(CLASSES, precision=0.9, **QUIET).save_html(tmp_path / "a.html").read_text()
    assert "nothing is promised before" in text and "No region was reviewed yet" in text
    assert "Nothing was written yet." in text and "data:image" not in text


def test_page__a_sample_of_which_nothing_passes(
    dataset: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    nothing = dict.fromkeys(labels(dataset, index.field, "label"))
    report = index.label(CLASSES, precision=0.9, reviews=nothing, **QUIET)
    text = report.save_html(tmp_path / "a.html").read_text()
    assert "No region of the sample passes" in text
    assert "No random sample was reviewed" not in text


def test_page__a_promise_with_its_classes_and_probabilities(
    dataset: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    truth = labels(dataset, "boxes", "truth")
    learnt = dict(list(truth.items())[:24])
    report = index.label(CLASSES, precision=0.8, reviews=truth, training=learnt, **QUIET)
    assert report.reliability is not None
    text = report.save_html(tmp_path / "a.html").read_text("utf-8")
    assert "Do the probabilities hold?" in text and "% sure" in text
    assert 'class="target"' in text and "exchangeable" in text


def test_page__what_is_gone_is_said(
    dataset: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    report = index.label(CLASSES, **QUIET).to_dict()
    Path(dataset.last().filepath).unlink()
    dataset.delete_labels(ids=[report["pictures"]["random"][0]["label_id"]])
    text = write_label_page(dataset, report, tmp_path / "a.html").read_text("utf-8")
    assert text.count("no picture") >= 2 and "data:image/jpeg" in text
    dataset.delete_sample_field("boxes")
    text = write_label_page(dataset, report, tmp_path / "b.html").read_text("utf-8")
    assert text.count("no picture") == 24
