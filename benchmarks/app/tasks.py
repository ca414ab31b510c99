"""Does what a curator does in an hour, in a real browser, and counts clicks, keys and seconds.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/app/tasks.py \\
        [--bccd FOLDER]

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each task.

It works on the bundled scenes with `alphaclip-nano`, and drives the App with what its tests use.
With the blood cells of BCCD (a folder with `images` and `annotations`), it labels them by three
classes as well: 60 answers teach, then a random sample is answered, all as the ground truth has it.

A click is a press of the mouse; a key is one that types no text: Enter, Escape, arrows, and letters
outside of fields. The seconds are from the first to the last of a task, with the waits for what it
shows. The first search of a server loads the encoder, and is a task of its own.

What a task keeps the page busy is by Chromium's tracing, of the page's main thread until 3 s
after: the longest that was computed at once, in CPU time, and the longest by the clock, which on
busy cores is mostly a wait for one.

Opening a picture, tagging, setting a view and reading a new field end in what FiftyOne does with
its modal, its grid and its dataset, so the same is done by FiftyOne alone, as the peer: by its
buttons without the panel, and by its operators beside it, where its grid has more tiles.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from tests.plugin.app.app_panel import Panel

VIEWPORT = {"width": 1600, "height": 1000}
JOB_MS = 600_000
LEFT_MS = 3000
DECISIONS, TEACHING, PRECISION = 20, 60, 0.9
CELLS = ("RBC", "WBC", "Platelets")
COUNTER = """
window.handiwork = {clicks: 0, keys: 0};
addEventListener("pointerdown", event => event.isTrusted && window.handiwork.clicks++, true);
addEventListener("keydown", event => {
    const inField = event.target.matches("input:not([type=range]), textarea");
    if (event.isTrusted && !(inField && event.key.length === 1)) window.handiwork.keys++;
}, true);
"""


class Tasks:
    """Counts what each task takes.

    Args:
        panel: that is open
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.rows = [("task", "clicks", "keys", "seconds", "busy, CPU", "busy, clock")]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Counts a block, and what it leaves the page to do, but not what was to do before; a page
        that is loaded in it begins at 0 again."""
        page, browser = self.panel.page, self.panel.page.context.browser
        self.panel.app.settle()
        page.evaluate("Object.assign(window.handiwork, {clicks: 0, keys: 0})")
        browser.start_tracing(page=page, categories=["toplevel"])
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        page.wait_for_timeout(LEFT_MS)
        self.panel.app.settle()
        busy = [f"{longest:.0f} ms" for longest in _longest(browser.stop_tracing())]
        did = page.evaluate("window.handiwork")
        self.rows.append((name, f"{did['clicks']}", f"{did['keys']}", f"{seconds:.1f}", *busy))
        self.panel.shoot(name.replace(" ", "-"))

    def table(self) -> str:
        """What was counted."""
        heads, *rows = self.rows
        lines = [heads, tuple("---" for _ in heads), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _longest(trace: bytes) -> Iterator[float]:
    """The ms of the longest tasks of a page's main thread, by CPU time and by the clock."""
    events = json.loads(trace)["traceEvents"]
    mains = [of for of in events if of.get("args", {}).get("name") == "CrRendererMain"]
    threads = {(main["pid"], main["tid"]) for main in mains}
    tasks = [of for of in events if (of["pid"], of["tid"]) in threads and "RunTask" in of["name"]]
    for clock in ("tdur", "dur"):
        yield max(task.get(clock, 0) for task in tasks) / 1000


def main() -> None:
    """Does the tasks, and prints a table."""
    parser = argparse.ArgumentParser(description="Counts what tasks in the App take.")
    parser.add_argument("--bccd", type=Path, help="folder of BCCD, to label its cells")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _panel(Path(folder)) as panel:
        tasks = Tasks(panel)
        try:
            _search_and_decide(panel, tasks, Path(folder))
            if options.bccd:
                _label_cells(panel, tasks, options.bccd)
        finally:
            sys.stdout.write(tasks.table() + "\n")


@contextmanager
def _panel(folder: Path) -> Iterator[Panel]:
    """The panel in a browser, with this checkout as the plugin."""
    import fiftyone as fo
    from playwright.sync_api import expect, sync_playwright

    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "regions").symlink_to(ROOT)
    fo.config.plugins_dir = str(plugins)
    os.environ.setdefault("ALPHACLIP_TEST_GATE", str(folder / "gate"))
    from tests.plugin.app.app_panel import Panel
    from tests.plugin.app.fiftyone_app import ARGUMENTS, WAIT_MS, App, run_app

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    expect.set_options(timeout=WAIT_MS)
    with run_app(folder / "server.log") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport=VIEWPORT, color_scheme="dark")
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(COUNTER)
        yield Panel(App(page, address))
        browser.close()


