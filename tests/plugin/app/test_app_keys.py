"""The keys of the panel "Region search", pressed in the App."""

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import fiftyone as fo
import pytest
from playwright.sync_api import BrowserContext, expect

from .app_panel import Panel
from .fiftyone_app import WAIT_MS, App

HELP = "keys: arrows move, y right, n wrong, s select, u undo the last mark, [ ] pages"
BORDERS = {
    "right": "rgb(46, 158, 79)",
    "wrong": "rgb(209, 55, 63)",
    "selected": "rgb(255, 109, 4)",
    None: "rgba(0, 0, 0, 0)",
}
COLUMNS = """tiles => {
    const tops = tiles.map(tile => Math.round(tile.getBoundingClientRect().top));
    return tops.filter(top => top === tops[0]).length;
}"""
pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def opened(
    browser: BrowserContext, server: str, embedded_scenes: fo.Dataset, shots: Path
) -> Iterator[Panel]:
    """The panel in a tab that all tests of the keys share: to open it takes longer than a test."""
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    panel = Panel(App(page, server, shots))
    panel.open(embedded_scenes)
    yield panel
    page.close()


@pytest.fixture
def gallery(opened: Panel, query: str) -> Panel:
    """The panel with two pages of hits, none marked, the mouse over it, the focus in no field."""
    search(opened, query)
    expect(opened.page.get_by_text(HELP, exact=True)).to_be_visible()
    opened.tile(1).hover()
    return opened


@pytest.fixture
def query(_queries: Iterator[str]) -> str:
    """Another one than the test before had, so that its hits are told from those."""
    return next(_queries)


@pytest.fixture(scope="module")
def _queries() -> Iterator[str]:
    return cycle(["an apple", "a green pear"])


def search(panel: Panel, query: str) -> None:
    """Searches, and waits until the plot is drawn, below which all else moves down."""
    panel.search(query)
    panel.expect_tiles(24)
    panel.page.locator(".js-plotly-plot .main-svg").first.wait_for()


def press(panel: Panel, *keys: str) -> None:
    for key in keys:
        panel.page.keyboard.press(key)


def expect_mark(panel: Panel, rank: int, mark: str | None) -> None:
    expect(panel.tile(rank)).to_have_css("border-top-color", BORDERS[mark], timeout=WAIT_MS)


def expect_cursor(panel: Panel, rank: int) -> None:
    """The blue frame is around this tile, and around no other."""
    expect(panel.tile(rank)).to_have_css("outline-style", "solid")
    framed = "tiles => tiles.filter(tile => getComputedStyle(tile).outlineStyle === 'solid').length"
    assert panel.page.locator("img[data-region]").evaluate_all(framed) == 1


def expect_nothing_marked(panel: Panel) -> None:
    panel.page.wait_for_timeout(1000)
    expect(panel.page.get_by_text("Mark crops ✓ right or ✗ wrong")).to_be_visible()
    for rank in range(1, 25):
        expect_mark(panel, rank, None)


def test_keys__mark_select_and_take_back(gallery: Panel) -> None:
    expect_cursor(gallery, 1)
    press(gallery, "y", "y", "n")
    expect(gallery.page.get_by_text("2 right, 1 wrong")).to_be_visible()
    expect_cursor(gallery, 4)
    press(gallery, "s")
    for rank, mark in enumerate(("right", "right", "wrong", "selected", None), 1):
        expect_mark(gallery, rank, mark)
    gallery.shoot("keys-marks")
    press(gallery, "u", "u")
    expect(gallery.page.get_by_text("2 right, 0 wrong")).to_be_visible()
    expect_cursor(gallery, 3)
    for rank, mark in enumerate(("right", "right", None, None), 1):
        expect_mark(gallery, rank, mark)


def test_keys__a_mark_that_is_there_stays_and_another_one_replaces_it(gallery: Panel) -> None:
    press(gallery, "y", "ArrowLeft", "y")
    expect_mark(gallery, 1, "right")
    press(gallery, "ArrowLeft", "n")
    expect(gallery.page.get_by_text("0 right, 1 wrong")).to_be_visible()
    press(gallery, "u")
    expect(gallery.page.get_by_text("1 right, 0 wrong")).to_be_visible()
    expect_mark(gallery, 1, "right")
    gallery.press("✓", 0)
    expect_mark(gallery, 1, None)
    gallery.tile(2).hover()
    press(gallery, "u")
    expect_nothing_marked(gallery)


