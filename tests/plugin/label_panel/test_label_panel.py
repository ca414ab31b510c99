"""The panel "Label regions", event by event, without a browser."""

import fiftyone as fo
import pytest

from alphaclip.indexing import build, load
from alphaclip.indexing.labelling.review.runs import book_of, labelling_of
from alphaclip.indexing.labelling.scoring.class_sets import save_classes, saved_classes
from alphaclip.indexing.labelling.scoring.classes import SKIPPED, LabelClass

from ..conftest import COLORS
from .label_panel_driver import LabelDriver

NANO = "alphaclip-nano"
LINES = [f"{color}: a {color} shape" for color in COLORS]

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(embedded):
    return LabelDriver(embedded, LINES, precision=0.6, sample=12)


@pytest.fixture
def reviewing(panel):
    """Twelve of the 24 regions are the sample."""
    assert panel.label() == {"step": "review"}
    return panel


def given(panel):
    """The answers that are kept, by label id."""
    book = book_of(panel.dataset, labelling_of(panel.dataset, "auto"))
    kept = {**book.answers["promise"], **book.answers["training"]}
    return {label_id: by["app"] for label_id, by in kept.items() if "app" in by}


def truths(panel):
    """The colour of each drawing."""
    path = "shapes.detections"
    rows = panel.dataset.values([f"{path}.id", f"{path}.label"], unwind=True)
    return {label_id: label.split()[0] for label_id, label in zip(*rows, strict=True)}


def answer_all(panel, purpose="promise"):
    """Answers all that waits for one purpose, by the truth."""
    right = truths(panel)
    assert panel.give({one["id"]: right[one["id"]] for one in panel.waiting(purpose)}) == {}


def fail(panel):
    """Says of every region of the sample that it is another colour than it was taken for."""
    others = {color: [one for one in COLORS if one != color] for color in (*COLORS, None)}
    waiting = panel.waiting()
    panel.give({one["id"]: others[one["taken_for"]][at % 2] for at, one in enumerate(waiting)})


def test_render__names_the_page_and_writes_no_state(panel):
    panel.do("on_load")
    view = panel.sent("show_panel_output")["output"]["view"]
    assert view["component"] == "AlphaClipLabelRegions"
    assert view["answer"].endswith("#answer")
    assert not [m for m in panel.requests if "panel_state" in m["operator_uri"]]


def test_about__before_and_after_there_is_an_index(drawings):
    panel = LabelDriver(drawings)
    about = panel.do("about")
    assert (about["keys"], about["fields"], about["labelled"]) == ([], ["shapes"], [])
    build(drawings, "shapes", encoder=NANO)
    assert panel.do("about")["keys"] == ["regions"]


def test_preview__counts_all_regions_and_shows_some_of_each_class(panel):
    rows = panel.preview()["rows"]
    assert [row["name"] for row in rows] == [*COLORS, None]
    assert sum(row["count"] for row in rows) == 24
    assert all((row["crops"] or "").startswith("data:image") == (row["count"] > 0) for row in rows)
    assert labelling_of(panel.dataset, "auto") is None


def test_preview__of_many_classes_tells_all_and_draws_the_first(panel):
    rows = panel.preview(lines=[f"thing {number}" for number in range(100)])["rows"]
    assert (len(rows), rows[-1]["name"]) == (101, None)
    save_classes(panel.dataset, "many", [f"thing {number}" for number in range(3_000)])
    assert panel.do("open_set", name="many") == {"lines": [], "examples": [], "count": 3_000}
    assert len(panel.preview(set="many")["rows"]) == 1_001


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["red", "", "blue: a blue thing; nor: a bird"], "line 3"),
        (["red", "  RED"], "two classes"),
        (["red; kind of: blue", "blue; kind of: red"], "its own ancestor"),
        (["red; kind of: nothing"], "no class"),
        ([": a thing"], "line 1"),
        ([], "type one in each line"),
        ([""], "type one in each line"),
        (["red" * 30_000], "save_classes"),
        ([7], "lines is"),
        (None, "lines is"),
    ],
)
def test_classes__what_cannot_be_used_is_said(panel, lines, message):
    panel.lines = lines
    assert message in panel.preview()["error"]
    assert message in panel.label()["error"]
    assert labelling_of(panel.dataset, "auto") is None


def test_classes__are_saved_and_opened_with_their_examples(panel):
    first = panel.dataset.values("shapes.detections.id", unwind=True)[0]
    panel.lines, panel.examples = ["red", "", "blue: a blue shape; also: azure"], [[first]]
    told = panel.do("save_set", name="colours", classes=panel.classes)
    assert told == {"said": "2 classes kept as “colours”"}
    assert saved_classes(panel.dataset, "colours") == [
        LabelClass("red", prompts=("red",), examples=(first,)),
        LabelClass("blue", prompts=("a blue shape",), synonyms=("azure",)),
    ]
    opened = panel.do("open_set", name="colours")
    assert opened["lines"] == ["red: red", "blue: a blue shape; also: azure"]
    assert opened["examples"] == [[first], []]
    assert panel.do("about")["sets"] == ["colours"]
    assert "has no class set 'others'" in panel.do("open_set", name="others")["error"]
    assert "lowercase" in panel.do("save_set", name="../x", classes=panel.classes)["error"]