def _fiftyone_alone(panel: Panel, tasks: Tasks, scenes: Any) -> None:
    """What FiftyOne itself takes to open a picture, to tag, and to set a view of regions."""
    from tests.plugin.app.test_app_picture import open_first

    panel.app.open(scenes)
    panel.app.settle()
    with tasks.of("FiftyOne alone: open a picture"):
        open_first(panel)
    panel.app.close_picture()
    with tasks.of("FiftyOne alone: tag"):
        panel.page.locator("[data-cy=action-tag-sample-labels]").first.click()
        tag = panel.page.locator("[data-cy=sample-tag-input]")
        tag.fill("seen")
        tag.press("Enter")
        panel.page.get_by_text("Apply", exact=True).click()
        tag.wait_for(state="hidden")
    with tasks.of("FiftyOne alone: a view of regions"):
        panel.app.show_patches("objects")


def _fiftyone_anew(panel: Panel, tasks: Tasks) -> None:
    """What FiftyOne itself takes to show changed samples, and new fields, beside the panel."""
    for what in ("samples", "dataset"):
        with tasks.of(f"FiftyOne alone: load the {what} anew"):
            operator = f"@voxel51/operators/reload_{what}"
            panel.page.evaluate(f"void window.__foo__.executeOperator('{operator}', {{}})")


def _search_and_decide(panel: Panel, tasks: Tasks, folder: Path) -> None:
    from playwright.sync_api import expect

    from alphaclip.indexing import build
    from alphaclip.indexing.dataset.samples import load_sample
    from tests.plugin.app.test_app_picture import click_label, find_similar, open_first

    scenes = load_sample(name="app-tasks")
    first = scenes.first()
    try:
        build(scenes, "objects", encoder="alphaclip-nano", key="drawn", progress=False)
        own = folder / "own.jpg"
        shutil.copy(first.filepath, own)
        _fiftyone_alone(panel, tasks, scenes)
        panel.open(scenes)
        panel.app.settle()
        _fiftyone_anew(panel, tasks)
        with tasks.of("first search"):
            _search(panel, "a bicycle")
        with tasks.of("search"):
            _search(panel, "an apple")
        with tasks.of("open a picture"):
            panel.tile(1).dblclick()
            panel.page.locator("[data-cy=modal] canvas[canvas-loaded=true]").first.wait_for()
        panel.app.close_picture()
        with tasks.of("tag two"):
            panel.tile(1).click()
            panel.tile(2).click()
            panel.press("Tag")
            panel.page.keyboard.press("Enter")
            panel.expect_text("2 regions")
        with tasks.of("mark twelve"):
            panel.tile(1).focus()
            for _ in range(12):
                panel.page.keyboard.press("y")
        with tasks.of("search with the marks"), panel.searching():
            panel.press("Search again with 12 ✓ 0 ✗")
        with tasks.of("a picture with a box"):
            panel.press("Picture")
            panel.content.locator("input[type=file]").set_input_files(own)
            drawing = panel.content.locator("[data-drawing]")
            drawing.locator("img").wait_for()
            _draw(panel.page, drawing.bounding_box())
            panel.content.get_by_label("Search for").fill("")
            with panel.searching():
                panel.page.keyboard.press("Enter")
        expect(panel.tile(1).locator("img")).to_be_visible()
        with tasks.of("find duplicates"):
            panel.press("Find ▾")
            panel.page.get_by_role("menuitem", name=re.compile("^Duplicates")).click()
            expect(panel.content.get_by_role("status")).to_contain_text("left to decide")
        with tasks.of("find label errors"):
            panel.press("Find ▾")
            panel.page.get_by_role("menuitem", name=re.compile("^Label errors")).click()
            left = panel.content.get_by_role("status")
            expect(left).to_contain_text("suspected label errors", timeout=JOB_MS)
            expect(panel.tile(1)).to_be_focused()
        count = int(re.findall(r"([\d,]+) left", left.inner_text())[0].replace(",", ""))
        with tasks.of("twenty decisions on label errors"):
            for number in range(DECISIONS):
                panel.page.keyboard.press("yn"[number % 2])
            expect(left).to_contain_text(f"{count - DECISIONS:,} left to decide")
        picture = open_first(panel)
        with tasks.of("similar from an opened picture"), panel.searching():
            click_label(panel, picture, first)
            find_similar(panel)
    finally:
        scenes.delete()


