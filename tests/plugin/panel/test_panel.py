"""The panel's logic, event by event, without a browser."""

import base64
import io
import json
import time

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone.operators.executor import ExecutionContext
from PIL import Image

from alphaclip.indexing import Example, build, load
from alphaclip.indexing.explore import searches

from ..conftest import plugin_module
from .panel_driver import PanelDriver

ACT = "@alphaclip/regions/act_on_regions"
NANO = {"encoder": "alphaclip-nano"}
HOSTILE = [
    "<img src=x onerror=alert(1)> <b>apple</b>",
    "\"quotes\" and 'others' `and` $code$ \\ {}",
    "תפוח אדום",
    "🍎🍏",
    "../../etc/passwd",
]

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(drawings):
    build(drawings, "shapes", **NANO)
    return PanelDriver(drawings)


def found(panel, query, k, **options):
    return load(panel.dataset).search(query, k=k, **options).label_ids.tolist()


def form(panel, **params):
    request = {"dataset_name": panel.dataset.name, "params": params}
    return foo.get_operator(ACT).resolve_type(ExecutionContext(request, operator_uri=ACT), "inputs")


def prompted(panel, action):
    """The parameters with which a button of the panel opens the form."""
    panel.do(f"on_{action}")
    return panel.sent("prompt_user_for_operation")["params"]


def act(panel, action, **params):
    prompt = prompted(panel, action)
    return foo.execute_operator(ACT, dataset=panel.dataset, params={**prompt, **params})


