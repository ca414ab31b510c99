"""Both operators and FiftyOne's own text search, used in the App as a person uses them.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import fiftyone as fo
import pytest
from alphaclip.indexing import RegionIndex, build, load
from playwright.sync_api import Locator, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from .fiftyone_app import ARGUMENTS, WAIT_MS, App, run_app

NANO = "alphaclip-nano"
KEY = "drawn"
TILE = "[data-cy=fo-grid] [data-cy=looker]"
TILE_ID = f"{TILE} [data-cy=tag-id]"

VISIBLE_IDS = """selector => [...document.querySelectorAll(selector)]
    .map(tag => [tag.textContent, tag.closest("[data-cy=looker]").getBoundingClientRect()])
    .sort(([, one], [, other]) => one.y - other.y || one.x - other.x)
    .map(([id]) => id)"""

pytestmark = pytest.mark.app


class RegionApp(App):
    """What these tests do in the App; keeps screenshots in `shots`."""

    shots: Path

    def shoot(self, name: str) -> None:
        """Takes a picture of what is on the screen once every tile is drawn."""
        self.page.mouse.move(0, 0)
        self.page.wait_for_function(
            "tile => [...document.querySelectorAll(tile)].every("
            "found => found.querySelector('canvas[canvas-loaded=true]'))",
            arg=TILE,
        )
        self.page.screenshot(path=self.shots / f"{name}.png")

    def field(self, label: str) -> Locator:
        """The input of the form that stands below a label."""
        return self.prompt.locator(f"xpath=.//p[.='{label}']/following::input[1]")

    def fill(self, label: str, text: str) -> None:
        """Types into the field of the form that has a label."""
        self.field(label).fill(text)

    def shoot_form(self, name: str, button: str) -> None:
        """Takes a picture of the form once it is accepted."""
        expect(self.prompt.get_by_role("button", name=button, exact=True)).to_be_enabled()
        expect(self.prompt.get_by_text("Required property")).to_be_hidden()
        expect(self.prompt.get_by_role("progressbar")).to_be_hidden()
        self.shoot(name)

    def show_ids(self) -> None:
        """Has every tile say its id, by the sidebar's checkbox."""
        self.page.locator("[data-cy=checkbox-id]").first.click()
        self.page.locator(TILE_ID).first.wait_for()

    def show_patches(self, field: str) -> None:
        """Turns the grid into the patches of a field."""
        self.page.locator("[data-cy=action-clips-patches]").click()
        self.page.locator(f"[data-cy=item-action-{field}]").click()
        expect(self.page.locator("[data-cy=entry-counts]")).to_contain_text("patches")

    def patches(self, count: int) -> list[str]:
        """The ids of the first tiles in the grid, in the order in which a reader sees them."""
        return self.page.evaluate(VISIBLE_IDS, TILE_ID)[:count]

    def expect_patches(self, ids: Sequence[str]) -> None:
        """Waits until the grid holds these patches, in this order, and no others."""
        try:
            self.page.wait_for_function(
                f"([tile, ids]) => JSON.stringify(({VISIBLE_IDS})(tile)) === JSON.stringify(ids)",
                arg=[TILE_ID, list(ids)],
            )
        except PlaywrightTimeoutError:
            assert self.patches(len(ids) + 1) == list(ids)


@pytest.fixture(scope="module")
def server(installed_plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the App."""
    with run_app(tmp_path_factory.mktemp("app") / "server.log") as address:
        yield address


@pytest.fixture
def app(server: str, chromium: str, drawings: fo.Dataset, tmp_path: Path) -> Iterator[RegionApp]:
    """The App in a headless browser, open at the dataset `drawings`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 780}, color_scheme="dark")
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        app = RegionApp(page)
        app.shots = Path(os.environ.get("ALPHACLIP_SCREENSHOTS") or tmp_path)
        app.shots.mkdir(parents=True, exist_ok=True)
        app.open(f"{server}/datasets/{drawings.name}")
        yield app
        browser.close()


def search(index: RegionIndex, query: str, k: int) -> list[str]:
    return index.search(query, k=k).label_ids.tolist()


def test_app__embeds_then_searches(app: RegionApp, drawings: fo.Dataset) -> None:
    app.choose_operator("Embed regions")
    app.fill("Name of the index", KEY)
    app.shoot_form("app-embed-form", "Execute")
    app.submit("Execute")
    outcome = app.page.get_by_role("dialog")
    expect(outcome.get_by_text("Regions embedded")).to_be_visible()
    app.shoot("app-embed-outcome")
    outcome.get_by_role("button", name="Done").click()

    index = load(drawings, KEY)
    assert len(index) == drawings.count("shapes.detections")

    app.choose_operator("Search regions")
    app.fill("Search for", "a red circle")
    app.fill("How many regions", "16")
    app.shoot_form("app-search-form", "Search")
    app.submit("Search")
    expect(app.page.get_by_text("16 regions for “a red circle”")).to_be_visible()
    expect(app.page.locator("[data-cy=entry-counts]")).to_have_text("16 patches")
    app.shoot("app-search-result")
    app.show_ids()
    app.expect_patches(search(index, "a red circle", k=16))


def test_app__grid_button_opens_the_search_form(app: RegionApp) -> None:
    app.press_button("Search regions")
    expect(app.prompt.get_by_text("No regions of this dataset are embedded")).to_be_visible()
    expect(app.prompt.get_by_role("button", name="Search", exact=True)).to_be_disabled()


def test_app__own_search_panel_lists_the_index(app: RegionApp, drawings: fo.Dataset) -> None:
    index = build(drawings, "shapes", encoder=NANO, key=KEY)
    page = app.page
    page.reload()
    app.show_ids()
    app.show_patches("shapes")
    page.locator("[data-cy=action-sort-by-similarity]").click()
    page.locator("[data-cy=popout] [arial-label='Open similarity panel']").click()
    chosen = page.get_by_role("combobox", name="Similarity Index")
    expect(chosen).to_have_value(f"{KEY} (patches: shapes)")

    page.get_by_placeholder("Enter a text prompt").fill("a green square")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("Run this operation synchronously").click()
    expect(page.get_by_text("Completed", exact=True)).to_be_visible()
    expect(page.get_by_text(f"{len(index)} results", exact=True)).to_be_visible()
    show = page.get_by_role("button", name="Show results", exact=True)
    show.click(force=True)  # FiftyOne wraps it in an element that is marked aria-disabled
    app.expect_patches(search(index, "a green square", k=25))
    app.shoot("app-own-search-panel")
