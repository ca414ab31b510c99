"""The panel "Label regions", event by event, without a browser."""

import json
import time

import fiftyone as fo
import pytest
from fiftyone.operators.executor import ExecutionContext

from alphaclip.indexing import build, load
from alphaclip.indexing.labelling.review.runs import book_of, labelling_of
from alphaclip.indexing.labelling.scoring.class_sets import (
    class_set_names,
    save_classes,
    saved_classes,
)
from alphaclip.indexing.labelling.scoring.classes import SKIPPED, LabelClass

from ..conftest import COLORS, plugin_module
from .label_panel_driver import PanelDriver

PANEL = "@alphaclip/regions/label_regions_panel"
NANO = "alphaclip-nano"
TEXT = "\n".join(f"{color}: a {color} shape" for color in COLORS)
SECONDS = 60

pytestmark = pytest.mark.usefixtures("plugins_dir")


class LabelDriver(PanelDriver):
    """What a person does in the panel."""

    def __init__(self, dataset: fo.Dataset) -> None:
        super().__init__(dataset, PANEL)

    def type(self, text: str) -> None:
        """Types classes; nothing is sent before the person pauses."""
        name = f"text_{self.get('edition')}"
        self.state.setdefault("classes", {})[name] = text

    def pause(self) -> None:
        self.do("on_rest")

    def choose(self, path: str, value: object) -> None:
        group, name = path.split(".")
        self.state.setdefault(group, {})[name] = value

    def step(self, name: str) -> None:
        (params,) = [p for p in self.buttons("on_step") if p["step"] == name]
        self.do("on_step", **params)

    def run(self, method: str = "on_label", **params: object) -> None:
        """Starts a run and has the timer go off until it is over."""
        self.do(method, **params)
        assert self.get("error") is None
        self.wait()

    def wait(self) -> None:
        """Until the run is over, and the timer has gone off."""
        jobs = plugin_module(self.panel, "common.jobs")
        deadline = time.monotonic() + SECONDS
        while jobs.outcome(self.dataset, "regions") is None and time.monotonic() < deadline:
            time.sleep(0.1)
        while jobs.running(self.dataset) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.do("on_tick")
        assert self.get("watched") is None
        assert jobs.outcome(self.dataset, "regions")["severity"] == "success"

    @property
    def tiles(self) -> list[dict]:
        return self.state["review"]["tiles"]

    def answer(self, method: str, place: int, **more: object) -> dict:
        """Presses the button of a tile; gives the tile."""
        tile = self.tiles[place]
        params = {"id": tile["id"], "answer": tile["answer"], "into": self.get("review.into")}
        self.do(method, **params, **more, search=self.get("stamp"))
        return tile

    def text(self) -> str:
        return json.dumps(self.schema, ensure_ascii=False)


@pytest.fixture
def panel(drawings):
    build(drawings, "shapes", encoder=NANO)
    return LabelDriver(drawings)


@pytest.fixture
def reviewing(panel):
    """Twelve of the 24 regions are the sample."""
    panel.type(TEXT)
    panel.choose("goal.sample", 12)
    panel.choose("goal.precision", 0.6)
    panel.run()
    return panel


def given(panel):
    """The answers that are kept, by label id."""
    labelling = labelling_of(panel.dataset, "auto")
    book = book_of(panel.dataset, labelling)
    kept = {**book.answers["promise"], **book.answers["training"]}
    return {label_id: by["app"] for label_id, by in kept.items() if "app" in by}


def truths(panel):
    """The colour of each drawing."""
    path = "shapes.detections"
    rows = panel.dataset.values([f"{path}.id", f"{path}.label"], unwind=True)
    return {label_id: label.split()[0] for label_id, label in zip(*rows, strict=True)}


def context(panel):
    """The context of an event of the panel."""
    request = {"panel_id": "panel", "panel_state": panel.state}
    return ExecutionContext({"dataset_name": panel.dataset.name, "params": request})


