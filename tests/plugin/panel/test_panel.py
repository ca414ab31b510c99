"""The panel's events, one by one, without a browser."""

import base64
import io
import threading
import time
from pathlib import Path

import fiftyone as fo
import fiftyone.plugins as fop
import numpy as np
import pytest
from bson import ObjectId
from PIL import Image

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import MissingWeightsError
from alphaclip.indexing import Example, export, load
from alphaclip.indexing.explore import searches

from ..conftest import plugin_module
from .panel_driver import PANEL, PanelDriver

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
def panel(embedded):
    return PanelDriver(embedded)


def expected(panel, query, k=24, **options):
    return load(panel.dataset).search(query, k=k, **options).label_ids.tolist()


def cosines(answer):
    return np.frombuffer(base64.b64decode(answer["scores"]), "<f4")


def picture_of(color, size=(64, 48)):
    return uploaded(Image.new("RGB", size, color), "PNG")


def uploaded(image, kind):
    content = io.BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def wait_for(ready):
    deadline = time.monotonic() + 120
    while not (value := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def outcome_of(panel):
    """What came of the job that runs."""
    jobs = plugin_module(panel.panel, "common.jobs")
    told = wait_for(lambda: jobs.outcome(panel.dataset, "regions"))
    wait_for(lambda: not jobs.running(panel.dataset))
    return told["text"]


def test_bundle__the_app_is_told_of_it(plugins_dir):
    plugin = fop.get_plugin("@alphaclip/regions")
    assert plugin.has_js
    assert plugin.js_bundle_server_path == "/plugins/regions/plugin/js/dist/index.umd.js"
    script = Path(plugin.js_bundle_path).read_text()
    assert "AlphaClipRegionSearch" in script and "AlphaClipLabelRegions" in script


def test_render__names_the_page_and_its_events_and_writes_no_state(panel):
    panel.do("on_load")
    view = panel.sent("show_panel_output")["output"]["view"]
    assert view["component"] == "AlphaClipRegionSearch"
    assert view["search"] == f"{PANEL}#search"
    assert not [m for m in panel.requests if "panel_state" in m["operator_uri"]]


def test_about__without_labels_or_an_index(drawings):
    panel = PanelDriver(drawings)
    assert panel.do("about")["indexes"] == []
    assert panel.do("about")["fields"] == ["shapes"]
    panel.do("embed")
    assert panel.sent("prompt_user_for_operation")["operator_uri"].endswith("embed_regions")
    drawings.delete_sample_field("shapes")
    assert panel.do("about")["fields"] == []
    panel.do("segment")
    assert panel.sent("prompt_user_for_operation")["operator_uri"].endswith("segment_regions")


def test_about__indexes_history_and_names(panel):
    panel.search("a green square", remember=True)
    about = panel.do("about")
    assert [index["key"] for index in about["indexes"]] == ["regions"]
    assert "24 regions of shapes" in about["indexes"][0]["said"]
    assert about["history"][0]["said"] == "“a green square”"
    assert "green square" in panel.do("names")["classes"]


@pytest.mark.parametrize("fails", [False, True])
def test_about__loads_the_encoder_in_the_background(panel, monkeypatch, fails):
    encoded = []

    def encode_text(self, prompts, templates=None):
        encoded.append((prompts, threading.current_thread() is threading.main_thread()))
        if fails:
            raise MissingWeightsError("gone")

    monkeypatch.setattr(Encoder, "encode_text", encode_text)
    for _ in range(2):
        assert "error" not in panel.do("about")
    for thread in threading.enumerate():
        if thread.name == "alphaclip-warm-up":
            thread.join()
    assert encoded == [(["warm"], False)]


def test_jobs__are_listed_stopped_and_their_end_is_told_once(drawings):
    panel, jobs = PanelDriver(drawings), None
    jobs = plugin_module(panel.panel, "common.jobs")
    began = time.time()
    with jobs.stoppable(drawings, "masks:masks", "Segmenting into masks") as job:
        running = wait_for(lambda: panel.do("jobs")["jobs"])[0]
        assert running["title"] == "Segmenting into masks"
        panel.do("stop", id=running["id"])
        with pytest.raises(jobs.JobStopped):
            wait_for(lambda: job.progress("pictures segmented", 1, 3))
        job.said = "7 masks added to masks"
    told = panel.do("jobs", since=began)["outcome"]
    assert told["text"] == "7 masks added to masks"
    assert panel.do("jobs", since=told["at"])["outcome"] is None


def test_search__gives_scores_counts_and_tiles(panel):
    answer = panel.search("a green square")
    assert panel.hits == expected(panel, "a green square")
    assert answer["total"] == sum(answer["bars"]) == answer["above"][0] == 24
    scores = load(panel.dataset).search("a green square", k=24).scores
    assert cosines(answer) == pytest.approx(scores, abs=1e-6)
    assert answer["low"] == pytest.approx(scores.min()) and answer["above"][-1] == 1
    tile = panel.tiles(side=64)[0]
    assert tile["crop"].startswith("data:image/jpeg;base64,")
    assert (tile["rank"], tile["field"], tile["tags"]) == (0, "shapes", [])
    assert tile["label"] in panel.dataset.distinct("shapes.detections.label")


def test_search__words_to_avoid(panel):
    panel.search("a square", avoid="a red thing, a blue thing", k=6)
    assert panel.hits == expected(panel, "a square", 6, negative=["a red thing", "a blue thing"])


def test_search__only_in_the_current_view(panel):
    ids = [ObjectId(one) for one in panel.dataset.limit(3).values("id")]
    for view in (panel.dataset.limit(3), panel.dataset.match(fo.ViewField("_id").is_in(ids))):
        panel.view = view
        panel.search("a square", inside=True)
        panel.view = None  # the question holds the view
        assert panel.hits == expected(panel, "a square", view=view)
        assert len(panel.hits) == 6


def test_search__examples_from_the_grid(panel):
    panel.search("a square")
    first, second = panel.hits[:2]
    panel.view, panel.selected = panel.dataset.to_patches("shapes"), [first]
    assert panel.do("selected", keys=["regions"]) == {"ids": [first]}
    panel.search(like=[first], unlike=[second])
    assert panel.hits == expected(panel, Example(first), negative=Example(second))


def test_copied_labels__are_marked_and_acted_on_apart(panel):
    first, other = panel.dataset.limit(2)
    copied = fo.Detections.from_dict(first.shapes.to_dict())
    copy = fo.Sample(other.filepath, shapes=copied)  # Of one picture their vectors would be equal
    panel.dataset.add_sample(copy)
    load(panel.dataset).update()
    panel.search("a square")
    label_id = first.shapes.detections[0].id
    name = f"{copy.id}-{label_id}"
    assert {label_id, name} <= set(panel.hits)
    assert len(set(panel.hits)) == len(panel.hits)
    panel.act("tag", "odd", ids=[name])
    copy.reload()
    assert [one.tags for one in copy.shapes.detections] == [["odd"], []]
    assert panel.dataset.count_label_tags() == {"odd": 1}
    panel.search("a square", right=[name], wrong=[label_id])
    assert panel.hits.index(name) < panel.hits.index(label_id)
    panel.selected_labels = [{"label_id": label_id, "sample_id": copy.id, "field": "shapes"}]
    assert panel.do("selected", keys=["regions"]) == {"ids": [name]}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"words": "  "}, "Say what to look for"),
        ({"words": "x" * 10_000}, "10000 characters"),
        ({"words": "a", "k": 0}, "k is 0"),
        ({"words": "a", "min_score": 2}, "min_score is 2"),
        ({"words": "a", "keys": []}, "keys is empty"),
        ({"words": "a", "keys": ["../other"]}, "expected letters, digits"),
        ({"words": "a", "mode": "unlabelled"}, "proposals"),
        ({"words": " , ", "mode": "pictures"}, "Type what the pictures show"),
        ({"words": "a", "stages": [{"_cls": "pathlib.Path.touch"}]}, "stage"),
    ],
)
def test_search__what_cannot_be_searched(panel, parts, told):
    assert told in panel.search(**parts)["error"]


