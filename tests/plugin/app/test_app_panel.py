"""The panel "Region search", used in the App as a person uses it."""

import re
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from PIL import Image
from playwright.sync_api import expect

from alphaclip.indexing import RegionIndex, build, load
from alphaclip.regions.region import Region

from .app_panel import KEY, NANO, Panel, edit_boxes
from .fiftyone_app import Gate

HOSTILE = '<b onclick="alert(1)">it\'s</b> *x* 🍎 שלום `y`'
ALL = 1046
IN_SIGHT = """() => {
    const inner = document.querySelector(".alphaclip-gallery").getBoundingClientRect();
    const bottom = Math.min(inner.bottom, innerHeight);
    return [...document.querySelectorAll("button[data-position]")]
        .map(tile => tile.getBoundingClientRect())
        .filter(tile => tile.top >= inner.top - 1 && tile.bottom <= bottom + 1).length;
}"""
pytestmark = pytest.mark.app


def classes(index: RegionIndex, query: Any, k: int, **options: object) -> list[str]:
    hits = index.search(query, k=k, **options)
    names = dict(zip(*index.dataset.values(
        ["objects.detections.id", "objects.detections.label"], unwind=True
    ), strict=True))  # fmt: skip
    return [names[label_id] for label_id in hits.label_ids]


def test_panel__search_scroll_and_the_grid(panel: Panel, scenes: fo.Dataset) -> None:
    index = load(scenes, KEY)
    panel.open(scenes)
    panel.search("an apple")
    assert panel.classes(12) == classes(index, "an apple", 12)
    assert panel.page.evaluate(IN_SIGHT) >= 20
    panel.page.set_viewport_size({"width": 1280, "height": 720})
    panel.page.wait_for_function(f"({IN_SIGHT})() >= 8")
    panel.page.set_viewport_size({"width": 1600, "height": 1000})
    panel.shoot("search")
    panel.search("an apple", avoid="a stop sign")
    assert panel.classes(12) == classes(index, "an apple", 12, negative="a stop sign")
    # Endless: the last of all hits is one key away
    panel.tile(1).focus()
    panel.page.keyboard.press("End")
    panel.tile(ALL).locator("img").wait_for()
    panel.page.keyboard.press("Home")
    panel.tile(1).locator("img").wait_for()
    panel.page.keyboard.press("End")
    panel.tile(ALL).locator("img").wait_for()
    panel.search("a bicycle")  # Whose hits are shown from the best one on
    panel.search("an apple", avoid="a stop sign")
    panel.content.get_by_label("Size of the crops").focus()
    panel.page.keyboard.press("End")
    assert panel.tile(1).bounding_box()["width"] >= 256  # And more, so that the row is filled
    panel.press("Show in grid")
    expect(panel.page.locator("[data-cy=entry-counts]")).to_have_text("1,046 patches")
    panel.app.show_ids()
    hits = index.search("an apple", k=8, negative="a stop sign").label_ids.tolist()
    assert panel.app.patches(8) == hits


