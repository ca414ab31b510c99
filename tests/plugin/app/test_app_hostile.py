"""Names and texts that would do harm if the App read them as anything but text.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import re
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import fiftyone as fo
import pytest
from playwright.sync_api import Page, expect

from alphaclip.indexing import build

from .app_panel import KEY, NANO, Panel
from .fiftyone_app import App

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> '
    "![x](http://elsewhere.invalid/a.png) [y](http://elsewhere.invalid) `c` *b* \"q\" 's' 🍎 שלום"
)
LONG = HOSTILE + " and more" * 1_100
NAME = """<img src=x onerror="hacked=1"> ![x](elsewhere) [y](elsewhere) "q" 's' 🍎 שלום"""
FIELD = "<img src=x onerror='hacked=1'> ![x](http://elsewhere/a) 🍎 שלום"
FORMS = (
    "Segment regions",
    "Fine-tune on this dataset",
    "Embed regions",
    "Find regions by text",
    "Update region index",
    "Delete region index",
    "Export region index",
    "Compute region visualization",
    "Find odd regions",
    "Label regions with a stated precision",
)
HARM = """() => ({
    ran: window.hacked !== undefined,
    links: [...document.querySelectorAll("a[href], img[src], script")]
        .map(found => found.href || found.src || found.textContent)
        .filter(text => /elsewhere|hacked/.test(text)),
    tags: document.querySelectorAll("img[src=x]").length,
})"""
TEXT_BOX = "input:not([type=number]):not([type=checkbox]):not([aria-hidden=true])"
SETTLE_MS = 1_500
"""In which a form that was typed into comes back from the server."""

pytestmark = pytest.mark.app


class Watch:
    """Notes the harm that a page does.

    Args:
        page: that is watched
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.seen: list[str] = []
        page.on("dialog", lambda dialog: self.seen.append(f"dialog {dialog.message}"))
        page.on("popup", lambda popup: self.seen.append(f"popup {popup.url}"))
        page.on("request", lambda request: self._note(request.url))

    def expect_no_harm(self) -> None:
        """Fails if a text ran, was shown as a link or picture, or fetched something."""
        assert self.page.evaluate(HARM) == {"ran": False, "links": [], "tags": 0}
        assert self.seen == []

    def _note(self, url: str) -> None:
        place = urlsplit(url)
        if (place.hostname or "").startswith("elsewhere") or place.path.endswith("/elsewhere"):
            self.seen.append(url)


@pytest.fixture
def hostile(drawings: fo.Dataset, dataset_factory: Callable) -> fo.Dataset:
    """The drawings, with names that mean something to a browser, their shapes embedded."""
    dataset = dataset_factory(NAME)
    for number, sample in enumerate(drawings):
        copy = fo.Sample(sample.filepath)
        detections = [found.copy() for found in sample.shapes.detections]
        for detection in detections:
            detection.label = (HOSTILE, LONG, "a square")[number % 3]
            detection.tags = [HOSTILE]
        copy[FIELD] = fo.Detections(detections=detections)
        dataset.add_sample(copy)
    build(dataset, FIELD, encoder=NANO, key=KEY)
    dataset.save_view(HOSTILE, dataset.limit(2))
    return dataset


def address(dataset: fo.Dataset) -> SimpleNamespace:
    """The dataset as the App's address names it."""
    return SimpleNamespace(name=quote(dataset.name, safe=""))


def test_forms__names_are_only_text(app: App, hostile: fo.Dataset) -> None:
    watch = Watch(app.page)
    app.open(address(hostile))
    for number, label in enumerate(FORMS):
        app.choose_operator(label)
        expect(app.prompt.get_by_role("progressbar")).to_be_hidden()
        for box in app.prompt.locator(TEXT_BOX).all():
            box.fill(LONG)
        app.page.wait_for_timeout(SETTLE_MS)
        app.shoot(f"hostile-form-{number}")
        watch.expect_no_harm()
        app.page.keyboard.press("Escape")
        expect(app.prompt).to_be_hidden()


def test_panel__texts_are_only_text(app: App, hostile: fo.Dataset) -> None:
    watch, panel = Watch(app.page), Panel(app)
    panel.open(address(hostile))
    panel.search(HOSTILE, avoid=HOSTILE)
    panel.shoot("hostile-search")
    watch.expect_no_harm()
    panel.tile(1).hover()
    panel.content.get_by_label(re.compile("^where the encoder looked")).first.click()
    panel.expect_text("Bright is what speaks for")
    watch.expect_no_harm()
    panel.tile(1).click()
    panel.press("Tag")
    panel.content.get_by_role("combobox", name="Tag").fill(f"{HOSTILE} 1")
    panel.shoot("hostile-tag-form")
    watch.expect_no_harm()
    panel.page.keyboard.press("Enter")
    panel.press(re.compile("^Undo tagging 1 region"))
    panel.expect_text("Taken back: 1")
    watch.expect_no_harm()
    panel.content.get_by_label("Search for").fill(LONG)
    panel.page.keyboard.press("Enter")
    panel.expect_text("characters: a few words are enough")
    panel.press("History")
    panel.shoot("hostile-error")
    watch.expect_no_harm()


def test_error__names_are_only_text(app: App, hostile: fo.Dataset) -> None:
    watch = Watch(app.page)
    hostile.delete_sample_field(FIELD)
    app.open(address(hostile))
    app.choose_operator("Update region index")
    app.submit("Update")
    expect(app.page.get_by_text("It did not work")).to_be_visible()
    app.page.wait_for_timeout(SETTLE_MS)
    app.shoot("hostile-failed")
    watch.expect_no_harm()