@pytest.mark.parametrize("ranks", ["all", [0] * 300, [1.5], [None]])
def test_tiles__odd_ranks(panel, ranks):
    panel.search("a square")
    assert "error" in panel.do("tiles", question=panel.question, ranks=ranks)


def test_tiles__ranks_that_are_not_there_are_left_out(panel):
    panel.search("a square", k=5)
    tiles = panel.do("tiles", question=panel.question, ranks=[-1, 4, 5, 99, 0])["tiles"]
    assert [tile["rank"] for tile in tiles] == [4, 0]
    ids = panel.do("ids", question=panel.question, ranks=[-1, 4, 99, 0])["ids"]
    assert ids == [tile["id"] for tile in tiles]


@pytest.mark.parametrize("text", HOSTILE)
def test_search__any_text_is_only_text(panel, text):
    sample = panel.dataset.first()
    sample.shapes.detections[0].label = text
    sample.save()
    assert "error" not in panel.search(text, avoid=text)
    assert any(tile["label"] == text for tile in panel.tiles())
    panel.act("tag", text)
    assert set(panel.dataset.count_label_tags()) == {text}


def test_search__labels_of_a_deleted_field(panel):
    panel.search("a square", k=3)
    panel.dataset.delete_sample_field("shapes")
    assert "shapes" in panel.do("tiles", question=panel.question, ranks=[0])["error"]


