"""The panel "Region search", used in the App as a person uses it."""

import re

import fiftyone as fo
import numpy as np
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import RegionIndex, build, load

from .app_panel import KEY, NANO, Panel, edit_boxes
from .fiftyone_app import Gate

HOSTILE = '<b onclick="alert(1)">it\'s</b> *x* 🍎 שלום `y`'
pytestmark = pytest.mark.app


def labels(index: RegionIndex, query: str, **options: object) -> list[str]:
    """The classes of the first page."""
    hits = index.search(query, k=24, **options)
    classes = dict(zip(*index.dataset.values(
        ["objects.detections.id", "objects.detections.label"], unwind=True
    ), strict=True))  # fmt: skip
    return [classes[label_id] for label_id in hits.label_ids]


def test_panel__text_negative_words_and_the_grid(panel: Panel, scenes: fo.Dataset) -> None:
    index = load(scenes, KEY)
    panel.open(scenes)
    panel.search("an apple")
    panel.expect_tiles(24)
    assert panel.tiles() == labels(index, "an apple")
    panel.shoot("search")
    panel.search("an apple", avoid="a stop sign")
    panel.expect_tiles(24)
    assert panel.tiles() == labels(index, "an apple", negative="a stop sign")
    panel.press("Next")
    expect(panel.page.get_by_text("Page 2 of 2")).to_be_visible()
    panel.press("Show in grid")
    expect(panel.page.locator("[data-cy=entry-counts]")).to_have_text("48 patches")
    panel.app.show_ids()
    hits = index.search("an apple", k=48, negative="a stop sign").label_ids.tolist()
    assert panel.app.patches(8) == hits[:8]
    panel.shoot("grid")


def test_panel__threshold_tag_and_undo(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("a green pear")
    scores = load(scenes, KEY).search("a green pear", k=48).scores
    threshold = round(float(np.median(scores)), 3)
    panel.page.get_by_role("slider").fill(str(threshold))
    above = int((scores >= threshold).sum())
    assert 0 < above < 48
    panel.expect_tiles(min(above, 24))
    expect(panel.page.get_by_text(re.compile(rf"^{above} of 1046"))).to_be_visible()
    panel.tile(1).click()
    panel.tile(2).click()
    panel.press("Tag")
    panel.app.fill("Tag", HOSTILE)
    panel.shoot("tag-form")
    panel.app.submit("Tag 2 regions")
    expect(panel.page.get_by_text("Tag: 2 regions")).to_be_visible()
    scenes.reload()
    assert scenes.count_label_tags() == {HOSTILE: 2}
    panel.press("Undo")
    expect(panel.page.get_by_text("Taken back: 2")).to_be_visible()
    assert scenes.count_label_tags() == {}


def test_panel__feedback_and_why(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("an apple")
    panel.press("✓", 0)
    panel.press("✓", 1)
    panel.press("✗", 2)
    expect(panel.page.get_by_text("2 right, 1 wrong")).to_be_visible()
    panel.shoot("marks")
    panel.press("Search again with these")
    panel.expect_summary("with 3 marks")
    assert panel.tiles()[:2] == ["red apple", "red apple"]
    panel.shoot("feedback")
    panel.press("?", 0)
    expect(panel.page.get_by_text("Bright is what speaks for")).to_be_visible()
    panel.shoot("why")


def test_panel__any_text_is_only_text(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.page.on("dialog", lambda dialog: pytest.fail("the text ran as a script"))
    panel.search(HOSTILE)
    panel.page.get_by_placeholder("a red apple").fill("x" * 10_000)
    panel.press("Search")
    expect(panel.page.get_by_text("has 10000 characters")).to_be_visible()
    panel.shoot("error")


def test_panel__update_after_a_box_was_edited(panel: Panel, few_scenes: fo.Dataset) -> None:
    count = len(build(few_scenes, "objects", encoder=NANO, key=KEY))
    sample = few_scenes.match(fo.ViewField("objects.detections").length() > 0).first()
    sample.objects.detections[0].bounding_box = [0.1, 0.1, 0.4, 0.4]
    sample.save()
    panel.open(few_scenes)
    panel.page.get_by_role("button", name="Indexes").click()
    panel.press("Check")
    expect(panel.page.get_by_text("1 edited. Update the index")).to_be_visible()
    panel.press("Update")
    expect(panel.page.get_by_text(f"1 edited, {count - 1} kept")).to_be_visible()
    panel.shoot("update")
    assert load(few_scenes, KEY).freshness().is_fresh


def test_panel__stop_and_resume(panel: Panel, few_scenes: fo.Dataset, gate: Gate) -> None:
    count = len(build(few_scenes, "objects", encoder=NANO, key=KEY))
    edit_boxes(few_scenes)
    panel.open(few_scenes)
    panel.page.get_by_role("button", name="Indexes").click()
    gate.hold(after=1)
    panel.press("Update")
    expect(panel.page.get_by_text("regions embedded")).to_be_visible()
    panel.press("Stop")
    expect(panel.page.get_by_text("Stopping")).to_be_visible()
    gate.open()
    expect(panel.page.get_by_text("The next run goes on")).to_be_visible()
    assert not load(few_scenes, KEY).freshness().is_fresh
    panel.press("Update")
    expect(panel.page.get_by_text(f"drawn holds {count} regions")).to_be_visible()
    assert load(few_scenes, KEY).freshness().is_fresh


def test_panel__index_of_a_deleted_field(panel: Panel, drawings: fo.Dataset) -> None:
    build(drawings, "shapes", encoder=NANO, key=KEY)
    drawings.delete_sample_field("shapes")
    panel.open(drawings)
    panel.page.get_by_placeholder("a red apple").fill("a square")
    panel.press("Search")
    expect(panel.page.get_by_text("It did not work")).to_be_visible()
    expect(panel.page.get_by_text("has no field 'shapes'")).to_be_visible()
    expect(panel.page.get_by_text("cosine of at least")).to_be_hidden()
    panel.shoot("deleted-field")