def _label_cells(panel: Panel, tasks: Tasks, folder: Path) -> None:
    """Three classes to a promise: how many answers it takes, and how many labels are right."""
    import fiftyone as fo

    from alphaclip.indexing import build
    from tests.plugin.app.test_app_labelling import LabelPanel

    cells = fo.Dataset.from_dir(
        dataset_type=fo.types.VOCDetectionDataset,
        data_path=str(folder / "images"),
        labels_path=str(folder / "annotations"),
        label_field="cells",
        name="app-cells",
    )
    try:
        build(cells, "cells", encoder="alphaclip-nano", key="cells", progress=False)
        truth = _classes(cells, "cells")
        label = LabelPanel(panel.app)
        label.show(cells)
        with tasks.of("three classes named"):
            for number, name in enumerate(CELLS, 1):
                label.content.get_by_label(f"Class {number}", exact=True).click()
                label.page.keyboard.type(name)
            label.press("Settings")
            label.content.get_by_label("Share of right labels").fill(str(PRECISION))
            _run(label)
        _fiftyone_anew(panel, tasks)
        with tasks.of("cells that teach"):
            label.content.get_by_label("Show", exact=True).locator("..").click()
            label.page.get_by_role("option", name="the queue: teach first").click()
            _answer(label, truth, TEACHING)
            _run(label)
        status = label.content.get_by_role("status")
        size = int(re.findall(r"of ([\d,]+) answered", status.inner_text())[0].replace(",", ""))
        with tasks.of(f"sample of {size} cells"):
            _answer(label, truth, size)
            label.expect_text("The random sample is reviewed")
            _run(label)
        label.expect_text("Written, drawn at random")
        cells.reload()
        boxes, written = _by_box(cells, "cells"), _by_box(cells, "auto")
        right = sum(boxes[box] == name for box, name in written.items())
        told = f"{TEACHING + size} answers, {len(written)} of {len(truth)} labelled, {right} right"
        sys.stdout.write(told + "\n")
    finally:
        cells.delete()


def _classes(dataset: Any, field: str) -> dict[str, str]:
    """The class of each label, by its id."""
    path = f"{field}.detections"
    return dict(zip(*dataset.values([f"{path}.id", f"{path}.label"], unwind=True), strict=True))


def _by_box(dataset: Any, field: str) -> dict[Any, str]:
    """The class of each label, by its picture and its box: labels are copied to another field."""
    path = f"{field}.detections"
    columns = dataset.values(["id", f"{path}.bounding_box", f"{path}.label"])
    return {
        (sample, *box): name
        for sample, boxes, names in zip(*columns, strict=True)
        for box, name in zip(boxes or [], names or [], strict=True)
    }


def _run(label: Any) -> None:
    """Labels, and waits for the page of what comes of it."""
    from tests.plugin.app.app_panel import is_event

    is_over = False

    def is_next_page(answer: Any) -> bool:
        nonlocal is_over
        is_over |= is_event(answer.request, "run_over")
        return is_over and any(is_event(answer.request, event) for event in ("review", "report"))

    with label.page.expect_response(is_next_page, timeout=JOB_MS):
        label.press("Label")


def _answer(label: Any, truth: dict[str, str], count: int) -> None:
    """Answers regions by number keys, each as soon as it is the current one."""
    current = label.content.locator("[data-current]")
    for _ in range(count):
        name = current.get_attribute("data-current")
        choice = current.get_by_role("button").filter(has_text=truth[name])
        label.page.keyboard.press(choice.locator("kbd").inner_text())


def _search(panel: Panel, words: str) -> None:
    """As :meth:`Panel.search`, by what a person does: a click into the field, words, Enter."""
    field = panel.content.get_by_label("Search for")
    field.click()
    panel.page.keyboard.press("Control+a")
    field.press_sequentially(words)
    with panel.searching():
        panel.page.keyboard.press("Enter")
    panel.tile(1).locator("img").wait_for()


def _draw(page: Any, box: Any) -> None:
    x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
    page.mouse.move(x + 0.2 * width, y + 0.2 * height)
    page.mouse.down()
    page.mouse.move(x + 0.7 * width, y + 0.7 * height, steps=4)
    page.mouse.up()


if __name__ == "__main__":
    main()