def test_selected__are_the_ids_of_selected_labels(panel):
    first = panel.dataset.values("shapes.detections.id", unwind=True)[0]
    panel.selected_labels = [{"label_id": first}]
    assert panel.do("selected", keys=["regions"]) == {"ids": [first]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": 1}, "can never show"),
        ({"precision": "much"}, "expected a number"),
        ({"confidence": 7}, "expected a share"),
        ({"mode": "always"}, "mode is 'always'"),
        ({"sample": -1}, "sample is -1"),
        ({"sample": 1.5}, "sample is 1.5"),
    ],
)
def test_settings__that_cannot_be_promised(panel, settings, message):
    panel.settings |= settings
    assert message in panel.do("sample_size", settings=panel.settings)["error"]
    assert message in panel.label()["error"]


def test_settings__say_how_many_are_to_be_reviewed(panel):
    usual = {"precision": 0.95, "confidence": 0.9, "sample": None}
    assert panel.do("sample_size", settings=usual) == {"size": 248, "each": False}
    each = panel.do("sample_size", settings={**usual, "sample": 12, "per_class": True})
    assert each == {"size": 12, "each": True}
    ranking = panel.do("sample_size", settings={**usual, "mode": "ranking", "per_class": True})
    assert ranking == {"size": 0, "each": False}


@pytest.mark.parametrize("into", ["shapes", "../x", "other.label", "a b"])
def test_label__refuses_where_labels_cannot_be_written(panel, into):
    panel.settings["into"] = into
    assert panel.label()["error"]
    assert labelling_of(panel.dataset, "auto") is None


def test_label__what_was_marked_wrong_is_none_of_a_single_class(panel):
    ids = panel.dataset.values("shapes.detections.id", unwind=True)
    panel.lines, panel.examples = ["red"], [ids[:1]]
    assert panel.label(wrong=ids[1:3]) == {"step": "review"}
    assert given(panel) == dict.fromkeys(ids[1:3])
    assert labelling_of(panel.dataset, "auto").learnt == {ids[0]: "red", **given(panel)}


def test_review__what_waits_and_what_this_person_answered(reviewing):
    review = reviewing.review()
    assert (review["sample"], review["reviewed"], review["waiting"]) == (12, 0, 12)
    assert [one["purpose"] for one in review["items"]] == ["promise"] * 12 + ["training"] * 12
    first, second, third, fourth = [one["id"] for one in review["items"][:4]]
    assert reviewing.give({first: "red", second: None, third: SKIPPED}) == {}
    assert given(reviewing) == {first: "red", second: None, third: SKIPPED}
    reviewing.do("answer", into="auto", answers={fourth: "blue"}, withdrawn=[first])
    review = reviewing.review()
    answers = {one["id"]: one["answer"] for one in review["items"] if "answer" in one}
    assert answers == given(reviewing) == {second: None, third: SKIPPED, fourth: "blue"}
    assert review["reviewed"] == 3


def test_review__crops_and_number_keys(reviewing):
    ids = [one["id"] for one in reviewing.review()["items"][:3]]
    reviewing.dataset.delete_labels(ids=ids[1:2])
    tiles = reviewing.do("crops", into="auto", ids=ids, side=64)["tiles"]
    assert [tile["id"] for tile in tiles] == ids
    assert [tile["sample"] is None for tile in tiles] == [False, True, False]
    assert all(tile["crop"].startswith("data:image/jpeg;base64,") for tile in tiles)
    choices = reviewing.do("choices", into="auto", ids=ids)["choices"]
    assert all(sorted(choices[one]) == sorted(COLORS) for one in ids)
    taken_for = labelling_of(reviewing.dataset, "auto").answers[ids[0]]
    assert taken_for is None or choices[ids[0]][0] == taken_for
    opened = reviewing.do("open_picture", sample=tiles[0]["sample"], label=ids[0], field="shapes")
    assert opened == {"id": tiles[0]["sample"], "field": "shapes"}


@pytest.mark.parametrize(
    "params",
    [
        {"answers": {"0" * 24: "red"}},
        {"answers": {}},
        {"answers": ["red"]},
        {"skipped": ["0" * 24]},
        {"withdrawn": [{"$ne": 1}]},
        {"into": "elsewhere"},
        {"into": {"$ne": 1}},
        {"into": None},
        {"class": "violet"},
        {"class": 7},
        {"class": ["red"]},
        {"class": SKIPPED},
    ],
)
def test_review__nothing_from_the_browser_is_trusted(reviewing, params):
    answers = {reviewing.waiting()[0]["id"]: params.get("class", "red")}
    told = reviewing.do("answer", **{"into": "auto", "answers": answers, **params})
    assert told["error"] and "Error: " not in told["error"]
    assert given(reviewing) == {}