def test_keys__the_cursor_moves_without_the_server(gallery: Panel) -> None:
    sent: list[str] = []
    gallery.page.on("request", lambda request: sent.append(request.post_data or ""))
    columns = gallery.page.locator("img[data-region]").evaluate_all(COLUMNS)
    assert columns > 2
    lowest = 2 + columns * (24 // columns - 1)
    for key, rank in (
        ("ArrowLeft", 1), ("ArrowUp", 1), ("ArrowRight", 2), ("l", 3), ("h", 2),
        ("ArrowDown", 2 + columns), ("k", 2), ("j", 2 + columns), ("ArrowUp", 2),
    ):  # fmt: skip
        press(gallery, key)
        expect_cursor(gallery, rank)
    press(gallery, *["ArrowDown"] * (24 // columns - 1))
    expect_cursor(gallery, lowest)
    caption = re.compile(rf"^{lowest} · ")
    expect(gallery.page.get_by_text(caption)).to_be_in_viewport()
    gallery.shoot("keys-scrolled")
    assert [body for body in sent if "region_search#" in body or "__method__" in body] == []
    press(gallery, "s")
    expect_mark(gallery, lowest, "selected")
    assert any("__method__" in body and "on_select" in body for body in sent)


def test_keys__turn_the_pages(gallery: Panel) -> None:
    press(gallery, "ArrowRight", "[", "]")
    expect(gallery.page.get_by_text("Page 2 of 2")).to_be_visible()
    expect(gallery.tile(25)).to_be_visible()
    expect_cursor(gallery, 25)
    press(gallery, "]", "y")
    expect(gallery.page.get_by_text("1 right, 0 wrong")).to_be_visible()
    expect_mark(gallery, 25, "right")
    gallery.shoot("keys-page")
    press(gallery, "[")
    expect(gallery.page.get_by_text("Page 1 of 2")).to_be_visible()
    expect_cursor(gallery, 1)
    press(gallery, "u")
    expect_nothing_marked(gallery)


def test_keys__what_is_typed_marks_nothing(gallery: Panel, query: str) -> None:
    box = gallery.page.get_by_placeholder("a red apple")
    box.click()
    box.press("End")
    gallery.tile(1).hover()
    press(gallery, "y", "n", "s", "]", "ArrowLeft")
    expect(box).to_have_value(f"{query}yns]")
    expect_nothing_marked(gallery)
    expect(gallery.page.get_by_text("Page 1 of 2")).to_be_visible()
    expect_cursor(gallery, 1)


def test_keys__are_for_the_panel_only(gallery: Panel) -> None:
    gallery.page.evaluate("document.activeElement.blur()")
    gallery.page.mouse.move(0, 0)
    press(gallery, "y", "n")
    gallery.tile(1).hover()
    press(gallery, "Control+y", "Alt+n")
    gallery.press("Tag")
    gallery.app.prompt.wait_for()
    press(gallery, "y", "n", "Escape")
    expect(gallery.app.prompt).to_be_hidden()
    expect_nothing_marked(gallery)
    expect_cursor(gallery, 1)


def test_keys__are_in_the_help_of_the_panel(gallery: Panel) -> None:
    tab = gallery.page.locator("[data-cy=panel-tab-region_search]")
    tab.locator("svg[data-testid=HelpIcon]").hover()
    expect(gallery.page.get_by_text("and on to the next crop").first).to_be_visible()
    gallery.page.screenshot(path=gallery.app.shots / "panel-keys-help.png")


def test_keys__without_the_script_clicks_do(panel: Panel, scenes: fo.Dataset) -> None:
    panel.page.route("**/keys.js*", lambda route: route.abort())
    panel.open(scenes)
    search(panel, "an apple")
    panel.press("✓", 0)
    expect(panel.page.get_by_text("1 right, 0 wrong")).to_be_visible()
    expect_mark(panel, 1, "right")
    expect(panel.page.locator("[data-keys]")).to_have_count(0)
    expect(panel.page.get_by_text("Unsupported view")).to_be_hidden()
    panel.shoot("keys-without-script")
