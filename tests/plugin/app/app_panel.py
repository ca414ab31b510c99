"""The panel "Region search" in the App, for the tests that use it as a person does."""

import re

import fiftyone as fo
import numpy as np
from playwright.sync_api import expect

from .fiftyone_app import App

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


def edit_boxes(dataset: fo.Dataset) -> None:
    """Gives every object another box."""
    samples, objects = dataset.values(["id", "objects.detections.id"])
    rows = [
        {"sample_id": sample, "label_id": label}
        for sample, labels in zip(samples, objects, strict=True)
        for label in labels or []
    ]
    boxes = np.random.default_rng(2).random((len(rows), 4)) * 0.5 + 0.01
    for row, box in zip(rows, boxes.tolist(), strict=True):
        row["value"] = box
    dataset.set_label_values("objects.detections.bounding_box", rows)
