"""The panel "Region search" in the App, for the tests that use it as a person does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import fiftyone as fo
import numpy as np
from playwright.sync_api import Locator, Request, Response, expect

from .fiftyone_app import App

NANO, KEY = "alphaclip-nano", "drawn"
IS_LOADED = re.compile("cosine")


class Panel:
    """What a person does in the panel.

    Args:
        app: that is open
    """

    NAME = "region_search"

    def __init__(self, app: App) -> None:
        self.app, self.page = app, app.page

    def open(self, dataset: fo.Dataset) -> None:
        """Goes to a dataset; the App's server remembers which panels were open before."""
        self.show(dataset)
        self.page.get_by_label("Search for").wait_for()

    def show(self, dataset: fo.Dataset) -> None:
        """Opens the panel, which shows the first steps where nothing is embedded yet."""
        self.app.open(dataset)
        self.page.locator("[data-cy=new-panel-btn]").first.wait_for()
        tab = self.page.locator(f"[data-cy=panel-tab-{self.NAME}]")
        if tab.count():
            tab.first.click()
        else:
            self.page.locator("[data-cy=new-panel-btn]").first.click()
            self.page.locator(f"[data-cy=new-panel-option-{self.NAME}]").first.click()
        self.content.wait_for()

    @property
    def content(self) -> Locator:
        return self.page.locator(f"[data-cy=panel-content-{self.NAME}]")

    def press(self, label: str | re.Pattern[str]) -> None:
        exact = isinstance(label, str)
        self.content.get_by_role("button", name=label, exact=exact).first.click()

    def search(self, words: str, avoid: str = "") -> None:
        """Searches by Enter, and waits for the first crop of what was searched for."""
        self.content.get_by_label("Search for").fill(words)
        self.content.get_by_label("But not").fill(avoid)
        with self.searching():
            self.page.keyboard.press("Enter")

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Waits for the first crops of what is searched for within it."""
        is_answered = False

        def is_first_tiles(answer: Response) -> bool:
            nonlocal is_answered
            is_answered |= is_event(answer.request, "search")
            return is_answered and is_event(answer.request, "tiles")

        with self.page.expect_response(is_first_tiles):
            yield
        expect(self.tile(1)).to_have_attribute("aria-label", IS_LOADED)

    def expect_text(self, text: str | re.Pattern[str]) -> None:
        expect(self.content.get_by_text(text).first).to_be_visible()

    def expect_count(self, count: int, total: int) -> None:
        """The number of hits that reach the threshold."""
        expect(self.content.get_by_role("status")).to_have_text(f"{count:,} of {total:,} match")

    def tile(self, rank: int) -> Locator:
        return self.content.locator(f"button[data-position='{rank - 1}']")

    def classes(self, count: int) -> list[str]:
        """The classes of the first tiles, in order."""
        for rank in range(1, count + 1):
            expect(self.tile(rank)).to_have_attribute("aria-label", IS_LOADED)
        names = [self.tile(rank).get_attribute("aria-label") for rank in range(1, count + 1)]
        return [str(name).partition(". ")[2].partition(", cosine")[0] for name in names]

    def set_threshold(self, steps: int) -> None:
        self.content.get_by_label("Threshold").fill(str(steps))

    def shoot(self, name: str) -> None:
        self.app.shoot(f"panel-{name}")


def is_event(request: Request, event: str) -> bool:
    """Whether a request is this event of the panel."""
    return f'"__method__":"{event}"' in (request.post_data or "")


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