def finish(panel, purpose="promise"):
    """Answers all that waits for one purpose, by the truth."""
    right = truths(panel)
    while panel.tiles and panel.tiles[0]["purpose"] == purpose:
        ids = [tile["id"] for tile in panel.tiles]
        open_ = [one for one in ids if one not in given(panel)]
        place = ids.index(open_[0])
        name = right[open_[0]]
        if panel.tiles[place]["answer"] == name:
            panel.answer("on_right", place)
        else:
            panel.answer("on_wrong", place)
            panel.answer("on_really", place, name=name)


def test_load__without_an_index_says_what_to_do(drawings):
    panel = LabelDriver(drawings)
    assert "embed" in panel.shown()
    panel.do("on_embed")
    assert panel.sent("prompt_user_for_operation")["operator_uri"].endswith("embed_regions")


def test_load__every_step_says_that_nothing_was_labelled(panel):
    for name in ("label", "review", "report", "classes"):
        panel.step(name)
        assert panel.get("error") is None
        assert ("nothing" in panel.shown()) == (name in ("review", "report"))


def test_classes__preview_counts_all_regions_and_shows_crops(panel):
    panel.type(TEXT)
    panel.pause()
    rows = panel.get("preview.rows")
    assert [name for name, *_ in rows] == [*COLORS, None]
    assert sum(count for _, count, _ in rows) == 24
    shown = [f"c{place}" for place, (_, count, _) in enumerate(rows) if count]
    assert sorted(panel.data["previews"]) == shown
    assert panel.data["previews"]["c0"]["strip"].startswith("data:image/jpeg;base64,")
    assert labelling_of(panel.dataset, "auto") is None


def test_classes__a_late_answer_of_an_old_text_is_dropped(panel, monkeypatch):
    module = plugin_module(panel.panel, "label_panel.preview")
    found = module._previews

    def type_meanwhile(ctx, *args):
        monkeypatch.setattr(module, "_previews", found)
        other = LabelDriver(panel.dataset)
        other.type("red\nblue")
        module._note(context(other))
        return found(ctx, *args)

    monkeypatch.setattr(module, "_previews", type_meanwhile)
    panel.type("red")
    panel.pause()
    assert panel.get("preview") is None
    panel.type("red\nblue")
    panel.pause()
    assert [name for name, *_ in panel.get("preview.rows")] == ["red", "blue", None]


def test_classes__a_pause_with_the_same_text_does_nothing(panel):
    panel.type(TEXT)
    panel.pause()
    panel.do("on_next_classes")
    page = panel.get("preview")
    panel.pause()
    assert panel.get("preview") == page
    panel.type("red; nor: blue")
    panel.pause()
    assert "line 1" in panel.get("class_error")
    assert panel.get("preview") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red\nblue: a blue thing; nor: a bird", "line 2"),
        ("red\n  RED", "two classes"),
        ("red; kind of: blue\nblue; kind of: red", "its own ancestor"),
        ("red; kind of: nothing", "no class"),
        (": a thing", "line 1"),
        ("", "type one a line"),
        ("red" * 30_000, "can be typed here"),
    ],
)
def test_classes__what_cannot_be_used_is_said_where_the_classes_are(panel, text, message):
    panel.type(text)
    panel.do("on_preview")
    assert message in panel.get("class_error")
    assert "classes.error" in panel.shown()
    panel.do("on_label")
    assert message in panel.get("error")
    assert labelling_of(panel.dataset, "auto") is None


def test_classes__many_come_in_pages(panel):
    panel.type("\n".join(f"thing {number}" for number in range(100)))
    panel.do("on_preview")
    assert (len(panel.get("preview.rows")), panel.get("preview.pages")) == (30, 4)
    for _ in range(5):
        panel.do("on_next_classes")
    assert panel.get("preview.page") == 3
    assert panel.get("preview.rows")[-1][0] is None


def test_classes__ten_thousand_come_from_a_saved_set(panel):
    save_classes(panel.dataset, "many", [f"thing {number}" for number in range(10_000)])
    panel.choose("sets.chosen", "many")
    panel.do("on_open_set")
    panel.do("on_preview")
    assert (panel.get("error"), panel.get("class_error")) == (None, None)
    assert panel.get("preview.pages") == 334
    assert len(json.dumps(panel.state)) < 20_000


