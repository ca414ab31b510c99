"""Label errors, duplicates and outliers in the panel, and its history, event by event."""

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.indexing import build, load
from alphaclip.indexing.masks.mask_fields import prepare_field

from .panel_driver import PanelDriver
from .test_panel import picture_of

pytestmark = pytest.mark.usefixtures("plugins_dir")

PATH = "shapes.detections.label"
WRONG = "red circle"


@pytest.fixture
def panel(drawings):
    """With one wrong label, and a picture that is there twice."""
    names = drawings.values(PATH)
    names[2][0] = WRONG
    drawings.set_values(PATH, names)
    twin = drawings.last().copy()
    twin.shapes = fo.Detections(detections=[one.copy() for one in twin.shapes.detections])
    drawings.add_sample(twin)
    build(drawings, "shapes", encoder="alphaclip-nano")
    return PanelDriver(drawings)


def wrong_of(panel):
    return panel.dataset.skip(2).first().shapes.detections[0].id


def class_of(panel, name):
    labels = panel.dataset.values(["shapes.detections.id", PATH], unwind=True)
    return dict(zip(*labels, strict=True))[name]


def find(panel, kind):
    return panel.do("find_odd", kind=kind, key="regions")


def about(finding):
    return {name: finding[name] for name in ("kind", "key", "attribute", "labels")}


def look_at(panel, finding, ids):
    notes = {row["id"]: row["note"] for row in finding["rows"] if row["id"] in ids}
    return panel.do("finding_rows", **about(finding), notes=notes, side=64)


def decide(panel, finding, name, **choice):
    answer = panel.do("decide", **about(finding), id=name, **choice)
    assert "error" not in answer
    return answer["is_changed"]


def open_ids(panel, finding):
    restored = panel.do("restore", entry=finding["entry"])["finding"]
    return [row["id"] for row in restored["rows"]]


def test_label_errors__with_the_neighbours_of_both_labels(panel):
    finding = find(panel, "label errors")
    (row,) = (row for row in finding["rows"] if row["id"] == wrong_of(panel))
    assert row["note"].split()[0] == "green"
    assert 0 <= row["score"] < row["chance"] <= 1
    assert all(row["note"] != class_of(panel, row["id"]) for row in finding["rows"])
    seen = look_at(panel, finding, [row["id"]])
    detail, tiles = seen["rows"][row["id"]], seen["tiles"]
    of_given, of_suggested = detail["beside"]
    assert {tiles[name]["label"] for name in of_given} == {WRONG}
    assert {tiles[name]["label"] for name in of_suggested} == {row["note"]}
    assert tiles[row["id"]]["label"] == WRONG and row["id"] not in of_given
    assert all(tile["crop"].startswith("data:image/jpeg") for tile in tiles.values())
    assert len(detail["likely"]) == 9 and WRONG not in detail["likely"]


def test_decide__a_class_and_back(panel):
    finding, wrong = find(panel, "label errors"), wrong_of(panel)
    assert decide(panel, finding, wrong, label="green square")
    assert class_of(panel, wrong) == "green square"
    assert wrong not in open_ids(panel, finding)
    again = find(panel, "label errors")
    assert wrong not in [row["id"] for row in again["rows"]]
    assert panel.do("about")["actions"][0]["said"] == "labelling 1 region “green square”"
    taken_back = {"id": wrong, "is_changed": True}
    assert panel.do("undecide", **about(finding), id=wrong) == taken_back
    assert class_of(panel, wrong) == WRONG
    assert wrong in [row["id"] for row in find(panel, "label errors")["rows"]]


def test_decide__to_keep_and_back(panel):
    finding, wrong = find(panel, "label errors"), wrong_of(panel)
    assert not decide(panel, finding, wrong)
    assert indexing.decisions(panel.dataset, "label errors") == {wrong: "keep"}
    assert wrong not in open_ids(panel, finding) and class_of(panel, wrong) == WRONG
    panel.do("undecide", **about(finding), id=wrong)
    assert wrong in open_ids(panel, finding)


def test_undecide__of_a_label_that_was_edited_since(panel):
    finding, wrong = find(panel, "label errors"), wrong_of(panel)
    decide(panel, finding, wrong, label="green square")
    names = panel.dataset.values(PATH)
    names[2][0] = "by hand"
    panel.dataset.set_values(PATH, names)
    assert "edited since" in panel.do("undecide", **about(finding), id=wrong)["error"]
    assert class_of(panel, wrong) == "by hand"


