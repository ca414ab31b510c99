"""The panel "Label regions", used in the App as a person uses it."""

from collections.abc import Iterator

import fiftyone as fo
import pytest
from playwright.sync_api import Locator, expect

from alphaclip.indexing import build, load
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.indexing.labelling.review.runs import book_of, labelling_of
from alphaclip.indexing.labelling.scoring.classes import SKIPPED

from .app_panel import KEY, NANO
from .fiftyone_app import App

CLASSES = "red apple: a red apple; not: a red ball\ngreen pear\npenguin\nviolin\ncar; also: auto"
RIGHT, WRONG, NOTHING = "rgb(46, 158, 79)", "rgb(209, 55, 63)", "rgba(0, 0, 0, 0)"
CROP = "img[data-region]"
pytestmark = pytest.mark.app


class LabelPanel:
    """What a person does in the panel.

    Args:
        app: that is open
    """

    def __init__(self, app: App) -> None:
        self.app, self.page = app, app.page

    def open(self, dataset: fo.Dataset) -> None:
        self.app.open(dataset)
        self.page.locator("[data-cy=new-panel-btn]").first.wait_for()
        if not self.page.locator("[data-cy=panel-content-label_regions_panel]").count():
            self.page.locator("[data-cy=new-panel-btn]").first.click()
            self.page.locator("[data-cy=new-panel-option-label_regions_panel]").first.click()
        self.page.get_by_role("button", name="1. Classes").wait_for()
        self.app.settle()

    def press(self, label: str, number: int = 0) -> None:
        self.page.get_by_role("button", name=label, exact=True).nth(number).click()

    def type_classes(self, text: str) -> None:
        box = self.page.locator("textarea").first
        box.click()
        box.press_sequentially(text, delay=5)

    def fill(self, label: str, value: str) -> None:
        """Types into the field below a label."""
        self.page.locator(f"xpath=//p[.='{label}']/following::input[1]").fill(value)

    def expect_text(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    def crop(self, place: int) -> Locator:
        return self.page.locator(CROP).nth(place)

    def expect_frame(self, place: int, color: str) -> None:
        expect(self.crop(place)).to_have_css("border-top-color", color)

    def shoot(self, name: str) -> None:
        self.app.shoot(f"label-{name}")


@pytest.fixture(scope="module")
def scenes() -> Iterator[fo.Dataset]:
    """The sample dataset, its objects embedded; the App remembers which panels it was seen with."""
    dataset = load_sample(name="app-label-scenes")
    build(dataset, "objects", encoder=NANO, key=KEY)
    yield dataset
    dataset.delete()


@pytest.fixture
def panel(app: App) -> LabelPanel:
    """The panel "Label regions" in the App."""
    return LabelPanel(app)


def given(dataset: fo.Dataset) -> list[str | None]:
    """The answers that are kept, in the order of the sample."""
    book = book_of(dataset, labelling_of(dataset, "auto"))
    kept = book.answers["promise"]
    return [kept[one]["app"] for one in book.sample if kept.get(one)]


def test_label__from_classes_to_a_report(panel: LabelPanel, scenes: fo.Dataset) -> None:
    panel.open(scenes)
    panel.type_classes(CLASSES)
    expect(panel.page.locator("img[alt^='penguin']")).to_be_visible()
    expect(panel.page.locator("textarea").first).to_have_value(CLASSES)
    panel.shoot("classes")
    panel.press("2. Label")
    panel.fill("Share of right labels", "0.5")
    panel.fill("Sample to review", "24")
    panel.shoot("promise")
    panel.press("Label")
    panel.expect_text("0 of 24 of the random sample reviewed; 1022 wait in the queue")
    expect(panel.page.locator(CROP)).to_have_count(24)
    panel.page.locator(CROP).first.hover()
    for key in ("y", "y", "n", "s", "u"):
        panel.page.keyboard.press(key)
    panel.crop(5).click(modifiers=["Alt"])
    panel.crop(4).click()
    for place, color in enumerate((RIGHT, RIGHT, WRONG, NOTHING, RIGHT, WRONG)):
        panel.expect_frame(place, color)
    panel.expect_text("5 of 24 of the random sample reviewed")
    panel.shoot("review")
    assert len(given(scenes)) == 5
    assert given(scenes)[2] == given(scenes)[4] == SKIPPED
    panel.press("none of these", 0)
    panel.press("none of these", 1)
    panel.crop(0).hover()
    for key in (*["ArrowLeft"] * 2, "y", *["ArrowRight"] * 2, *["y"] * 18):
        panel.page.keyboard.press(key)
    panel.expect_text("24 of 24 of the random sample reviewed")
    expect(panel.page.get_by_text("The random sample is reviewed")).to_be_visible()
    assert given(scenes).count(None) == 2
    panel.press("Label")
    panel.expect_text("labels written into auto")
    panel.page.locator(".js-plotly-plot .main-svg").first.wait_for()
    panel.shoot("report")
    panel.press("Undo this run")
    expect(panel.page.get_by_text("Taken back")).to_be_visible()


def test_label__without_the_script_buttons_do(panel: LabelPanel, scenes: fo.Dataset) -> None:
    load(scenes, "drawn").label(["penguin", "car"], into="more", precision=0.5, sample=12)
    panel.page.route("**/keys.js*", lambda route: route.abort())
    panel.open(scenes)
    panel.press("1. Classes")
    panel.fill("Write to a field, or to field.attribute", "more")
    panel.press("3. Review")
    panel.expect_text("0 of 12 of the random sample reviewed")
    panel.press("✓", 0)
    panel.expect_frame(0, RIGHT)
    panel.press("✗", 1)
    panel.expect_frame(1, WRONG)
    panel.expect_text("2 of 12 of the random sample reviewed")
    expect(panel.page.get_by_text("Unsupported view")).to_be_hidden()