def test_panel__threshold_tag_and_undo(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("a green pear")
    scores = load(scenes, KEY).search("a green pear", k=ALL).scores
    panel.set_threshold(150)
    above = int((scores >= (float(scores.min()) + float(scores.max())) / 2).sum())
    assert 2 < above < 48
    panel.expect_count(above, ALL)
    expect(panel.content.locator("button[data-position]")).to_have_count(above)
    panel.tile(1).click()
    panel.tile(2).click(modifiers=["Shift"])
    expect(panel.tile(2)).to_have_attribute("aria-pressed", "true")
    panel.press("Tag")
    field = panel.content.get_by_role("combobox", name="Tag")
    expect(field).to_have_value("a green pear")
    field.fill(HOSTILE)
    panel.shoot("tag-form")
    panel.page.keyboard.press("Enter")
    expect(panel.tile(1)).to_have_attribute("aria-label", re.compile(re.escape(HOSTILE)))
    scenes.reload()
    assert scenes.count_label_tags() == {HOSTILE: 2}
    panel.press(re.compile("^Undo tagging 2 regions"))
    panel.expect_text("Taken back: 2")
    assert scenes.count_label_tags() == {}
    expect(panel.tile(1)).not_to_have_attribute("aria-label", re.compile(re.escape(HOSTILE)))


def test_panel__asks_a_language_model(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("a red apple")
    panel.press("Ask")
    expect(panel.content.get_by_label("Question")).to_have_value("is this a red apple?")
    panel.page.keyboard.press("Enter")
    panel.expect_text("alphaclip-nano-captioner says: 100 hits looked at")
    status = panel.content.get_by_role("status")
    expect(status).to_have_text("100 of 100 asked about")
    expect(panel.tile(1)).to_have_attribute("aria-label", re.compile("“yes” 0"))
    panel.shoot("asked")
    panel.set_threshold(150)
    expect(status).to_have_text(re.compile(r"^\d\d? of 100 asked about"))
    panel.press("Tag")
    panel.page.keyboard.press("Enter")
    panel.press(re.compile(r"^Undo tagging \d\d? regions?"))
    panel.expect_text("Taken back")
    assert scenes.count_label_tags() == {}


def test_panel__marks_refine_and_explain(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("an apple")
    panel.tile(1).focus()
    for key in ("y", "y", "n"):
        panel.page.keyboard.press(key)
    panel.expect_text("Search again with 2 ✓ 1 ✗")
    expect(panel.tile(4)).to_be_focused()
    panel.shoot("marks")
    with panel.searching():
        panel.press(re.compile("^Search again with"))
    expect(panel.tile(2)).to_have_attribute("aria-label", re.compile("right"))
    assert panel.classes(2) == ["red apple", "red apple"]
    panel.page.reload()
    panel.tile(1).locator("img").wait_for()
    panel.expect_text("Search again with 2 ✓ 1 ✗")
    panel.search("an apple", avoid="a stop sign")
    panel.expect_text("Search again with 2 ✓ 1 ✗")
    panel.tile(1).hover()
    panel.content.get_by_label(re.compile("^where the encoder looked")).first.click()
    panel.expect_text("Bright is what speaks for")
    panel.shoot("why")


def test_panel__keys_and_mouse_select(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("an apple")
    sent: list[str] = []
    panel.page.on("request", lambda request: sent.append(request.post_data or ""))
    panel.tile(1).focus()
    panel.page.keyboard.press("Space")
    panel.page.keyboard.press("Shift+ArrowRight")
    panel.page.keyboard.press("Shift+ArrowRight")
    panel.expect_text("3 selected")
    panel.page.keyboard.press("Escape")
    panel.expect_text(re.compile("Select all"))
    first, last = panel.tile(1).bounding_box(), panel.tile(3).bounding_box()
    assert first is not None and last is not None
    panel.page.mouse.move(first["x"] + 5, first["y"] + 5)
    panel.page.mouse.down()
    panel.page.mouse.move(last["x"] + 40, last["y"] + 40, steps=5)
    panel.page.mouse.up()
    panel.expect_text("3 selected")
    assert not [body for body in sent if '"__method__":"search"' in body]
    # What is typed marks nothing
    panel.content.get_by_label("Search for").press_sequentially("yn")
    expect(panel.content.get_by_text("Search again with")).to_be_hidden()
    panel.page.keyboard.press("Control+a")
    panel.tile(1).focus()
    panel.page.keyboard.press("Control+a")
    panel.expect_text(f"{ALL:,} selected")


def test_panel__opens_the_picture_and_comes_back(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.search("an apple")
    panel.tile(1).focus()
    panel.page.keyboard.press("o")
    modal = panel.page.locator("[data-cy=modal]")
    modal.wait_for()
    hit = load(scenes, KEY).search("an apple", k=1).sample_ids[0]
    expect(modal.get_by_text(hit).first).to_be_visible()
    panel.shoot("opened")
    panel.app.close_picture()
    expect(panel.tile(1)).to_be_focused()


def test_panel__leaves_the_filters_of_the_sidebar(panel: Panel, few_scenes: fo.Dataset) -> None:
    build(few_scenes, "objects", encoder=NANO, key=KEY)
    label = few_scenes.values("objects.detections.label", unwind=True)[0]
    panel.open(few_scenes)
    counts = panel.page.locator("[data-cy=entry-counts]")
    panel.page.goto(panel.page.url)  # a page that no panel was just opened in
    expect(counts).to_have_text("20 samples")
    panel.page.get_by_label("Search for").wait_for()
    panel.page.locator("[data-cy=sidebar-field-arrow-enabled-objects]").first.click()
    box = panel.page.get_by_placeholder("+ filter by label").first
    # The list is drawn anew for what was typed: a click before that is lost.
    with panel.page.expect_response(lambda r: f'"search":"{label}"' in (r.request.post_data or "")):
        box.fill(label)
    panel.app.settle()
    results = panel.page.locator("[data-cy^=selector-results-container]")
    results.get_by_text(label, exact=True).click()
    expect(counts).not_to_have_text("20 samples")
    filtered = counts.inner_text()
    panel.search("an apple")
    panel.tile(1).click()
    panel.page.keyboard.press("y")
    panel.set_threshold(100)
    panel.app.settle()
    expect(counts).to_have_text(filtered)
    panel.shoot("filters")


def test_panel__picture_with_a_box(panel: Panel, scenes: fo.Dataset, tmp_path: Path) -> None:
    sample = scenes.match(fo.ViewField("objects.detections").length() > 1).first()
    path = tmp_path / "own.png"
    Image.open(sample.filepath).convert("RGB").save(path)
    panel.open(scenes)
    panel.press("Picture")
    panel.content.locator("input[type=file]").set_input_files(path)
    drawing = panel.content.locator("[data-drawing]")
    drawing.locator("img").wait_for()
    size = drawing.bounding_box()
    assert size is not None
    x, y, width, height = sample.objects.detections[0].bounding_box
    panel.page.mouse.move(size["x"] + x * size["width"], size["y"] + y * size["height"])
    panel.page.mouse.down()
    panel.page.mouse.move(
        size["x"] + (x + width) * size["width"], size["y"] + (y + height) * size["height"], steps=4
    )
    panel.page.mouse.up()
    panel.expect_text("a part of a picture")
    panel.search("")
    drawn = Region.from_box((x, y, width, height))
    assert panel.classes(1) == classes(load(scenes, KEY), [(str(path), drawn)], 1)
    panel.shoot("picture")


def test_panel__any_text_is_only_text(panel: Panel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.page.on("dialog", lambda dialog: pytest.fail("the text ran as a script"))
    panel.search(HOSTILE)
    panel.content.get_by_label("Search for").fill("x" * 10_000)
    panel.page.keyboard.press("Enter")
    panel.expect_text("has 10000 characters")
    panel.shoot("error")


def test_panel__update_stop_and_resume(panel: Panel, few_scenes: fo.Dataset, gate: Gate) -> None:
    count = len(build(few_scenes, "objects", encoder=NANO, key=KEY))
    sample = few_scenes.match(fo.ViewField("objects.detections").length() > 0).first()
    sample.objects.detections[0].bounding_box = [0.1, 0.1, 0.4, 0.4]
    sample.save()
    panel.open(few_scenes)
    panel.press("Indexes")
    panel.press("Check")
    panel.expect_text("1 edited. Update the index")
    panel.press("Update")
    panel.expect_text(f"1 edited, {count - 1} kept")
    edit_boxes(few_scenes)
    gate.hold(after=1)
    panel.press("Update")
    panel.expect_text(re.compile("regions embedded"))
    panel.press("Stop")
    panel.expect_text("Stopping")
    gate.open()
    panel.expect_text("The next run goes on")
    assert not load(few_scenes, KEY).freshness().is_fresh
    panel.press("Update")
    panel.expect_text(f"drawn holds {count} regions")
    assert load(few_scenes, KEY).freshness().is_fresh


def test_panel__index_of_a_deleted_field(panel: Panel, drawings: fo.Dataset) -> None:
    build(drawings, "shapes", encoder=NANO, key=KEY)
    drawings.delete_sample_field("shapes")
    panel.open(drawings)
    panel.content.get_by_label("Search for").fill("a square")
    panel.page.keyboard.press("Enter")
    panel.expect_text(re.compile("no field .?shapes"))
    panel.shoot("deleted-field")