def test_duplicates__beside_what_they_repeat(panel):
    finding = find(panel, "duplicates")
    originals, twins = (
        [one.id for one in panel.dataset.skip(n).first().shapes.detections] for n in (11, 12)
    )
    notes = {row["id"]: row["note"] for row in finding["rows"]}
    # Its original, or what that repeats: some shapes are almost alike
    assert [notes[twin] for twin in twins] == [notes.get(one, one) for one in originals]
    equal = {row["id"] for row in finding["rows"] if row["score"] > 0.9999}
    repeats = zip(twins, originals, strict=True)
    assert equal == {twin for twin, one in repeats if one not in notes} != set()
    seen = look_at(panel, finding, twins)
    assert seen["rows"][twins[0]]["beside"] == [[notes[twins[0]]], []]
    decide(panel, finding, twins[0], tag="duplicate")
    assert panel.dataset.count_label_tags() == {"duplicate": 1}
    assert twins[0] not in open_ids(panel, finding) and twins[1] in open_ids(panel, finding)
    panel.do("undecide", **about(finding), id=twins[0])
    assert panel.dataset.count_label_tags() == {}


def test_undecide__the_newest_after_a_reload(panel):
    finding = find(panel, "outliers")
    first, second, third = [row["id"] for row in finding["rows"][:3]]
    decide(panel, finding, second, tag="outlier")
    decide(panel, finding, first)
    decide(panel, find(panel, "duplicates"), third)
    restored = panel.do("restore", entry=finding["entry"])["finding"]
    assert (restored["decided"], len(restored["rows"])) == (2, 24)
    sent = {**about(finding), "entry": finding["entry"]}
    assert panel.do("undecide", **sent) == {"id": first, "is_changed": False}
    assert panel.do("undecide", **sent) == {"id": second, "is_changed": True}
    assert panel.do("undecide", **sent) == {"id": None, "is_changed": False}
    assert panel.dataset.count_label_tags() == {}
    assert open_ids(panel, finding)[:2] == [first, second]
    panel.search("a square", remember=True)
    search = panel.do("about")["history"][0]["entry"]
    nothing = panel.do("undecide", **{**sent, "entry": search})
    assert nothing == {"id": None, "is_changed": False}
    assert "history" in panel.do("undecide", **{**sent, "entry": "no"})["error"]


def test_label_errors__of_another_attribute(panel):
    path = "shapes.detections.colour"
    colours = [[name.split()[0] for name in names] for names in panel.dataset.values(PATH)]
    wrong = wrong_of(panel)
    panel.dataset.set_values(path, colours, dynamic=True)
    assert panel.do("attributes", key="regions") == {"attributes": ["label", "colour"]}
    finding = panel.do("find_odd", kind="label errors", key="regions", attribute="colour")
    assert finding["said"].endswith(" in regions, by colour")
    (row,) = (row for row in finding["rows"] if row["id"] == wrong)
    assert row["note"] == "green"
    seen = look_at(panel, finding, [wrong])
    of_given, of_suggested = seen["rows"][wrong]["beside"]
    assert {seen["tiles"][name]["label"] for name in of_given} == {"red"}
    assert {seen["tiles"][name]["label"] for name in of_suggested} == {"green"}
    assert decide(panel, finding, wrong, label="green")
    assert "green" in panel.dataset.values(path)[2] and class_of(panel, wrong) == WRONG
    assert wrong not in open_ids(panel, finding)
    assert wrong in [row["id"] for row in find(panel, "label errors")["rows"]]
    panel.do("undecide", **about(finding), id=wrong)
    assert panel.dataset.values(path) == colours
    sent = {"kind": "label errors", "key": "regions"}
    assert "has 'hue'" in panel.do("find_odd", **sent, attribute="hue")["error"]
    assert (
        "has a meaning"
        in panel.do("decide", **sent, attribute="bounding_box", id=wrong, label="x")["error"]
    )


def test_outliers__of_regions_without_classes(panel):
    names = panel.dataset.values(PATH)
    panel.dataset.set_values(PATH, [[None] * len(some) for some in names])
    finding = find(panel, "outliers")
    assert len(finding["rows"]) == 26
    ids = [row["id"] for row in finding["rows"][:3]]
    rows = look_at(panel, finding, ids)["rows"]
    assert rows[ids[0]] == {"beside": [[], []], "likely": []}
    decide(panel, finding, ids[0], tag="outlier")
    assert open_ids(panel, finding)[0] == ids[1]