def picture_of(color, size=(64, 48)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_load__without_an_index_says_what_to_do(drawings):
    panel = PanelDriver(drawings)
    assert "embed" in panel.shown()
    panel.do("on_embed")
    assert panel.sent("prompt_user_for_operation")["operator_uri"].endswith("embed_regions")


def test_load__without_labels_leads_to_segmenting(drawings):
    drawings.delete_sample_field("shapes")
    panel = PanelDriver(drawings)
    assert "segment" in panel.shown()
    assert "embed" not in panel.shown()
    assert "Segment regions" in json.dumps(panel.schema)
    panel.do("on_segment")
    assert panel.sent("prompt_user_for_operation")["operator_uri"].endswith("segment_regions")


def test_load__goes_on_when_labels_and_an_index_come_from_elsewhere(drawings):
    boxes = drawings.values("shapes")
    drawings.delete_sample_field("shapes")
    panel = PanelDriver(drawings)
    drawings.set_values("found", boxes)
    panel.do("on_look")
    assert {"embed", "segment", "timer"} <= set(panel.shown())
    build(drawings, "found", **NANO)
    panel.do("on_look")
    assert "timer" not in panel.shown()
    panel.search(query="a square", k=5)
    assert (panel.get("error"), len(panel.hits)) == (None, 5)


def test_load__first_step_shows_a_job_and_stops_it(drawings):
    panel = PanelDriver(drawings)
    jobs = plugin_module(panel.panel, "common.jobs")
    with jobs.stoppable(drawings, "masks:masks", "Segmenting into masks") as job:
        seen = wait_for(lambda: jobs.running(drawings))[0]
        panel.do("on_look")
        assert "job_0.stop" in panel.shown()
        assert "Segmenting into masks" in json.dumps(panel.schema)
        panel.do("on_stop", id=seen["id"])
        with pytest.raises(jobs.JobStopped):
            wait_for(lambda: job.progress("pictures segmented", 1, 3))
    panel.do("on_look")
    assert "job_0.stop" not in panel.shown()


def test_load__tells_of_a_job_that_was_over_before_anybody_looked(drawings):
    panel = PanelDriver(drawings)
    jobs = plugin_module(panel.panel, "common.jobs")
    with jobs.stoppable(drawings, "masks:masks", "Segmenting into masks") as job:
        job.said = "7 masks added to masks"
    panel.do("on_look")
    assert panel.get("outcome.text") == "7 masks added to masks"
    assert "outcome" in panel.shown()
    assert PanelDriver(drawings).get("outcome") is None


def test_search__shows_the_hits_of_the_index(panel):
    panel.search(query="a green square", k=5)
    assert panel.get("error") is None
    assert panel.hits == found(panel, "a green square", 5)
    assert panel.get("found.total") == 24
    assert panel.data["gallery"]["t0"]["crop"].startswith("data:image/jpeg;base64,")
    assert sum(panel.data["spread"][0]["y"]) == 24


def test_search__says_that_the_encoder_is_loading_first(panel):
    panel.fill(query="a circle")
    panel.do("on_search")
    assert {"loading", "begin"} <= set(panel.shown())
    asked = panel.get("pending")
    panel.do("on_pending", asked=asked)
    assert panel.hits
    panel.search(query="a square")
    hits = panel.hits
    panel.do("on_pending", asked=asked)
    assert panel.hits == hits


def test_search__words_to_avoid(panel):
    panel.search(query="a square", avoid="a red thing, a blue thing", k=6)
    negative = ["a red thing", "a blue thing"]
    assert panel.hits == found(panel, "a square", 6, negative=negative)


def test_search__only_in_the_current_view(panel):
    ids = [ObjectId(one) for one in panel.dataset.limit(3).values("id")]
    for view in (panel.dataset.limit(3), panel.dataset.match(fo.ViewField("_id").is_in(ids))):
        panel.view = view
        panel.search(query="a square", inside=True)
        assert len(panel.hits) == 6
        assert panel.hits == found(panel, "a square", 24, view=panel.view)


def test_search__examples_from_the_grid_and_the_gallery(panel):
    panel.search(query="a square", k=4)
    first, second = panel.hits[:2]
    panel.view, panel.selected = panel.dataset.to_patches("shapes"), [first]
    panel.do("on_more_like")
    panel.selected = []
    panel.do("on_select", id=second)
    panel.do("on_less_like")
    assert (panel.get("like"), panel.get("unlike")) == ([first], [second])
    panel.search(query="", k=24)
    expected = found(panel, Example(first), 24, negative=Example(second))
    assert panel.hits == expected


def test_gallery__labels_that_were_copied_are_marked_and_acted_on_apart(panel):
    first = panel.dataset.first()
    copied = fo.Detections.from_dict(first.shapes.to_dict())
    copy = fo.Sample(first.filepath, shapes=copied)
    panel.dataset.add_sample(copy)
    load(panel.dataset).update()
    panel.search(query="a square", k=30)
    label_id = first.shapes.detections[0].id
    name = f"{copy.id}-{label_id}"
    assert {label_id, name} <= set(panel.hits)
    assert len(set(panel.hits)) == len(panel.hits) == 24
    panel.do("on_select", id=name)
    act(panel, "tag", value="odd")
    copy.reload()
    assert [one.tags for one in copy.shapes.detections] == [["odd"], []]
    assert panel.dataset.count_label_tags() == {"odd": 1}
    panel.do("on_right", id=name)
    panel.do("on_wrong", id=label_id)
    panel.do("on_search_again")
    assert panel.hits.index(name) < panel.hits.index(label_id)
    picked = {"label_id": label_id, "sample_id": copy.id, "field": "shapes"}
    panel.selected_labels = [picked]
    panel.do("on_more_like")
    assert panel.get("like") == [name]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"query": "  "}, "Say what to look for"),
        ({"query": "x" * 10_000}, "10000 characters"),
        ({"query": "a", "k": 0}, "whole number from 1"),
        ({"query": "a", "k": 1.5}, "whole number from 1"),
        ({"query": "a", "min_score": 2}, "between -1 and 1"),
        ({"query": "a", "keys": []}, "Choose an index"),
        ({"query": "a", "keys": ["../other"]}, "expected letters, digits"),
        ({"query": "a", "mode": "unlabelled"}, "no other field with labels"),
        ({"query": " , ", "mode": "pictures"}, "Type what the pictures show"),
    ],
)
def test_search__what_cannot_be_searched(panel, values, told):
    panel.search(**values)
    assert told in panel.get("error")
    assert "error" in panel.shown()


@pytest.mark.parametrize("text", HOSTILE)
def test_search__any_text_is_only_text(panel, text):
    sample = panel.dataset.first()
    sample.shapes.detections[0].label = text
    sample.save()
    panel.search(query=text, avoid=text)
    assert panel.get("error") is None
    assert any(tile["caption"] == text for tile in panel.state["tiles"])
    act(panel, "tag", value=text)
    assert set(panel.dataset.count_label_tags()) == {text}


def test_search__labels_of_a_deleted_field(panel):
    panel.search(query="a square", k=3)
    panel.dataset.delete_sample_field("shapes")
    panel.search(query="a circle")
    assert "shapes" in panel.get("error")
    assert panel.get("asked") is None


