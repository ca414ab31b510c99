"""Odd regions in the panel "Region search", decided by keys as a person decides them."""

import re

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip import indexing

from .app_panel import KEY, Panel, is_event
from .fiftyone_app import Gate

KEYS = ["1", "y", "2", "n", *["y", "n"] * 8]
pytestmark = pytest.mark.app


def test_findings__twenty_decisions_in_twenty_keys(panel: Panel, scenes: fo.Dataset) -> None:
    index = indexing.load(scenes, KEY)
    names = index.names(indexing.find_outliers(index, 20))
    classes = scenes.count_values("objects.detections.label")
    panel.open(scenes)
    panel.press("Find ▾")
    panel.page.get_by_role("menuitem", name=re.compile("^Outliers")).click()
    left = panel.content.get_by_role("status")
    expect(left).to_have_text("200 outliers in drawn: 200 left to decide")
    # What digits stand for comes with the tiles, six at a time and in any order
    for position in range(1, 13):
        loaded = re.compile(rf"^{position}\. (?!loading)")
        expect(panel.tile(position)).to_have_attribute("aria-label", loaded)
    expect(panel.tile(1)).to_be_focused()
    assert panel.content.locator("[data-id]").first.get_attribute("data-id") == names[0]
    with panel.page.expect_response(lambda answer: is_event(answer.request, "reload_grid")):
        for key in KEYS:
            panel.page.keyboard.press(key)
        # Painted before the server has heard of them
        expect(left).to_have_text("200 outliers in drawn: 180 left to decide")
        expect(panel.tile(21)).to_be_focused()
    panel.shoot("findings")
    decided = indexing.decisions(scenes, "outliers")
    assert [decided[name] == "outlier" for name in names] == [key == "y" for key in KEYS]
    assert [decided[name] == "keep" for name in names] == [key == "n" for key in KEYS]
    assert scenes.count_label_tags() == {"outlier": KEYS.count("y")}
    assert scenes.count_values("objects.detections.label") != classes
    # All but the decision about the first is taken back
    with panel.page.expect_response(lambda answer: is_event(answer.request, "reload_grid")):
        for _ in KEYS[1:]:
            panel.page.keyboard.press("u")
        expect(panel.tile(2)).to_be_focused()
    assert [*indexing.decisions(scenes, "outliers")] == names[:1]
    assert scenes.count_label_tags() == {}
    # It comes back with a reload and from the history, without what was decided
    panel.page.reload()
    expect(left).to_have_text("200 outliers in drawn: 199 left to decide")
    panel.search("an apple")
    panel.press("History")
    panel.press("200 outliers in drawn")
    expect(left).to_have_text("200 outliers in drawn: 199 left to decide")
    # What was decided before the reload is taken back as well
    panel.tile(2).focus()
    panel.page.keyboard.press("u")
    expect(left).to_have_text("200 outliers in drawn: 200 left to decide")
    expect(panel.tile(1)).to_be_focused()
    assert indexing.decisions(scenes, "outliers") == {}
    assert scenes.count_values("objects.detections.label") == classes
    # A class by its name, of more than there are digits
    panel.page.keyboard.press("c")
    panel.content.get_by_role("combobox", name="Another class").fill("peng")
    expect(panel.page.get_by_role("option", name="penguin")).to_be_visible()
    with panel.page.expect_response(lambda answer: is_event(answer.request, "decide")):
        panel.page.keyboard.press("Enter")
    assert indexing.decisions(scenes, "outliers") == {names[0]: "penguin"}
    expect(panel.tile(2)).to_be_focused()
    with panel.page.expect_response(lambda answer: is_event(answer.request, "undecide")):
        panel.page.keyboard.press("u")
    assert scenes.count_values("objects.detections.label") == classes


def test_audit__clicks_and_keys_mark_and_a_detector_does_the_rest(
    panel: Panel, scenes: fo.Dataset, gate: Gate
) -> None:
    audit = indexing.load(scenes, KEY).audit("a penguin")
    one, two = audit.pictures[:2]
    panel.open(scenes)
    panel.content.get_by_label("Search for").fill("a penguin")
    panel.press("Find ▾")
    panel.page.get_by_role("menuitem", name=re.compile("^Audit")).click()
    said = panel.content.get_by_role("status")
    expect(said).to_have_text("none of 100 pictures is looked at yet")
    picture = panel.content.get_by_alt_text("Picture 1", exact=True)
    picture.evaluate("image => image.decode()")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    expect(said).to_contain_text("1 in 1 of 320 pictures, by person (1)")
    panel.page.keyboard.press("y")
    expect(panel.content.get_by_alt_text("Picture 2", exact=True)).to_be_visible()
    panel.page.keyboard.press("y")
    expect(said).to_contain_text("1 in 2 of 320 pictures")
    panel.shoot("audit")
    assert audit.marks == {one: [pytest.approx((0.25, 0.5), abs=0.02)], two: []}
    panel.page.reload()
    expect(said).to_contain_text("1 in 2 of 320 pictures")
    expect(panel.content.get_by_alt_text("Picture 3", exact=True)).to_be_visible()

    for sample_id in audit.pictures[2:92]:
        audit.mark(sample_id, [])
    gate.hold(after=2)
    panel.press("Ask corner")
    expect(panel.content.get_by_role("button", name="Asking")).to_be_disabled()
    expect(panel.content.get_by_role("button", name="Stop")).to_be_visible()
    gate.open()
    expect(said).to_contain_text("9 in 100 of 320 pictures, by person (92), somebody/corner (8)")
    panel.shoot("audit-detector")
    panel.press("Close")
    for sample_id in audit.pictures:
        audit.unmark(sample_id)