def test_classes__are_saved_and_opened(panel):
    panel.type("red: a red shape; also: crimson\nblue")
    panel.choose("sets.name", "colours")
    panel.do("on_save_set")
    assert class_set_names(panel.dataset) == ["colours"]
    assert saved_classes(panel.dataset, "colours")[0].synonyms == ("crimson",)
    other = LabelDriver(panel.dataset)
    other.choose("sets.chosen", "colours")
    other.do("on_open_set")
    assert other.get(f"classes.text_{other.get('edition')}").startswith("red: a red shape; also")


@pytest.mark.parametrize("name", ["", "../x", "A name"])
def test_classes__are_not_saved_under_any_name(panel, name):
    panel.type(TEXT)
    panel.choose("sets.name", name)
    panel.do("on_save_set")
    assert "lowercase" in panel.get("error")


def test_classes__a_set_that_is_gone(panel):
    panel.choose("sets.chosen", "colours")
    panel.do("on_open_set")
    assert "has no class set 'colours'" in panel.get("error")


def test_classes__selected_labels_are_examples_of_one_class(panel):
    first, second = panel.dataset.values("shapes.detections.id", unwind=True)[:2]
    panel.type(TEXT)
    panel.do("on_add_examples")
    assert "Nothing is selected" in panel.get("error")
    panel.selected_labels = [{"label_id": first}, {"label_id": second}]
    panel.choose("of.name", "red")
    panel.do("on_add_examples")
    panel.selected_labels = [{"label_id": second}]
    panel.choose("of.name", "blue")
    panel.do("on_add_examples")
    assert panel.get("examples") == {"red": [first], "blue": [second]}
    panel.do("on_preview")
    assert panel.get("class_error") is None
    panel.choose("of.name", "violet")
    panel.do("on_add_examples")
    assert "none of the classes" in panel.get("error")
    panel.do("on_no_examples")
    assert panel.get("examples") == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("goal.precision", 1, "can never show"),
        ("goal.precision", None, "expected a share"),
        ("goal.precision", "much", "expected a number"),
        ("goal.confidence", 7, "expected a share"),
        ("promise.mode", "always", "mode is 'always'"),
        ("goal.sample", -1, "sample is -1"),
        ("goal.sample", 1.5, "sample is 1.5"),
    ],
)
def test_label__refuses_what_cannot_be_promised(panel, name, value, message):
    panel.type(TEXT)
    panel.choose(name, value)
    panel.do("on_label")
    assert message in panel.get("error")


def test_label__says_how_many_are_to_be_reviewed(panel):
    panel.step("label")
    panel.do("on_goal")
    assert "248 regions with these figures" in panel.text()
    panel.choose("goal.sample", 12)
    panel.choose("choices.per_class", True)
    panel.do("on_goal")
    assert "12 regions of each class with these figures" in panel.text()
    panel.choose("goal.precision", 7)
    panel.do("on_goal")
    assert "with these figures" not in panel.text()
    assert panel.get("error") is None


@pytest.mark.parametrize("into", ["shapes", "../x", "other.label", "a b"])
def test_label__refuses_where_labels_cannot_be_written(panel, into):
    panel.type(TEXT)
    panel.choose("where.into", into)
    panel.do("on_label")
    assert panel.get("error")
    assert labelling_of(panel.dataset, "auto") is None


def test_label__the_first_run_leads_to_the_review_of_the_sample(reviewing):
    assert reviewing.get("step") == "review"
    assert len(reviewing.tiles) == 12
    assert {tile["purpose"] for tile in reviewing.tiles} == {"promise"}
    assert "0 of 12 of the random sample reviewed; 12 wait in the queue" in reviewing.text()
    crops = [tile["crop"] for tile in reviewing.data["gallery"].values()]
    assert len(crops) == 12
    assert all(crop.startswith("data:image/jpeg;base64,") for crop in crops)


def test_label__a_timer_that_comes_late_shows_the_same(panel):
    panel.type(TEXT)
    panel.choose("goal.sample", 12)
    panel.do("on_label")
    old = json.loads(json.dumps(panel.state))
    panel.wait()
    shown = panel.state["review"]
    assert panel.get("step") == "review"
    panel.state = old
    panel.do("on_tick")
    assert (panel.get("step"), panel.state["review"]) == ("review", shown)


