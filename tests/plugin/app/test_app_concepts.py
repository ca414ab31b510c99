"""Concepts in the App: a search is kept, what is new waits in the panel, and is dismissed."""

import re

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import build, concepts, load

from .app_panel import KEY, NANO, Panel, edit_boxes

pytestmark = pytest.mark.app


def test_concept__kept_waits_dismissed_and_deleted(panel: Panel, few_scenes: fo.Dataset) -> None:
    build(few_scenes, "objects", encoder=NANO, key=KEY)
    panel.open(few_scenes)
    panel.search("an apple")
    panel.set_threshold(10)
    panel.press("More ▾")
    panel.page.get_by_role("menuitem", name="Keep as a concept").click()
    name = panel.content.get_by_label("Name of the concept")
    expect(name).to_have_value("an_apple")
    expect(name).to_be_focused()
    name.fill("Apples!")
    panel.page.keyboard.press("Enter")
    panel.expect_text("“apples_” is watched")
    few_scenes.reload()
    edit_boxes(few_scenes)
    load(few_scenes, KEY).update()
    waiting = concepts(few_scenes)[0].waiting
    assert waiting > 1
    panel.page.reload()
    with panel.searching():
        panel.press(f"apples_: {waiting} new")
    expect(panel.content.get_by_role("status")).to_have_text(f"{waiting} of {waiting} waiting")
    panel.tile(1).locator("img").wait_for()
    panel.tile(1).click()
    panel.shoot("concept")
    panel.press("Dismiss 1 selected")
    panel.expect_text(f"1 region dismissed, {waiting - 1} left")
    panel.content.get_by_role("button", name=f"apples_: {waiting - 1} new").wait_for()
    expect(panel.content.get_by_role("status")).to_have_text(
        f"{waiting - 1} of {waiting - 1} waiting"
    )
    panel.page.keyboard.press("u")
    panel.expect_text(f"Taken back: {waiting} regions wait")
    expect(panel.content.get_by_role("status")).to_have_text(f"{waiting} of {waiting} waiting")
    panel.press("Delete …")
    panel.press("Delete")
    expect(panel.content.get_by_role("button", name=re.compile("apples_"))).to_have_count(0)
    assert concepts(few_scenes) == []