def test_missing_labels__become_labels_and_are_taken_back(panel):
    dataset = panel.dataset
    assert "no index of proposals" in find(panel, "missing labels")["error"]
    dataset.clone_sample_field("shapes", "proposals")
    dataset.set_values("proposals.detections.label", [[None] * 2] * 13)
    build(dataset, "proposals", encoder="alphaclip-nano", key="proposals")
    gone = dataset.first().shapes.detections[1]
    dataset.delete_labels(ids=[gone.id], fields="shapes")
    load(dataset).update()
    finding = find(panel, "missing labels")
    assert finding["said"] == "1 missing label in proposals" and finding["labels"] == "regions"
    (row,) = finding["rows"]
    assert row["id"] == gone.id  # a clone of a field keeps the ids
    told = look_at(panel, finding, [row["id"]])
    beside = told["rows"][row["id"]]["beside"]
    assert beside[0] == [] and {class_of(panel, name) for name in beside[1]} == {row["note"]}
    assert all(told["tiles"][name]["crop"] for name in [row["id"], *beside[1]])
    assert decide(panel, finding, row["id"], label="blue square")
    made = dataset.first().shapes.detections[-1]
    assert (made.label, made.bounding_box) == ("blue square", gone.bounding_box)
    assert open_ids(panel, finding) == []
    assert panel.do("undecide", **about(finding), entry=finding["entry"])["is_changed"]
    assert len(dataset.first().shapes.detections) == 1 and open_ids(panel, finding) == [row["id"]]
    assert decide(panel, finding, row["id"]) is False


def test_badly_drawn__beside_the_box_of_the_mask(panel):
    dataset = panel.dataset
    assert "into='shapes_masks'" in find(panel, "badly drawn")["error"]
    prepare_field(dataset, "masks", {"kind": "sam", "field": "shapes"})
    for sample in dataset:
        masks = [
            fo.Detection(bounding_box=one.bounding_box, source_id=one.id)
            for one in sample.shapes.detections
        ]
        sample["masks"] = fo.Detections(detections=masks)
        sample.save()
    sample = dataset.first()
    sample.shapes.detections[0].bounding_box = [0.1, 0.1, 0.2, 0.2]
    sample.save()
    name = sample.shapes.detections[0].id
    finding = find(panel, "badly drawn")
    assert finding["rows"][0]["id"] == name and finding["rows"][0]["score"] < 0.5
    told = look_at(panel, finding, [name])
    (box,) = told["rows"][name]["beside"][0]
    assert told["tiles"][box]["crop"] != told["tiles"][name]["crop"]
    assert decide(panel, finding, name, tag="badly drawn")
    assert name not in open_ids(panel, finding)
    assert "error" in panel.do("finding_rows", **about(finding), notes={name: "0 0 x"}, side=64)


def test_doubled__beside_the_earlier_label(panel):
    sample = panel.dataset.first()
    first = sample.shapes.detections[0]
    sample.shapes.detections.append(first.copy())
    sample.save()
    load(panel.dataset).update()
    finding = find(panel, "doubled")
    (row,) = finding["rows"]
    assert (row["id"], row["note"]) == (sample.shapes.detections[-1].id, first.id)
    told = look_at(panel, finding, [row["id"]])
    assert told["rows"][row["id"]]["beside"] == [[first.id], []]
    assert decide(panel, finding, row["id"], tag="doubled")
    assert panel.dataset.count_label_tags() == {"doubled": 1}


def test_findings__what_cannot_be_done(panel):
    assert "one of label errors" in panel.do("find_odd", kind="../x", key="regions")["error"]
    assert "expected letters" in panel.do("find_odd", kind="outliers", key="../x")["error"]
    finding = find(panel, "outliers")
    of, name = about(finding), finding["rows"][0]["id"]
    for notes, told in (([], "notes is"), ({"a": 1}, "note is")):
        assert told in panel.do("finding_rows", **of, notes=notes, side=64)["error"]
    assert (
        "at most"
        in panel.do("finding_rows", **of, notes={str(n): "" for n in range(99)}, side=64)["error"]
    )
    notes = {"../x": "", "f" * 24: "", "תפוח-🍎": ""}
    nothing = panel.do("finding_rows", **of, notes=notes, side=64)
    assert nothing == {"rows": {}, "tiles": {}}
    assert "no more" in panel.do("decide", **of, id="f" * 24)["error"]
    assert "label is" in panel.do("decide", **of, id=name, label=["x"])["error"]
    assert "tag is" in panel.do("decide", **of, id=name, tag=" ")["error"]
    assert name in open_ids(panel, finding)
    assert "id is" in panel.do("undecide", **of, id=7)["error"]


