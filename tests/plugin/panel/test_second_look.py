"""A detector's second look at hits and at whole pictures, and audits, event by event."""

import fiftyone as fo
import pytest

from alphaclip.detectors import phrase_detectors
from alphaclip.detectors.boxes import FoundBox
from alphaclip.indexing import build, load
from alphaclip.indexing.masks import segmenting
from alphaclip.indexing.masks.mask_fields import MaskReport

from ..conftest import plugin_module
from .panel_driver import PanelDriver
from .test_panel import wait_for

YES_NO = ["yes", "no"]

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(drawings):
    build(drawings, "shapes", encoder="alphaclip-nano")
    return PanelDriver(drawings)


class Seeing:
    """Sees the words at one box of every picture."""

    name = "seeing"

    def __init__(self, box):
        x, y, w, h = box
        self.box = FoundBox((x, y, x + w, y + h), 0.8)

    def ground(self, image, phrases):
        return [[self.box] for _ in phrases]


def test_verify__puts_what_is_seen_first(panel, monkeypatch):
    panel.search("a green square")
    last, hits = panel.tiles()[-1], panel.hits
    first_shapes, second_shapes = zip(*panel.dataset.values("shapes.detections"), strict=True)
    shapes = next(
        some for some in (first_shapes, second_shapes) if last["id"] in [one.id for one in some]
    )
    box = shapes[len(shapes) // 2].bounding_box
    monkeypatch.setattr(phrase_detectors, "installed_detector", lambda: "installed")
    monkeypatch.setattr(phrase_detectors, "load_detector", lambda *how: Seeing(box))
    before = panel.answer
    answer = panel.do("verify", question=panel.question)
    # The second shapes of all pictures lie where that of a middle one does, or else the first ones
    assert "24 hits looked at: the words are seen in 12, " in answer["said"]
    assert panel.search(**answer["question"])["bars"] == before["bars"]
    column = {one.id for one in shapes}
    assert panel.hits == sorted(hits, key=lambda id_: id_ not in column)
    assert last["id"] in panel.hits[:12]
    panel.act("tag", "seen", ids=[last["id"]])
    assert panel.dataset.count_label_tags() == {"seen": 1}


@pytest.fixture
def without_detectors(monkeypatch):
    monkeypatch.setattr("alphaclip.weights.hub.try_to_load_from_cache", lambda *names: None)


def test_verify__says_what_to_install(panel, without_detectors):
    panel.search("a square")
    told = panel.do("verify", question=panel.question)["error"]
    assert "alphaclip models IDEA-Research/grounding-dino-tiny --install" in told
    assert panel.do("jobs")["outcome"] is None  # it is told once
    assert panel.do("find_everywhere", question=panel.question)["error"] == told
    panel.search(like=panel.hits[:1])
    assert "takes words" in panel.do("verify", question=panel.question)["error"]
    panel.search("a square", mode="pictures")
    assert "Only the regions" in panel.do("verify", question=panel.question)["error"]


def test_ask_model__ranks_by_the_first_answer(panel):
    panel.search("a red circle")
    answer = panel.do(
        "ask_model", question=panel.question, text="is it red?", choices=["yes", "no"]
    )
    assert answer["said"].startswith("alphaclip-nano-captioner says: 24 hits looked at")
    asked = panel.search(**answer["question"])
    scores = [tile["score"] for tile in panel.tiles()]
    assert asked["total"] == 24 and asked["suggestion"] is None
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] < scores[0] <= 1

    least = (scores[4] + scores[5]) / 2
    panel.do("act", question=panel.question, action="tag", value="red", min_score=least)
    assert panel.dataset.count_label_tags() == {"red": 5}
    # Asked again, those that were left are asked
    answer = panel.do(
        "ask_model", question=panel.question, text="is it big?", choices=["yes", "no"]
    )
    assert answer["question"]["prompt"]["text"] == "is it big?"


def test_ask_model__says_what_is_wrong(panel):
    panel.search("a red circle")
    ask = {"question": panel.question, "text": "is it red?", "choices": ["yes"]}
    assert "choices" in panel.do("ask_model", **ask)["error"]
    ask |= {"choices": YES_NO, "text": "is the {colour} right?"}
    assert "colour" in panel.do("ask_model", **ask)["error"]
    forgotten = {**panel.question, "prompt": {"text": "is it red?", "choices": YES_NO}}
    assert "ask again" in panel.search(**forgotten)["error"]