def test_review__answers_are_kept_at_once(reviewing):
    right = reviewing.answer("on_right", 0)
    wrong = reviewing.answer("on_wrong", 1)
    skipped = reviewing.answer("on_skip", 2)
    assert given(reviewing) == {
        right["id"]: right["answer"], wrong["id"]: SKIPPED, skipped["id"]: SKIPPED
    }  # fmt: skip
    assert "3 of 12 of the random sample reviewed" in reviewing.text()
    keys = reviewing.schema["type"]["properties"]["keys"]["view"]
    signs = [keys[name] for name in ("right", "wrong", "skip")]
    assert signs == [[right["id"]], [wrong["id"]], [skipped["id"]]]
    assert keys["params"][right["id"]] == {"answer": right["answer"], "into": "auto"}
    for place in range(3):
        reviewing.answer("on_take_back", place)
    assert given(reviewing) == {}


def test_review__wrong_asks_what_it_is(reviewing):
    tile = reviewing.answer("on_wrong", 0)
    offered = [button["name"] for button in reviewing.buttons("on_really")]
    expected = [name for name in COLORS if name != tile["answer"]]
    expected += [None] if tile["answer"] is not None else []
    assert sorted(map(str, offered)) == sorted(map(str, expected))
    reviewing.answer("on_really", 0, name=offered[0])
    assert given(reviewing) == {tile["id"]: offered[0]}
    reviewing.answer("on_really", 0, name=None)
    assert given(reviewing) == {tile["id"]: None}
    reviewing.answer("on_skip", 0)
    assert given(reviewing) == {tile["id"]: SKIPPED}


def test_review__a_whole_sample_is_tested_and_what_passes_is_written(reviewing):
    finish(reviewing)
    assert "complete" in reviewing.shown()
    reviewing.run("on_label_again", into="auto")
    labelling = labelling_of(reviewing.dataset, "auto")
    assert labelling.tested_with
    assert reviewing.get("step") == "report"
    assert reviewing.dataset.has_sample_field("auto")
    assert reviewing.get("report.lines")[0] in reviewing.text()


def fail(panel):
    """Says of every region on the page that it is another colour than it was taken for."""
    for place, tile in enumerate(list(panel.tiles)):
        panel.answer("on_wrong", place)
        others = [name for name in COLORS if name != tile["answer"]]
        panel.answer("on_really", place, name=others[place % len(others)])


def test_report__a_failed_test_goes_on_with_a_new_sample(reviewing):
    first = {tile["id"] for tile in reviewing.tiles}
    fail(reviewing)
    reviewing.run("on_label_again", into="auto")
    assert reviewing.get("step") == "report"
    assert "Learn from these answers and draw a new sample (12 answers)" in reviewing.text()
    assert len(reviewing.buttons("on_label_again")) == 1
    reviewing.step("review")
    (params,) = reviewing.buttons("on_label_again")
    assert params["retrain"] is True
    reviewing.run("on_label_again", **params)
    assert reviewing.get("step") == "review"
    labelling = labelling_of(reviewing.dataset, "auto")
    assert set(labelling.learnt) == first
    assert {tile["id"] for tile in reviewing.tiles} == {*labelling.draws[1]["label_ids"]}
    assert not first & set(labelling.draws[1]["label_ids"])
    assert "0 of 12 of the random sample reviewed" in reviewing.text()


def test_review__a_sample_is_given_up_before_all_of_it_is_answered(reviewing):
    assert ["retrain" in p for p in reviewing.buttons("on_label_again")] == [False]
    tile = reviewing.answer("on_wrong", 0)
    reviewing.answer("on_really", 0, name=None)
    (params, _) = reviewing.buttons("on_label_again")
    assert params["retrain"] is True
    reviewing.run("on_label_again", **params)
    labelling = labelling_of(reviewing.dataset, "auto")
    assert labelling.learnt == {tile["id"]: None}
    assert len(labelling.draws) == 2
    assert labelling.settings["retrain"] is True
    reviewing.run("on_label_again", into="auto")
    assert len(labelling_of(reviewing.dataset, "auto").draws) == 2


