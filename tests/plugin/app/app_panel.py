"""The panel "Region search" in the App, for the tests that use it as a person does.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import build
from alphaclip.indexing.dataset.samples import load_sample

from .fiftyone_app import App, browse, run_app

NANO, KEY = "alphaclip-nano", "drawn"


class Panel:
    """What a person does in the panel.

    Args:
        app: that is open
    """

    def __init__(self, app: App) -> None:
        self.app, self.page = app, app.page

    def open(self, dataset: fo.Dataset) -> None:
        """Goes to a dataset; the App's server remembers which panels were open before."""
        self.app.open(dataset)
        content = self.page.locator("[data-cy=panel-content-region_search]")
        self.page.locator("[data-cy=new-panel-btn]").first.wait_for()
        if not content.count():
            self.page.locator("[data-cy=new-panel-btn]").first.click()
            self.page.locator("[data-cy=new-panel-option-region_search]").first.click()
        self.page.get_by_role("button", name="Search", exact=True).wait_for()
        self.app.settle()

    def press(self, label: str, number: int = 0) -> None:
        self.page.get_by_role("button", name=label, exact=True).nth(number).click()

    def search(self, words: str, avoid: str = "") -> None:
        self.page.get_by_placeholder("a red apple").fill(words)
        self.page.get_by_placeholder("with commas").fill(avoid)
        self.press("Search")
        self.expect_summary(f"to “{words}”" + (f", but not “{avoid}”" if avoid else ""))

    def expect_summary(self, text: str) -> None:
        expect(
            self.page.get_by_text(re.compile("cosine of at least .*" + re.escape(text)))
        ).to_be_visible()

    def expect_tiles(self, count: int) -> None:
        expect(self.page.get_by_text(re.compile(r"^\d+ · -?\d\.\d{3} · "))).to_have_count(count)

    def tiles(self) -> list[str]:
        """The captions of the crops, in order."""
        found = self.page.get_by_text(re.compile(r"^\d+ · -?\d\.\d{3} · ")).all_inner_texts()
        return [caption.split(" · ", 2)[2] for caption in found]

    def tile(self, rank: int):
        return self.page.locator(f"img[alt^='{rank}. ']")

    def shoot(self, name: str) -> None:
        self.app.shoot(f"panel-{name}")


@pytest.fixture(scope="module")
def server(installed_plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the App, whose jobs take their time."""
    with run_app(tmp_path_factory.mktemp("app") / "server.log", slowly=True) as address:
        yield address


@pytest.fixture(scope="module")
def scenes() -> Iterator[fo.Dataset]:
    """The sample dataset, its objects embedded."""
    dataset = load_sample(name="panel-scenes")
    build(dataset, "objects", encoder=NANO, key=KEY)
    yield dataset
    dataset.delete()


@pytest.fixture
def panel(server: str, chromium: str, tmp_path: Path) -> Iterator[Panel]:
    """The App in a headless browser."""
    with browse(server, chromium, tmp_path) as app:
        yield Panel(app)
