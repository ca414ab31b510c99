"""An opened picture: what is like a label of it, and a view that is set while it is open."""

from collections.abc import Iterator

import fiftyone as fo
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from alphaclip.indexing import Example, load

from .app_panel import KEY, Panel
from .fiftyone_app import TILE

FREE = "newspaper"
"""An object of the first picture whose middle no other one covers."""

pytestmark = pytest.mark.app


@pytest.fixture
def scenes(scenes: fo.Dataset, panel: Panel) -> Iterator[fo.Dataset]:
    """Opened, the panel "Region search" beside the grid."""
    panel.open(scenes)
    yield scenes
    if panel.page.locator("[data-cy=modal]").is_visible():
        panel.app.close_picture()


def open_first(panel: Panel) -> Locator:
    """Opens the first picture in the grid, and waits until it is drawn."""
    panel.page.locator(TILE).first.click()
    picture = panel.page.locator("[data-cy=modal]")
    picture.locator("canvas[canvas-loaded=true]").first.wait_for()
    return picture


def click_label(panel: Panel, picture: Locator, sample: fo.Sample) -> str:
    """Selects a label of the opened picture; returns its id."""
    label = next(one for one in sample.objects.detections if one.label == FREE)
    canvas = picture.locator("canvas").first.bounding_box()
    assert canvas is not None
    width, height = Image.open(sample.filepath).size
    scale = min(canvas["width"] / width, canvas["height"] / height)
    middles = [label.bounding_box[side] + label.bounding_box[side + 2] / 2 for side in (0, 1)]
    # The App draws it as large as there is room, in the middle
    x = canvas["x"] + canvas["width"] / 2 + (middles[0] - 0.5) * width * scale
    y = canvas["y"] + canvas["height"] / 2 + (middles[1] - 0.5) * height * scale
    panel.page.mouse.move(x, y)
    panel.page.mouse.click(x, y)
    return str(label.id)


def find_similar(panel: Panel) -> None:
    panel.page.get_by_text("compare", exact=True).click()  # an icon


def test_picture__similar_in_two_clicks(panel: Panel, scenes: fo.Dataset) -> None:
    picture = open_first(panel)
    label = click_label(panel, picture, scenes.first())
    with panel.searching():
        find_similar(panel)
    expect(picture).to_be_hidden()
    panel.expect_text("1 example to be like")
    hits = load(scenes, KEY).search([Example(label)], k=2).label_ids.tolist()
    assert hits[0] == label
    ids = panel.content.locator("[data-id]")
    assert [ids.nth(rank).get_attribute("data-id") for rank in (0, 1)] == hits
    expect(panel.page.locator("[data-cy=entry-counts]")).to_have_text("50 patches")
    panel.shoot("similar")


def test_picture__is_closed_before_a_view_is_set(panel: Panel, scenes: fo.Dataset) -> None:
    picture = open_first(panel)
    panel.app.choose_operator("Find regions by text")
    panel.app.fill("Search for", "a red apple")
    panel.app.fill("How many regions", "16")
    panel.app.submit("Search")
    expect(picture).to_be_hidden()
    expect(panel.page.locator("[data-cy=entry-counts]")).to_have_text("16 patches")