def test_tiles__of_a_search_do_not_search_again(panel, monkeypatch):
    searched = []
    search = searches.find_and_measure
    monkeypatch.setattr(searches, "find_and_measure", lambda *a: searched.append(a) or search(*a))
    panel.search("a square", avoid="a circle")
    assert panel.hits == panel.hits
    assert len(searched) == 1


def test_search__of_a_large_index_lists_the_best_and_estimates_the_others(panel, monkeypatch):
    monkeypatch.setattr("alphaclip.indexing.explore.scores.COUNTED", 5)
    monkeypatch.setattr("alphaclip.indexing.explore.scores.BEST", 4)
    found = panel.search("a square")
    assert (len(panel.hits), found["total"], found["off_by"]) == (4, 24, 1)


def test_refine__searches_again_with_the_marks(panel):
    panel.search("a square")
    right, wrong = panel.hits[-1], panel.hits[0]
    panel.search("a square", right=[right], wrong=[wrong])
    assert panel.hits.index(right) < panel.hits.index(wrong)


def test_pictures__with_and_without(panel):
    panel.search("a circle, a square", avoid="a triangle", mode="pictures", k=4)
    assert set(panel.hits) <= set(panel.dataset.values("id"))
    assert panel.tiles(side=64)[0]["crop"].startswith("data:image")
    panel.do("show_in_grid", question=panel.question, ids=panel.hits[:2])
    assert panel.sent("set_view")
    panel.act("tag", "both", ids=panel.hits[:2])
    assert panel.dataset.count_sample_tags() == {"both": 2}


def test_unlabelled__proposals_that_no_label_covers(panel):
    ids = panel.dataset.values("shapes.detections.id")
    panel.dataset.set_values("shapes.detections.label", [[None] * len(some) for some in ids])
    sample = panel.dataset.first()
    covered = sample.shapes.detections[0]
    label = fo.Detection(label="seen", bounding_box=covered.bounding_box)
    sample["people"] = fo.Detections(detections=[label])
    sample.save()
    panel.search("a circle", mode="unlabelled")
    assert len(panel.hits) == 23
    assert covered.id not in panel.hits


def test_picture__with_a_box(panel):
    sent = panel.do("upload", content=picture_of("red"))
    assert sent["preview"].startswith("data:image")
    assert panel.do("preview", token=sent["token"])["preview"] == sent["preview"]
    whole = panel.search(picture={"token": sent["token"], "box": None})
    part = panel.search(picture={"token": sent["token"], "box": [0.25, 0.25, 0.5, 0.5]})
    assert len(panel.hits) == 24
    assert not np.allclose(cosines(whole), cosines(part))
    assert "error" in panel.search(picture={"token": sent["token"], "box": [0.25, 0.25]})


def test_picture__of_the_dataset(panel):
    sample = panel.dataset.first()
    box = sample.shapes.detections[0].bounding_box
    panel.search(picture={"token": f"sample:{sample.id}", "box": box})
    assert panel.hits[0] == sample.shapes.detections[0].id
    for token in ("sample:" + "0" * 24, "sample:../x", "../../etc/passwd", "x"):
        assert "picture" in panel.do("preview", token=token)["error"]


@pytest.mark.parametrize("content", ["", "????", base64.b64encode(b"no picture").decode()])
def test_picture__that_is_none(panel, content):
    assert "no picture" in panel.do("upload", content=content)["error"]


def test_picture__in_a_format_that_runs_a_program(panel):
    content = uploaded(Image.new("RGB", (20, 20)), "EPS")
    assert "not one of JPEG, PNG" in panel.do("upload", content=content)["error"]


