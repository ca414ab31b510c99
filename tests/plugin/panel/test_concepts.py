"""Concepts in the panel: a search is kept, what is new waits, is acted on and dismissed."""

import fiftyone as fo
import pytest
from PIL import Image

from alphaclip.indexing import build, concepts, keep_concept, load

from ..conftest import draw_shape
from .panel_driver import PanelDriver

NANO = {"encoder": "alphaclip-nano"}
EVERYTHING = -1

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(embedded):
    return PanelDriver(embedded)


def add_picture(dataset, folder, number):
    """A new picture of one shape, which the index takes up."""
    picture = Image.new("RGB", (200, 200), "#f4efe6")
    shape = draw_shape(picture, number, (20, 20, 150, 160))
    path = folder / f"new-{number}.png"
    picture.save(path)
    dataset.add_sample(fo.Sample(str(path), shapes=fo.Detections(detections=[shape])))
    load(dataset).update()
    return shape.id


def keep(panel, name="circles", min_score=EVERYTHING, words="a red circle", **parts):
    panel.search(words, **parts)
    return panel.do("keep_concept", question=panel.question, name=name, min_score=min_score)


def listed(panel):
    return {one["name"]: one for one in panel.do("about")["concepts"]}


def open_list(panel, name="circles"):
    """Shows what waits, as a click on the concept does."""
    panel.answer = panel.do("search", question=listed(panel)[name]["question"], remember=True)
    return panel.hits


def test_concept__what_is_new_waits_and_is_tagged_and_dismissed(panel, tmp_path):
    kept = keep(panel)
    assert (
        kept["said"] == "“circles” is watched: what is new and reaches -1.000 will wait in its list"
    )
    assert listed(panel)["circles"]["said"] == "“a red circle”, from cosine -1.000 on"
    assert open_list(panel) == [] and panel.answer["total"] == 0
    new = [add_picture(panel.dataset, tmp_path, number) for number in range(3)]
    assert listed(panel)["circles"]["waiting"] == 3
    hits = open_list(panel)
    assert set(hits) == set(new) and panel.answer["total"] == 3
    scores = dict(zip(hits, (tile["score"] for tile in panel.tiles()), strict=True))
    alone = load(panel.dataset).search("a red circle", k=27)
    expected = dict(zip(alone.label_ids.tolist(), alone.scores.tolist(), strict=True))
    assert scores == pytest.approx({id_: expected[id_] for id_ in new}, abs=1e-4)
    assert panel.act("tag", "seen", ids=hits[:1])["said"] == "1 region"
    assert panel.tiles()[0]["tags"] == ["seen"]
    question = panel.question
    assert panel.do("ids", question=question, ranks=[2, 1])["ids"] == [hits[2], hits[1]]
    dismissed = panel.do("dismiss_waiting", question=question, ids=hits[:1])
    assert dismissed == {"said": "1 region dismissed, 2 left", "ids": hits[:1]}
    assert open_list(panel) == hits[1:]
    sent = {"name": "circles", "ids": hits[:1]}
    assert panel.do("undismiss", **sent)["said"] == "Taken back: 3 regions wait"
    assert open_list(panel) == hits
    panel.do("dismiss_waiting", question=panel.question, ids=hits[:1])
    open_list(panel)
    above = (panel.tiles()[0]["score"] + panel.tiles()[1]["score"]) / 2
    panel.do("dismiss_waiting", question=panel.question, min_score=above)
    assert open_list(panel) == hits[2:]
    said = panel.do("dismiss_waiting", question=panel.question, min_score=-1)["said"]
    assert said == "1 region dismissed, none left"
    assert panel.do("about")["history"] == []


def test_concept__all_that_waits_is_labelled_and_shown(panel, tmp_path):
    keep(panel)
    new = {add_picture(panel.dataset, tmp_path, number) for number in range(2)}
    open_list(panel)
    assert panel.act("label", "mine", into="mine")["said"] == "2 regions"
    assert panel.dataset.count("mine.detections") == 2
    panel.do("show_in_grid", question=panel.question)
    assert panel.sent("set_view")["view"]
    assert {tile["label_id"] for tile in panel.tiles()} == new


def test_concept__is_kept_with_its_marks_and_brings_them_back(panel):
    hits = panel.search("a red circle") and panel.hits
    keep(panel, right=hits[:2], wrong=hits[-1:], avoid="a square", min_score=0.2)
    question = listed(panel)["circles"]["question"]
    assert (question["right"], question["wrong"]) == (hits[:2], hits[-1:])
    assert (question["words"], question["avoid"]) == ("a red circle", "a square")
    assert concepts(panel.dataset)[0].min_score == pytest.approx(0.2)


def test_concept__of_a_picture(panel, tmp_path):
    sample = panel.dataset.first()
    picture = {"token": f"sample:{sample.id}", "box": sample.shapes.detections[0].bounding_box}
    keep(panel, words="", picture=picture)
    question = listed(panel)["circles"]["question"]
    assert question["picture"]["token"] == picture["token"]
    assert question["picture"]["box"] == pytest.approx(picture["box"])
    assert open_list(panel) == []
    assert [add_picture(panel.dataset, tmp_path, 5)] == open_list(panel)


def test_concept__is_deleted(panel, tmp_path):
    keep(panel)
    keep(panel, "others", words="a square")
    add_picture(panel.dataset, tmp_path, 1)
    question = listed(panel)["circles"]["question"]
    assert panel.do("delete_concept", name="circles") == {}
    assert list(listed(panel)) == ["others"]
    for answer in (
        panel.do("search", question=question),
        panel.do("dismiss_waiting", question=question, min_score=-1),
        panel.do("delete_concept", name="circles"),
    ):
        assert "has no concept 'circles'; it has: others" in answer["error"]


CANNOT_BE_KEPT = [
    ({"name": "Red circles"}, "expected a lowercase letter"),
    ({"name": ""}, "expected a lowercase letter"),
    ({"name": "x" * 65}, "expected a lowercase letter"),
    ({"name": 7}, "name is 7: expected a text"),
    ({"min_score": 1.5}, "min_score is 1.5: expected a cosine"),
    ({"min_score": None}, "min_score is None"),
    ({"question": {"mode": "pictures", "words": "a circle"}}, "mode 'regions'"),
    ({"question": {}}, "Say what to look for"),
]
NO_CONCEPTS = [7, ["circles"], "no such", "../x", "circles; drop"]


def test_concept__what_is_none(panel):
    panel.search("a red circle")
    params = {"question": panel.question, "name": "circles", "min_score": 0.3}
    for change, message in CANNOT_BE_KEPT:
        assert message in panel.do("keep_concept", **{**params, **change})["error"]
    for concept in NO_CONCEPTS:
        assert "concept" in panel.search("a red circle", concept=concept)["error"]
    assert listed(panel) == {}


def test_concept__one_of_its_indexes_is_gone(panel, tmp_path):
    again = build(panel.dataset, "shapes", key="again", **NANO)
    search = {"words": "a red circle", "keys": ["regions", "again"]}
    panel.search(**search)
    panel.do("keep_concept", question=panel.question, name="circles", min_score=-1)
    add_picture(panel.dataset, tmp_path, 1)
    again.delete()
    assert len(open_list(panel)) == 1
    assert keep_concept([load(panel.dataset)], "circles", concepts(panel.dataset)[0].search, 0.5)
