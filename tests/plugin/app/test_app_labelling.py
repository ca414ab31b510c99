"""The panel "Label regions", used in the App as a person uses it."""

import re

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing.labelling.review.runs import book_of, labelling_of
from alphaclip.indexing.labelling.scoring.classes import SKIPPED

from .app_panel import Panel
from .fiftyone_app import App

CLASSES = ("red apple: a red apple; not: a red ball", "green pear", "penguin")
pytestmark = pytest.mark.app


class LabelPanel(Panel):
    """What a person does in the panel."""

    NAME = "label_regions_panel"

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def expect_progress(self, text: str) -> None:
        expect(self.content.get_by_role("status")).to_contain_text(text)

    def expect_sign(self, rank: int, sign: str) -> None:
        expect(self.tile(rank)).to_have_attribute("aria-label", re.compile(f", {sign}$"))


@pytest.fixture
def panel(app: App) -> LabelPanel:
    """The panel "Label regions" in the App."""
    return LabelPanel(app)


def given(dataset: fo.Dataset) -> list[str | None]:
    """The answers that are kept, in the order of the sample."""
    book = book_of(dataset, labelling_of(dataset, "auto"))
    kept = book.answers["promise"]
    return [kept[one]["app"] for one in book.sample if kept.get(one)]


def test_label__from_marks_and_classes_to_a_report(
    panel: LabelPanel, app: App, scenes: fo.Dataset
) -> None:
    search = Panel(app)
    search.open(scenes)
    search.search("a violin")
    search.tile(1).focus()
    panel.keys("y", "y", "n")
    search.press("Make this a class")
    expect(panel.content.get_by_label("Class 1", exact=True)).to_have_value("a violin")
    panel.expect_text("2 examples")
    for number, text in enumerate(CLASSES, 2):
        panel.content.get_by_label(f"Class {number}", exact=True).fill(text)
        panel.keys("Enter")
    expect(panel.content.get_by_alt_text(re.compile("^penguin · "))).to_be_visible()
    panel.press("Settings")
    panel.content.get_by_label("Share of right labels").fill("0.5")
    panel.content.get_by_label("Sample to review").fill("24")
    panel.expect_text("First 24 regions")
    panel.shoot("label-classes")
    panel.press("Label")
    panel.expect_progress("0 of 24 answered; 1,020 wait in the queue")
    expect(panel.tile(1)).to_be_focused()
    panel.keys("y", "n", " ", "0", "u", "y")
    for rank, sign in enumerate(("right", "wrong", "skip", "right"), 1):
        panel.expect_sign(rank, sign)
    panel.expect_progress("4 of 24 answered")
    panel.shoot("label-review")
    # The list of what is shown gives the keys back, also where nothing else was chosen
    panel.content.get_by_label("Show", exact=True).locator("..").click()
    panel.page.get_by_role("option", name="all", exact=True).click()
    expect(panel.tile(5)).to_be_focused()
    panel.page.reload()
    panel.expect_progress("4 of 24 answered")
    assert given(scenes)[1:3] == [SKIPPED, SKIPPED]
    expect(panel.tile(5)).to_be_focused()
    panel.keys(*["y"] * 20)
    panel.expect_text("The random sample is reviewed")
    panel.press("Label")
    panel.expect_text(re.compile("labels written into auto"))
    panel.expect_text("Written, drawn at random")
    panel.content.locator("img[src]").nth(20).wait_for()  # of 12 and 12 crops
    panel.shoot("label-report")
    panel.press("Undo this run")
    panel.expect_text("Taken back")
    # The first run wrote the examples
    panel.press("Undo the run before")
    panel.expect_text("Taken back: 2 labels")
    assert "auto" not in scenes.get_field_schema()