def test_history__searches_with_pictures_and_marks_and_findings(panel):
    token = panel.do("upload", content=picture_of("red"))["token"]
    picture = {"token": token, "box": [0.25, 0.25, 0.5, 0.5]}
    panel.search("a square", picture=picture, remember=True)
    first = panel.hits
    marked = {**panel.question, "right": first[3:4], "wrong": first[:1]}
    panel.do("remember", question=marked)
    finding = find(panel, "outliers")
    indexing.remember(panel.dataset, indexing.Search(picture="/etc/passwd"))
    newest, before = panel.do("about")["history"]
    assert newest == {"entry": finding["entry"], "said": "26 outliers in regions"}
    assert before["said"] == "“a square” and a part of a picture, with 2 marks"
    question = panel.do("restore", entry=before["entry"])["question"]
    assert question["picture"] == picture
    assert (question["right"], question["wrong"]) == (first[3:4], first[:1])
    panel.search(**{**question, "right": [], "wrong": []})
    assert panel.hits == first
    restored = panel.do("restore", entry=finding["entry"])["finding"]
    assert restored["rows"] == finding["rows"]


def test_history__a_search_by_any_path_is_no_business_of_a_browser(panel):
    entry = indexing.remember(panel.dataset, indexing.Search(picture="/etc/passwd"))
    assert "only a program" in panel.do("restore", entry=entry)["error"]
    assert "history" in panel.do("restore", entry="nope")["error"]


def requests_of(dataset, name, request, **params):
    """What an operator sends to the App, by name."""
    executor = foo.executor.Executor()
    uri = f"@alphaclip/regions/{name}"
    sent = {"dataset_name": dataset.name, "params": {"key": "regions", **params}, **request}
    context = foo.executor.ExecutionContext(sent, executor=executor, operator_uri=uri)
    steps = foo.get_operator(uri).execute(context)
    list(steps or [])
    sent = [(one["operator_uri"], one["params"]) for one in executor.to_json()["requests"]]
    return [uri.rpartition("/")[2] for uri, _ in sent], dict(sent)


def test_similar__closes_the_picture_and_leads_into_the_panel(panel):
    one = panel.dataset.first().shapes.detections[0].id
    picked = {"label_id": one, "sample_id": panel.dataset.first().id, "field": "shapes"}
    request = {"view": None, "selected_labels": [picked], "current_sample": picked["sample_id"]}
    order, sent = requests_of(panel.dataset, "find_similar_regions", request, k=5)
    assert order.index("close_sample") < order.index("set_view") < order.index("open_panel")
    handed = sent["@alphaclip/regions/restore_in_region_search"]
    question = panel.do("restore", **handed)["question"]
    assert (question["like"], question["keys"]) == ([one], ["regions"])
    panel.search(**question)
    assert panel.hits[0] == one


@pytest.mark.parametrize("kind", ["label errors", "duplicates", "outliers"])
def test_odd_regions__lead_into_the_panel(panel, kind):
    params = {"kind": kind, "count": 5, "similarity": 0.98}
    _, sent = requests_of(panel.dataset, "find_odd_regions", {}, **params)
    handed = sent["@alphaclip/regions/restore_in_region_search"]
    finding = panel.do("restore", **handed)["finding"]
    assert finding["kind"] == kind and finding["key"] == "regions"
    in_panel = find(panel, kind)
    scores = {row["id"]: row["score"] for row in in_panel["rows"]}
    for row in finding["rows"]:
        assert row["id"] not in scores or row["score"] == pytest.approx(scores[row["id"]], abs=1e-5)
    assert {row["id"] for row in finding["rows"]} & set(scores)
    assert np.isfinite([row["score"] for row in finding["rows"]]).all()
    assert len(load(panel.dataset)) == 26