def test_find_everywhere__segments_embeds_and_is_searched(panel, monkeypatch):
    dataset = panel.dataset

    def segment(dataset, into, concepts, detector, progress):
        assert (list(concepts), detector) == (["a square", "a circle"], "installed")
        for sample in dataset:
            box = fo.Detection(label=concepts[0], bounding_box=[0.1, 0.1, 0.4, 0.4])
            sample[into] = fo.Detections(detections=[box])
            sample.save()
        return MaskReport(into, added=12)

    monkeypatch.setattr(segmenting, "segment", segment)
    monkeypatch.setattr(phrase_detectors, "installed_detector", lambda: "installed")
    key = panel.do("find_everywhere", question={"words": "a square, a circle"})["key"]
    jobs = plugin_module(panel.panel, "common.jobs")
    told = wait_for(lambda: jobs.outcome(dataset, key))
    assert told["severity"] == "success" and "12 regions of a square, a circle" in told["text"]
    assert len(load(dataset, key)) == 12
    assert panel.search("a square", keys=["regions", key])["total"] == 36


def test_audit__marks_stay_and_are_counted(panel):
    about = {"key": "regions", "concept": "square"}
    audit = panel.do("audit", **about)
    assert len(audit["pictures"]) == 12 and "none of 12 pictures" in audit["said"]
    one, two = (picture["id"] for picture in audit["pictures"][:2])
    assert panel.do("audit_picture", **about, id=one)["picture"].startswith("data:image/jpeg")
    panel.do("mark_unseen", **about, id=one, points=[[0.5, 0.25], [0.75, 0.5]])
    told = panel.do("mark_unseen", **about, id=two, points=[])
    assert "about 12 objects of “square” have no region" in told["said"]
    again = panel.do("audit", **about)
    points = {picture["id"]: picture["points"] for picture in again["pictures"]}
    assert (points[one], points[two]) == ([[0.5, 0.25], [0.75, 0.5]], [])
    assert again["said"] == told["said"]
    panel.do("mark_unseen", **about, id=two, points=None)
    assert panel.do("audit", **about)["pictures"][1]["points"] is None


def test_audit__by_the_detector_that_is_installed(panel, monkeypatch):
    # On no shape of any picture
    monkeypatch.setattr(phrase_detectors, "installed_detector", lambda: "installed")
    opened = []

    def open_one(*how):
        opened.append(how)
        return Seeing((0.0, 0.0, 0.05, 0.05))

    monkeypatch.setattr(phrase_detectors, "load_detector", open_one)
    about = {"key": "regions", "concept": "square"}
    audit = panel.do("audit", **about)
    first, second = (picture["id"] for picture in audit["pictures"][:2])
    assert audit["detector"] == "installed"
    panel.do("mark_unseen", **about, id=first, points=[])
    assert panel.do("ask_detector", **about, detector="../other", model="other") == {}
    jobs = plugin_module(panel.panel, "common.jobs")
    told = wait_for(lambda: jobs.outcome(panel.dataset, audit["job"]))
    assert "11 in 12 of 12 pictures, by installed (11), person (1)" in told["text"]
    assert [name for name, *_ in opened] == ["installed"]
    pictures = {picture["id"]: picture for picture in panel.do("audit", **about)["pictures"]}
    assert (pictures[first]["judge"], pictures[first]["points"]) == ("person", [])
    assert pictures[second]["judge"] == "installed"


def test_audit__says_which_detector_to_install(panel, without_detectors):
    about = {"key": "regions", "concept": "square"}
    assert panel.do("audit", **about)["detector"] is None
    told = panel.do("ask_detector", **about)["error"]
    assert "alphaclip models IDEA-Research/grounding-dino-tiny --install" in told


@pytest.mark.parametrize(
    ("event", "params"),
    [
        ("audit", {"concept": " "}),
        ("audit", {"concept": 7}),
        ("audit", {"key": "none"}),
        ("audit_picture", {"id": "f" * 24}),
        ("mark_unseen", {"id": "f" * 24, "points": []}),
        ("mark_unseen", {"points": [[0.5]]}),
        ("mark_unseen", {"points": [[0.5, "x"]]}),
        ("mark_unseen", {"points": "half"}),
    ],
)
def test_audit__what_cannot_be_done(panel, event, params):
    about = {"key": "regions", "concept": "square"}
    first = panel.do("audit", **about)["pictures"][0]["id"]
    assert "error" in panel.do(event, **{**about, "id": first, **params})
    assert panel.do("audit", **about)["pictures"][0]["points"] is None