def test_picture__small_file_of_many_pixels(panel):
    content = uploaded(Image.new("1", (8000, 7000)), "PNG")
    assert "the limit is 50,000,000" in panel.do("upload", content=content)["error"]


def test_picture__large_jpeg_is_decoded_at_a_quarter(panel):
    content = uploaded(Image.new("L", (8000, 7000), 90), "JPEG")
    assert panel.do("upload", content=content)["preview"].startswith("data:image")


def test_act__tags_what_lies_above_and_takes_it_back(panel):
    answer = panel.search("a green square", k=5)
    least = float(cosines(answer)[4]) - 1e-5
    done = panel.act("tag", "check", min_score=least)
    assert panel.dataset.count_label_tags() == {"check": 5}
    assert done["done"]["said"] == "tagging 5 regions “check”"
    assert panel.sent("reload_samples") == {}
    assert panel.do("about")["actions"] == [done["done"]]
    assert all(tile["tags"] == ["check"] for tile in panel.tiles())
    panel.do("undo", action=done["done"]["id"])
    assert panel.dataset.count_label_tags() == {}
    assert panel.do("about")["actions"] == []


def test_act__on_the_selection(panel):
    panel.search("a green square")
    chosen = panel.hits[3]
    panel.act("label", "odd", ids=[chosen])
    assert panel.sent("reload_dataset") == {}  # as a field is new
    copies = panel.dataset.values("found.detections", unwind=True)
    assert [(one.label, one.source_id) for one in copies] == [("odd", chosen)]
    assert "odd" not in panel.dataset.count_values("shapes.detections.label")


def test_act__own_labels_only_where_asked(panel):
    panel.search("a green square", k=2)
    panel.act("label", "odd", where="in_place")
    assert "odd" not in panel.dataset.count_values("shapes.detections.label")
    panel.act("label", "odd", where="in_place", overwrite=True)
    assert panel.dataset.count_values("shapes.detections.label") == {"odd": 24}


def test_act__saves_a_view_and_exports(panel):
    panel.search("a green square")
    first = panel.hits[:3]
    panel.act("save_view", "squares", ids=first)
    assert panel.dataset.load_saved_view("squares").values("id") == first
    assert "squares" in panel.act("save_view", "squares", ids=first)["error"]
    panel.act("export", ids=first)
    content = base64.b64decode(panel.sent("browser_download")["url"].partition(",")[2]).decode()
    assert first[0] in content


@pytest.mark.parametrize(
    ("action", "value", "params"),
    [
        ("burn", "x", {}),
        ("tag", "", {}),
        ("tag", None, {}),
        ("tag", "x", {"ids": ["0" * 24]}),
        ("tag", "x", {"min_score": "low"}),
        *[("label", "odd", {"into": into}) for into in ("1st", "a b", "../x", "filepath")],
    ],
)
def test_act__what_cannot_be_done(panel, action, value, params):
    panel.search("a green square")
    assert panel.act(action, value, **params)["error"]
    assert panel.dataset.count_label_tags() == {}


def test_open__a_picture_at_its_region_in_the_grid_that_is_there(panel):
    panel.search("a green square")
    tile = panel.tiles()[0]
    sent = {"sample": tile["sample"], "label": tile["label_id"], "field": "shapes"}
    assert panel.do("open_picture", **sent) == {"id": tile["sample"], "field": "shapes"}
    assert not [m for m in panel.requests if m["operator_uri"].endswith("set_view")]
    panel.view = panel.dataset.to_patches("shapes")
    assert panel.do("open_picture", **sent)["id"] == tile["label_id"]
    panel.view = panel.dataset.exclude([tile["sample"]])
    assert panel.do("open_picture", **sent) == {}
    assert panel.sent("set_view")
    assert panel.do("open_picture", is_again=True, **sent) == {}
    assert not [m for m in panel.requests if m["operator_uri"].endswith("set_view")]


def test_history__has_what_was_searched_for(panel):
    panel.search("a green square", avoid="a circle", remember=True)
    first = panel.hits
    panel.search("a red circle, a square", mode="pictures", remember=True)
    history = panel.do("about")["history"]
    latest, before = (panel.do("restore", entry=one["entry"])["question"] for one in history)
    assert latest["mode"] == "pictures"
    assert history[0]["said"] == "“a red circle, a square” (pictures with A, B but not C)"
    panel.search(**before)
    assert panel.hits == first