def test_threshold__cuts_and_counts(panel):
    panel.search(query="a square", k=24)
    scores = load(panel.dataset).search("a square", k=24).scores
    move_threshold(panel, float(scores[5]) - 1e-4)
    assert panel.get("found.above") == len(panel.hits) == 6
    panel.do("on_bar", x=-1.0, range=[-1.0, -0.9])
    assert panel.get("found.above") == len(panel.hits) == 24


def test_threshold__is_moved_without_another_search(panel, monkeypatch):
    searched = []
    search = searches.find_and_measure
    monkeypatch.setattr(searches, "find_and_measure", lambda *a: searched.append(a) or search(*a))
    panel.search(query="a square", avoid="a circle")
    scores = np.sort(load(panel.dataset).search("a square", k=24).scores)
    for count in (20, 9, 24):
        move_threshold(panel, float(scores[-count]) - 1e-4)
        assert panel.get("found.above") == len(panel.hits) == count
    form(panel, **prompted(panel, "tag"))
    assert len(searched) == 1


def test_threshold__brings_in_others_where_the_order_is_not_that_of_the_scores(panel):
    panel.search(query="a square", avoid="a circle", k=8)
    first = panel.hits
    lowest = load(panel.dataset).search("a square", k=8, negative="a circle").scores.min()
    least = float(lowest) + 1e-4
    move_threshold(panel, least)
    assert panel.hits == found(panel, "a square", 8, negative="a circle", min_score=least)
    assert len(set(panel.hits) - set(first)) >= 1


def move_threshold(panel, least):
    name = panel.get("cut.name")
    panel.state["cut"][name] = least
    panel.do("on_threshold", value=least, path=f"cut.{name}")


def test_tabs__each_acts_on_what_it_shows(panel):
    """The App gives one tab's state to the other, whose screen stays as it was."""
    other = PanelDriver(panel.dataset)
    panel.search(query="a square", k=5)
    shown, slider = panel.hits, f"cut.{panel.get('cut.name')}"
    other.search(query="a red circle", k=7)
    buttons = panel.buttons("on_select")
    panel.state = json.loads(json.dumps(other.state))
    panel.do("on_select", **buttons[1])
    assert (panel.get("words.query"), panel.get("asked.words")) == ("a red circle", "a square")
    assert (panel.hits, panel.get("selected")) == (shown, [shown[1]])
    other.state = json.loads(json.dumps(panel.state))
    other.do("on_select", **other.buttons("on_select")[0])
    assert (other.get("asked.words"), len(other.hits)) == ("a red circle", 7)
    assert other.get("selected") == other.hits[:1]
    panel.state = json.loads(json.dumps(other.state))
    panel.do("on_threshold", value=0.99, path=slider)
    assert (panel.get("asked.words"), panel.hits) == ("a square", [])


def test_load__what_another_dataset_was_asked_is_dropped(panel, shapes):
    panel.search(query="a square", k=5)
    panel.dataset = shapes
    panel.do("on_load")
    assert (panel.get("error"), panel.get("asked"), panel.get("tiles")) == (None, None, [])


def test_tabs__what_is_not_kept_any_more(panel):
    panel.search(query="a square", k=5)
    panel.do("on_select", id=panel.hits[0], search="1")
    assert "search again" in panel.get("error")
    assert panel.get("selected") == []


def test_gallery__pages(panel, monkeypatch):
    gallery = plugin_module(panel.panel, "panel.showing")
    monkeypatch.setattr(gallery, "PAGE", 10)
    panel.search(query="a square", k=24)
    expected = found(panel, "a square", 24)
    panel.do("on_next")
    assert panel.hits == expected[10:20]
    panel.do("on_next")
    panel.do("on_next")
    assert panel.hits == expected[20:]
    assert panel.state["tiles"][0]["rank"] == 21


def test_gallery__clicks_faster_than_their_answers(panel):
    panel.search(query="a square", k=6)
    before = {**panel.state}
    for label_id in panel.hits[:3]:
        panel.state = {**before}
        panel.do("on_select", id=label_id)
    assert panel.get("selected") == panel.hits[:3]
    panel.do("on_right", id=panel.hits[0])
    panel.do("on_wrong", id=panel.hits[0])
    assert (panel.get("right"), panel.get("wrong")) == ([], panel.hits[:1])


def test_gallery__a_click_sends_no_pictures_twice(panel):
    panel.search(query="a square", k=6)
    panel.state = {**panel.state, "gallery": panel.data["gallery"], "spread": panel.data["spread"]}
    panel.do("on_select", id=panel.hits[0])
    assert panel.get("gallery") is None
    assert panel.get("spread") is None


