"""Both operators and FiftyOne's own text search, used in the App as a person uses them.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import RegionIndex, build, load

from .app_panel import KEY, NANO
from .fiftyone_app import App

pytestmark = pytest.mark.app


def search(index: RegionIndex, query: str, k: int) -> list[str]:
    return index.search(query, k=k).label_ids.tolist()


def test_app__embeds_then_searches(app: App, few_scenes: fo.Dataset) -> None:
    app.open(few_scenes)
    app.choose_operator("Embed regions")
    app.fill("Name of the index", KEY)
    app.shoot_form("app-embed-form", "Execute")
    app.submit("Execute")
    outcome = app.page.get_by_role("dialog")
    expect(outcome.get_by_text("Regions in the index")).to_be_visible()
    app.shoot("app-embed-outcome")
    outcome.get_by_role("button", name="Done").click()

    index = load(few_scenes, KEY)
    assert len(index) == few_scenes.count("objects.detections")

    app.choose_operator("Find regions by text")
    app.fill("Search for", "a red apple")
    app.fill("How many regions", "16")
    app.shoot_form("app-search-form", "Search")
    app.submit("Search")
    expect(app.page.get_by_text("16 regions for “a red apple”")).to_be_visible()
    expect(app.page.locator("[data-cy=entry-counts]")).to_have_text("16 patches")
    app.shoot("app-search-result")
    app.show_ids()
    app.expect_patches(search(index, "a red apple", k=16))


def test_app__grid_button_opens_the_panel(app: App, drawings: fo.Dataset) -> None:
    app.open(drawings)
    # The App draws a Material icon as a text in a font of icons
    app.page.get_by_text("image_search", exact=True).first.click()
    panel = app.page.locator("[data-cy=panel-content-region_search]")
    expect(panel.get_by_text("Embed regions first")).to_be_visible()
    # The App folds its menu beside a panel
    menu = app.page.locator("[data-cy=fo-grid-actions]")
    menu.locator("[data-testid=ExpandMoreIcon]").click()
    entry = app.page.locator("[data-item-id='@alphaclip/regions/open_region_search']").last
    expect(entry).to_be_in_viewport()
    entry.click()
    expect(panel.get_by_text("Embed regions first")).to_be_visible()


def test_app__search_form_says_what_is_missing(app: App, drawings: fo.Dataset) -> None:
    app.open(drawings)
    app.choose_operator("Find regions by text")
    expect(app.prompt.get_by_text("No regions of this dataset are embedded")).to_be_visible()
    expect(app.prompt.get_by_role("button", name="Search", exact=True)).to_be_disabled()


def test_app__own_search_panel_lists_the_index(app: App, drawings: fo.Dataset) -> None:
    index = build(drawings, "shapes", encoder=NANO, key=KEY)
    app.open(drawings)
    page = app.page
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