def test_review__pages_go_on_by_themselves_and_back(drawings):
    build(drawings, "shapes", encoder=NANO)
    panel = LabelDriver(drawings)
    module = plugin_module(panel.panel, "label_panel.pages")
    panel.type(TEXT)
    panel.choose("goal.sample", 4)
    panel.run()
    first = [panel.answer("on_right", place)["id"] for place in range(3)]
    first.append(panel.tiles[3]["id"])
    panel.answer("on_wrong", 3)
    assert [tile["id"] for tile in panel.tiles] == first
    panel.answer("on_really", 3, name=None)
    assert {tile["purpose"] for tile in panel.tiles} == {"training"}
    assert "4 of 4 of the random sample reviewed" in panel.text()
    second = [tile["id"] for tile in panel.tiles]
    panel.do("on_previous", search=panel.get("stamp"))
    assert [tile["id"] for tile in panel.tiles] == first
    assert "4 of 4 of the random sample reviewed" in panel.text()
    panel.do("on_next", search=panel.get("stamp"))
    assert [tile["id"] for tile in panel.tiles] == second
    assert module.PAGE == 24


def test_review__undo_by_key_of_the_page_before(drawings):
    build(drawings, "shapes", encoder=NANO)
    panel = LabelDriver(drawings)
    panel.type(TEXT)
    panel.choose("goal.sample", 2)
    panel.run()
    panel.answer("on_skip", 0)
    last = panel.answer("on_skip", 1)
    assert panel.tiles[0]["purpose"] == "training"
    panel.do("on_take_back", id=last["id"], answer=last["answer"], into="auto")
    assert last["id"] in [tile["id"] for tile in panel.tiles]
    assert last["id"] not in given(panel)


def test_review__only_one_class(reviewing):
    answer = reviewing.tiles[0]["answer"]
    classes = labelling_of(reviewing.dataset, "auto").classes
    value = "none" if answer is None else f"c{classes.index(answer)}"
    reviewing.do("on_only", value=value)
    assert {tile["answer"] for tile in reviewing.tiles} == {answer}
    reviewing.do("on_only", value="queue")
    assert {tile["purpose"] for tile in reviewing.tiles} == {"training"}
    reviewing.do("on_only", value="c77")
    assert reviewing.tiles == []
    assert reviewing.get("error") is None
    reviewing.do("on_only", value="all")
    assert len(reviewing.tiles) == 12


def test_review__two_tabs_each_answer_what_they_show(reviewing):
    stamp, tile = reviewing.get("stamp"), reviewing.tiles[5]
    shown = reviewing.state["review"]
    reviewing.step("classes")
    reviewing.state["review"] = None
    params = {"id": tile["id"], "answer": tile["answer"], "into": "auto", "search": stamp}
    reviewing.do("on_right", **params)
    assert given(reviewing) == {tile["id"]: tile["answer"]}
    assert (reviewing.get("step"), reviewing.state["review"]) == ("review", shown)
    assert "t" + tile["id"] in reviewing.data["gallery"]


def test_review__clicks_that_do_not_know_of_each_other(reviewing):
    before = json.loads(json.dumps(reviewing.state))
    for place in (0, 1, 2):
        reviewing.state = json.loads(json.dumps(before))
        reviewing.answer("on_right", place)
        reviewing.answer("on_right", place)
    assert len(given(reviewing)) == 3
    assert "3 of 12 of the random sample reviewed" in reviewing.text()


@pytest.mark.parametrize(
    "params",
    [
        {"id": "0" * 24, "answer": "red", "into": "auto"},
        {"id": {"$ne": 1}, "answer": "red", "into": "auto"},
        {"id": None, "answer": "red", "into": "auto"},
        {"answer": "violet"},
        {"answer": 7},
        {"answer": ["red"]},
        {"into": "elsewhere"},
        {"into": {"$ne": 1}},
        {"into": None},
    ],
)
def test_review__nothing_from_the_browser_is_trusted(reviewing, params):
    usual = {"id": reviewing.tiles[0]["id"], "answer": "red", "into": "auto"}
    reviewing.do("on_right", **{**usual, **params})
    assert reviewing.get("error")
    assert "Error: " not in reviewing.get("error")
    assert given(reviewing) == {}