def test_refine__searches_again_with_the_marks(panel):
    panel.search(query="a square", k=24)
    right, wrong = panel.hits[-1], panel.hits[0]
    panel.do("on_right", id=right)
    panel.do("on_wrong", id=wrong)
    panel.do("on_search_again")
    assert panel.get("error") is None
    assert (panel.get("right"), panel.get("wrong")) == ([right], [wrong])
    assert panel.hits.index(right) < panel.hits.index(wrong)
    panel.do("on_forget_marks")
    assert panel.hits == found(panel, "a square", 24)


def test_pictures__with_and_without(panel):
    panel.search(query="a circle, a square", avoid="a triangle", mode="pictures", k=4)
    assert panel.get("error") is None
    assert set(panel.hits) <= set(panel.dataset.values("id"))
    panel.do("on_show_pictures")
    assert panel.sent("set_view")


def test_unlabelled__proposals_that_no_label_covers(panel):
    ids = panel.dataset.values("shapes.detections.id")
    panel.dataset.set_values("shapes.detections.label", [[None] * len(some) for some in ids])
    sample = panel.dataset.first()
    covered = sample.shapes.detections[0]
    label = fo.Detection(label="seen", bounding_box=covered.bounding_box)
    sample["people"] = fo.Detections(detections=[label])
    sample.save()
    panel.search(query="a circle", mode="unlabelled", k=24)
    assert panel.get("error") is None
    assert len(panel.hits) == 23
    assert covered.id not in panel.hits


def test_picture__with_a_box(panel):
    panel.do("on_upload", value={"content": picture_of("red"), "name": "../../x.png"})
    assert panel.get("error") is None
    assert panel.data["picture"]["preview"].startswith("data:image")
    shown = panel.data["picture"]["preview"]
    panel.do("on_box", path="picture.box.x", value=0.25)
    assert "1 of 4 numbers" in panel.get("error")
    for name in ("y", "width", "height"):
        panel.state["picture"]["box"][name] = 0.25
    panel.do("on_box", path="picture.box.height", value=0.5)
    assert panel.get("error") is None
    assert panel.data["picture"]["preview"] != shown
    panel.search(query="")
    assert len(panel.hits) == 24


@pytest.mark.parametrize("content", ["", "????", base64.b64encode(b"no picture").decode()])
def test_picture__that_is_none(panel, content):
    panel.do("on_upload", value={"content": content, "name": "x.png"})
    assert "no picture" in panel.get("error")


def uploaded(image, kind):
    content = io.BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def test_picture__in_a_format_that_runs_a_program(panel):
    content = uploaded(Image.new("RGB", (20, 20)), "EPS")
    panel.do("on_upload", value={"content": content, "name": "x.png"})
    assert "not one of JPEG, PNG" in panel.get("error")


def test_picture__small_file_of_many_pixels(panel):
    content = uploaded(Image.new("1", (8000, 7000)), "PNG")
    panel.do("on_upload", value={"content": content, "name": "x.png"})
    assert "the limit is 50,000,000" in panel.get("error")


def test_picture__large_jpeg_is_decoded_at_a_quarter(panel):
    content = uploaded(Image.new("L", (8000, 7000), 90), "JPEG")
    panel.do("on_upload", value={"content": content, "name": "x.jpg"})
    assert panel.get("error") is None
    assert panel.data["picture"]["preview"].startswith("data:image")


def test_act__tags_what_lies_above_and_takes_it_back(panel):
    panel.search(query="a green square", k=5)
    above = panel.get("found.above")
    prompt = form(panel, **prompted(panel, "tag"))
    assert prompt.view.to_json()["submit_button_label"] == f"Tag {above} regions"
    act(panel, "tag", value="check")
    assert panel.dataset.count_label_tags() == {"check": above}
    panel.do("on_acted")
    assert panel.get("action.said") == f"tagging {above} regions “check”"
    panel.do("on_undo")
    assert panel.dataset.count_label_tags() == {}
    assert panel.get("action") is None


def test_act__on_the_selection(panel):
    panel.search(query="a green square", k=5)
    panel.do("on_select", id=panel.hits[3])
    prompt = form(panel, **prompted(panel, "label"))
    assert prompt.view.to_json()["submit_button_label"] == "Label 1 region"
    act(panel, "label", value="odd")
    copies = panel.dataset.values("found.detections", unwind=True)
    assert [(one.label, one.source_id) for one in copies] == [("odd", panel.hits[3])]
    assert "odd" not in panel.dataset.count_values("shapes.detections.label")