def test_search__leaves_out_the_marks_on_regions_that_are_gone(panel):
    panel.search("a square")
    stays, goes, wrong = panel.hits[:3]
    assert panel.search("a square", right=[stays], wrong=[wrong])["lost"] == []
    panel.dataset.delete_labels(ids=[goes])
    load(panel.dataset).update()
    answer = panel.search("a square", right=[goes, stays, "f" * 24], wrong=[wrong])
    assert answer["lost"] == sorted([goes, "f" * 24])
    assert (answer["question"]["right"], answer["question"]["wrong"]) == ([stays], [wrong])
    assert panel.search("a square", right=[goes])["question"]["right"] == []


def test_search__leaves_out_the_examples_that_are_gone(panel):
    panel.search("a square")
    stays, goes, gone = panel.hits[:3]
    panel.dataset.delete_labels(ids=[goes, gone])
    load(panel.dataset).update()
    answer = panel.search(like=[goes, stays], unlike=[gone])
    assert answer["lost"] == sorted([goes, gone])
    assert (answer["question"]["like"], answer["question"]["unlike"]) == ([stays], [])
    assert panel.hits[0] == stays
    assert panel.search("a square", like=[gone])["lost"] == [gone]
    assert "choose others" in panel.search(like=[gone])["error"]
    pictures = panel.search("a square", like=[gone], mode="pictures")
    assert pictures["lost"] == [] and pictures["total"] == 12


def test_history__a_restored_search_forgets_the_marks_on_regions_that_are_gone(panel):
    panel.search("a square")
    stays, goes, wrong = panel.hits[:3]
    panel.search("a square", right=[stays, goes], wrong=[wrong], remember=True)
    panel.dataset.delete_labels(ids=[goes])
    load(panel.dataset).update()
    entry = panel.do("about")["history"][0]["entry"]
    question = panel.search(**panel.do("restore", entry=entry)["question"])["question"]
    assert (question["right"], question["wrong"]) == ([stays], [wrong])
    assert panel.hits.index(stays) < panel.hits.index(wrong)


def test_explain__shows_and_keeps_a_heatmap(panel):
    panel.search("a green square")
    params = {"question": panel.question, "id": panel.hits[0]}
    assert panel.do("explain", **params)["picture"].startswith("data:image")
    panel.do("keep_heatmap", **params)
    sample = panel.dataset.exists("where_it_looked").first()
    assert sample.where_it_looked.map.shape[0] > 1


def test_update__after_a_box_was_edited(panel):
    sample = panel.dataset.first()
    sample.shapes.detections[0].bounding_box = [0.5, 0.5, 0.3, 0.3]
    sample.save()
    panel.do("check", key="regions")
    assert "1 edited" in outcome_of(panel)
    assert panel.do("freshness")["changes"] == {"regions": "1 edited"}
    panel.do("update", key="regions")
    assert "1 edited, 23 kept" in outcome_of(panel).replace("\\", "")
    assert load(panel.dataset).freshness().is_fresh
    assert panel.do("freshness")["changes"] == {}
    assert "no index" in panel.do("update", key="other")["error"]


def test_copies__are_listed_and_searched(panel):
    export(load(panel.dataset), "sklearn", "copy")
    about = panel.do("about")["indexes"]
    assert [one["key"] for one in about] == ["regions", "copy"]
    assert about[1]["said"] == "copy: regions in sklearn, in step"
    panel.search("a red circle", keys=["copy"])
    assert panel.hits == expected(panel, "a red circle")
    assert "search each once" in panel.search("a circle", keys=["regions", "copy"])["error"]
    sample = panel.dataset.first()
    sample.shapes.detections.pop()
    sample.save()
    load(panel.dataset).update()
    assert panel.do("about")["indexes"][1]["said"].endswith("not in step: update it")
    load(panel.dataset, engine="copy").update()
    assert panel.do("about")["indexes"][1]["said"].endswith("in step")


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
    panel.do("update", key="regions")
    panel.do("stop", id=wait_for(lambda: panel.do("jobs")["jobs"])[0]["id"])
    assert "The next run goes on" in outcome_of(panel)
    assert not load(panel.dataset).freshness().is_fresh
    monkeypatch.undo()
    assert panel.do("about")["resumable"] == []  # an update is begun anew: the chip says so
    panel.do("update", key="regions")
    assert "24 edited" in outcome_of(panel)
    assert load(panel.dataset).freshness().is_fresh