def test_review__a_region_that_was_deleted_can_be_skipped(reviewing):
    gone = reviewing.tiles[0]["id"]
    reviewing.dataset.delete_labels(ids=[gone])
    reviewing.step("review")
    assert reviewing.get("error") is None
    assert reviewing.tiles[0]["id"] == gone
    reviewing.answer("on_skip", 0)
    assert given(reviewing) == {gone: SKIPPED}


def test_review__classes_edited_since_the_run(reviewing):
    tile = reviewing.tiles[0]
    reviewing.type("violet\nyellow")
    reviewing.step("review")
    assert "stale" in reviewing.shown()
    reviewing.answer("on_right", 0)
    assert given(reviewing) == {tile["id"]: tile["answer"]}


def test_review__classes_changed_by_another_run_lose_no_answer(reviewing):
    place = next(n for n, tile in enumerate(reviewing.tiles) if tile["answer"] is not None)
    load(reviewing.dataset).label(["violet", "yellow"], precision=0.6, sample=12)
    reviewing.answer("on_right", place)
    assert "is no class of this run any more" in reviewing.get("error")
    assert given(reviewing) == {}
    reviewing.step("review")
    tile = reviewing.answer("on_right", place)
    assert given(reviewing) == {tile["id"]: tile["answer"]}
    assert tile["answer"] in ("violet", "yellow", None)


def test_review__an_index_that_is_gone(reviewing):
    load(reviewing.dataset).delete()
    reviewing.step("review")
    assert "embed" in reviewing.shown() or reviewing.get("error")
    build(reviewing.dataset, "shapes", encoder=NANO, key="other")
    reviewing.do("on_load")
    reviewing.step("review")
    assert "regions" in reviewing.get("error")
    assert "Error: " not in reviewing.get("error")


def test_report__undo_show_and_train(reviewing):
    finish(reviewing)
    finish(reviewing, "training")
    reviewing.run("on_label_again", into="auto")
    (params,) = reviewing.buttons("on_show_written")
    reviewing.do("on_show_written", **params)
    assert reviewing.sent("set_view")["view"]
    (train,) = reviewing.buttons("on_train")
    reviewing.do("on_train", **train)
    prompt = reviewing.sent("prompt_user_for_operation")
    assert prompt["operator_uri"].endswith("finetune_encoder")
    assert prompt["params"]["field"] == "shapes"
    assert prompt["params"]["reviews"] == "auto"
    reviewing.do("on_undo_run", **params)
    assert reviewing.get("error") is None
    assert not reviewing.dataset.has_sample_field("auto") or (
        reviewing.dataset.count("auto.detections") == 0
    )
    assert reviewing.buttons("on_undo_run") == []
    (line,) = reviewing.get("report.lines")
    assert line.startswith("The last run was taken back")


def test_report__of_a_ranking(panel):
    panel.type(TEXT)
    panel.choose("promise.mode", "ranking")
    panel.run()
    assert panel.get("step") == "report"
    assert panel.dataset.count("auto.detections") > 0
    assert "None" not in panel.get("report.lines")[0]


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

    panel.do("on_load")
    panel.step("report")
    assert ("cut off" in panel.get("report.lines")[0]) != goes_on
    (params,) = panel.buttons("on_undo_run")
    panel.do("on_undo_run", **params)
    assert panel.get("error") is None
    assert not panel.dataset.has_sample_field("auto")
    assert panel.buttons("on_undo_run") == []


@pytest.mark.parametrize("params", [{}, {"into": "auto"}, {"into": "auto", "run": "../x"}])
def test_report__takes_back_only_what_it_knows(reviewing, params):
    reviewing.do("on_undo_run", **params)
    assert reviewing.get("error")


def test_classes__examples_leave_the_name_a_prompt(panel):
    first = panel.dataset.values("shapes.detections.id", unwind=True)[0]
    panel.type("red\nblue: a blue shape")
    panel.selected_labels = [{"label_id": first}]
    panel.choose("of.name", "red")
    panel.do("on_add_examples")
    panel.choose("sets.name", "colours")
    panel.do("on_save_set")
    assert saved_classes(panel.dataset, "colours")[0] == LabelClass(
        "red", prompts=("red",), examples=(first,)
    )