def test_act__own_labels_only_where_asked(panel):
    panel.search(query="a green square", k=2)
    act(panel, "label", value="odd", where="in_place")
    assert "odd" not in panel.dataset.count_values("shapes.detections.label")
    act(panel, "label", value="odd", where="in_place", overwrite=True)
    assert panel.dataset.count_values("shapes.detections.label")["odd"] == panel.get("found.above")


def test_act__saves_a_view_and_exports(panel):
    panel.search(query="a green square", k=3)
    act(panel, "save_view", value="squares")
    view = panel.dataset.load_saved_view("squares")
    assert view.values("id")[:3] == panel.hits
    taken = form(panel, **prompted(panel, "save_view"), value="squares").type.properties["value"]
    assert taken.invalid
    result = act(panel, "export")
    sent = {r["operator_uri"]: r["params"] for r in result.executor.to_json()["requests"]}
    content = base64.b64decode(sent["browser_download"]["url"].partition(",")[2]).decode()
    assert panel.hits[0] in content


@pytest.mark.parametrize("into", ["", "1st", "a b", "../x", "filepath"])
def test_act__field_that_cannot_be_made(panel, into):
    panel.search(query="a green square", k=3)
    prompt = form(panel, **prompted(panel, "label"), value="odd", into=into)
    assert prompt.type.properties["into"].invalid


def test_history__searches_again(panel):
    panel.search(query="a green square", avoid="a circle", k=7)
    panel.search(query="a red circle", k=5)
    panel.do("on_again", row=1)
    assert panel.get("words.query") == "a green square"
    assert panel.hits == found(panel, "a green square", 7, negative="a circle")


def test_history__of_pictures(panel):
    panel.search(query="a red circle, a square", avoid="a diamond", mode="pictures", k=4)
    shown = panel.hits
    panel.search(query="a circle", mode="regions", k=5)
    panel.do("on_again", row=1)
    assert panel.get("where.mode") == "pictures"
    assert panel.get("words.query") == "a red circle, a square"
    assert panel.hits == shown


def test_why__shows_and_keeps_a_heatmap(panel):
    panel.search(query="a green square", k=3)
    panel.do("on_why", id=panel.hits[0])
    assert panel.get("error") is None
    assert panel.data["why_shown"]["picture"].startswith("data:image")
    panel.do("on_keep_why")
    kept = panel.dataset.exists("where_it_looked").first()
    assert kept.where_it_looked.map.shape[0] > 1


def test_update__after_a_box_was_edited(panel):
    sample = panel.dataset.first()
    sample.shapes.detections[0].bounding_box = [0.5, 0.5, 0.3, 0.3]
    sample.save()
    panel.do("on_check", key="regions")
    assert "1 edited" in outcome_of(panel)
    panel.do("on_update", key="regions")
    assert "1 edited, 23 kept" in outcome_of(panel).replace("\\", "")
    assert load(panel.dataset).freshness().is_fresh


def test_update__stopped_then_goes_on(panel, monkeypatch):
    edited = np.random.default_rng(0).random((12, 2, 4)) * 0.5 + 0.01
    panel.dataset.set_values("shapes.detections.bounding_box", edited.tolist())
    jobs = plugin_module(panel.panel, "common.jobs")
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    encode = type(load(panel.dataset).encoder).encode_many

    def slowly(self, *args, **kwargs):
        for vectors in encode(self, *args, **kwargs):
            time.sleep(0.2)
            yield vectors

    monkeypatch.setattr(type(load(panel.dataset).encoder), "encode_many", slowly)
    panel.do("on_update", key="regions")
    wait_for(lambda: jobs.running(panel.dataset))
    panel.do("on_tick")
    panel.do("on_stop", id=jobs.running(panel.dataset)[0]["id"])
    assert "The next run goes on" in outcome_of(panel)
    assert not load(panel.dataset).freshness().is_fresh
    monkeypatch.undo()
    panel.do("on_update", key="regions")
    assert "24 edited" in outcome_of(panel)
    assert load(panel.dataset).freshness().is_fresh


def outcome_of(panel):
    """What the panel says once a job is over."""

    def told():
        panel.do("on_tick")
        return panel.get("outcome")

    return wait_for(told)["text"]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")
