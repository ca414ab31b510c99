"""The panel "Label regions" without a browser: what its page sends, and what comes back."""

import time
from typing import Any

import fiftyone as fo

from alphaclip.indexing.labelling.scoring.classes import SKIPPED

from ..conftest import plugin_module
from ..panel.panel_driver import PanelDriver

PANEL = "@alphaclip/regions/label_regions_panel"
SECONDS = 60


class LabelDriver(PanelDriver):
    """What a person does in the panel.

    Args:
        dataset: that is open
        lines: the classes that are typed
        settings: of the runs
    """

    def __init__(self, dataset: fo.Dataset, lines: list[str] | None = None, **settings: object):
        super().__init__(dataset, PANEL)
        self.lines = lines or []
        self.examples: list[list[str]] = []
        self.settings = {"precision": 0.95, "confidence": 0.9, **settings}

    @property
    def classes(self) -> dict[str, Any]:
        return {"lines": self.lines, "examples": self.examples, "set": None}

    def preview(self, **classes: object) -> dict[str, Any]:
        return self.do("preview", key="regions", classes={**self.classes, **classes})

    def label(self, **params: object) -> dict[str, Any]:
        """Presses "Label" under the classes, and waits; says what comes next."""
        usual = {"key": "regions", "classes": self.classes, "settings": self.settings}
        return self.finish(self.do("label_regions", **{**usual, **params}))

    def again(self, into: str = "auto", **params: object) -> dict[str, Any]:
        """Labels with what was answered, and waits; says what comes next."""
        return self.finish(self.do("label_again", into=into, **params))

    def finish(self, begun: dict[str, Any]) -> dict[str, Any]:
        if "error" in begun:
            return begun
        jobs = plugin_module(self.panel, "common.jobs")
        deadline = time.monotonic() + SECONDS
        while jobs.running(self.dataset) or not jobs.outcome(self.dataset, "regions"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = jobs.outcome(self.dataset, "regions")
        assert told["severity"] == "success", told
        assert told["title"] == begun["title"]
        return self.do("run_over", **begun)

    def review(self, into: str = "auto") -> dict[str, Any]:
        return self.do("review", into=into, classes=self.classes)

    def waiting(self, purpose: str = "promise") -> list[dict[str, Any]]:
        """What waits without an answer."""
        items = self.review()["items"]
        return [one for one in items if one["purpose"] == purpose and "answer" not in one]

    def give(self, answers: dict[str, str | None]) -> dict[str, Any]:
        """Sends answers, of which some are skipped."""
        skipped = [one for one, answer in answers.items() if answer == SKIPPED]
        told = {one: answer for one, answer in answers.items() if answer != SKIPPED}
        return self.do("answer", into="auto", answers=told, skipped=skipped)