def test_review__classes_changed_by_another_run_lose_no_answer(reviewing):
    first = next(one for one in reviewing.waiting() if one["taken_for"])
    assert reviewing.review()["is_stale"] is False
    load(reviewing.dataset).label(["violet", "yellow"], precision=0.6, sample=12)
    assert "is no class of this run" in reviewing.give({first["id"]: "red"})["error"]
    assert given(reviewing) == {}
    assert reviewing.review()["is_stale"] is True


def test_review__an_index_that_is_gone(reviewing):
    ids = [reviewing.waiting()[0]["id"]]
    load(reviewing.dataset).delete()
    assert "regions" in reviewing.do("crops", into="auto", ids=ids, side=64)["error"]
    assert "regions" in reviewing.do("label_again", into="auto")["error"]


def test_report__of_a_whole_sample_shows_what_was_written(reviewing):
    answer_all(reviewing)
    assert reviewing.again() == {"step": "report"}
    assert reviewing.sent("reload_dataset") is not None
    report = reviewing.do("report", into="auto")
    assert "promised" in report["sentence"] or "at least 60 %" in report["sentence"]
    assert (report["is_last"], report["next_sample"]) == (True, 0)
    assert len(report["random"]) == min(12, reviewing.dataset.count("auto.detections"))
    assert [row["class"] for row in report["rows"]] == list(COLORS)
    ids = [one["id"] for one in report["least_sure"]]
    tiles = reviewing.do("crops", into="auto", ids=ids, side=64)["tiles"]
    assert all(tile["sample"] for tile in tiles)
    reviewing.do("show_written", into="auto", run=report["run"])
    assert reviewing.sent("set_view")["view"]
    told = reviewing.do("undo_run", into="auto", run=report["run"])
    assert told["said"].startswith("Taken back")
    assert not reviewing.dataset.has_sample_field("auto")
    report = reviewing.do("report", into="auto")
    assert (report["run"], "random" in report) == (None, False)
    assert "taken back" in report["sentence"]


def test_report__a_failed_test_goes_on_with_a_new_sample(reviewing):
    first = {one["id"] for one in reviewing.waiting()}
    fail(reviewing)
    assert reviewing.again() == {"step": "report"}
    report = reviewing.do("report", into="auto")
    assert (report["has_failed"], report["next_sample"]) == (True, 12)
    assert report["confusions"] and report["wrong"] == 12
    review = reviewing.review()
    assert (review["has_failed"], review["next_sample"]) == (True, 12)
    assert reviewing.again(retrain=True) == {"step": "review"}
    labelling = labelling_of(reviewing.dataset, "auto")
    assert set(labelling.learnt) == first
    assert {one["id"] for one in reviewing.waiting()} == {*labelling.draws[1]["label_ids"]}
    assert not first & set(labelling.draws[1]["label_ids"])


def test_report__trains_on_the_reviews(reviewing):
    answer_all(reviewing)
    answer_all(reviewing, "training")
    reviewing.again()
    assert reviewing.do("report", into="auto")["learnt"] == 12
    reviewing.do("train", into="auto")
    prompt = reviewing.sent("prompt_user_for_operation")
    assert prompt["operator_uri"].endswith("finetune_encoder")
    assert (prompt["params"]["field"], prompt["params"]["reviews"]) == ("shapes", "auto")


def test_report__of_a_ranking(panel):
    panel.settings["mode"] = "ranking"
    assert panel.label() == {"step": "report"}
    assert panel.dataset.count("auto.detections") > 0
    assert "None" not in panel.do("report", into="auto")["sentence"]


@pytest.mark.parametrize("goes_on", [False, True])
def test_report__takes_back_a_run_that_was_cut_off(panel, monkeypatch, goes_on):
    def write_and_end(*args, **kwargs):
        bulk_write(*args, **kwargs)
        raise KeyboardInterrupt

    bulk_write, index = fo.Dataset._bulk_write, load(panel.dataset)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fo.Dataset, "_bulk_write", write_and_end)
        index.label(["red", "blue"])
    if goes_on:
        index.label(["red", "blue"])

    report = panel.do("report", into="auto")
    assert ("cut off" in report["sentence"]) != goes_on
    assert panel.do("undo_run", into="auto", run=report["run"])["said"]
    assert not panel.dataset.has_sample_field("auto")


@pytest.mark.parametrize("params", [{}, {"into": "auto"}, {"into": "auto", "run": "../x"}])
def test_report__takes_back_only_what_it_knows(reviewing, params):
    assert reviewing.do("undo_run", **params)["error"]
