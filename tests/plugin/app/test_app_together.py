"""Two browser tabs and a delegated job on one dataset at once.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from playwright.sync_api import Page, expect

from alphaclip.indexing import build, load

from .app_panel import KEY, NANO, Panel, edit_boxes
from .fiftyone_app import GATED, App, Gate

UPDATE = "@alphaclip/regions/update_index"
APPLE, PEAR = "an apple", "a green pear"
pytestmark = pytest.mark.app


@pytest.fixture
def scenes(few_scenes: fo.Dataset) -> fo.Dataset:
    """Some pictures of the sample, their objects embedded."""
    build(few_scenes, "objects", encoder=NANO, key=KEY)
    return few_scenes


@pytest.fixture
def tabs(new_page: Callable[[], Page], server: str) -> list[Panel]:
    """Two tabs of a browser."""
    return [Panel(App(new_page(), server)) for _ in range(2)]


def test_together__two_tabs_and_a_delegated_update(
    tabs: list[Panel], scenes: fo.Dataset, gate: Gate, tmp_path: Path
) -> None:
    one, other = tabs
    count = scenes.count("objects.detections")
    for tab, query in ((one, APPLE), (other, PEAR)):
        tab.open(scenes)
        tab.search(query)
    chosen = {query: _first_ids(scenes, query) for query in (APPLE, PEAR)}
    shown = [tab.classes(8) for tab in tabs]
    edit_boxes(scenes)
    operation = delegate_update(scenes)
    for tab, tag in ((one, "red"), (other, "green")):
        tab.tile(1).click()
        tab.tile(2).click()
        tab.press("Tag")
        tab.content.get_by_role("combobox", name="Tag").fill(tag)
    gate.hold(after=1)
    with delegated_worker(tmp_path / "worker.log"):
        wait_for(lambda: state_of(operation) == "running")
        for tab in tabs:
            tab.press("Tag 2 selected")
        for tab in tabs:
            tab.expect_text(re.compile("^Undo tagging 2 regions"))
        assert state_of(operation) == "running"
        gate.open()
        wait_for(lambda: state_of(operation) != "running")
    assert state_of(operation) == "completed"

    assert tagged(scenes, "red") == chosen[APPLE]
    assert tagged(scenes, "green") == chosen[PEAR]
    index = load(scenes, KEY)
    assert len(index) == count
    assert index.freshness().is_fresh
    assert index.info()["report"]["edited"] == count
    for tab, query, tiles in zip(tabs, (APPLE, PEAR), shown, strict=True):
        expect(tab.content.get_by_label("Search for")).to_have_value(query)
        assert tab.classes(8) == tiles
    one.shoot("together-one")
    other.shoot("together-other")

    one.press("Undo tagging 2 regions “red”")
    one.expect_text("Taken back: 2")
    assert tagged(scenes, "red") == set()
    assert tagged(scenes, "green") == chosen[PEAR]
    one.expect_text("Undo tagging 2 regions “green”")
    one.shoot("together-undone")
    other.press("Undo tagging 2 regions “green”")
    other.expect_text("Taken back: 2")
    assert scenes.count_label_tags() == {}


def test_together__two_updates_of_one_index(
    tabs: list[Panel], scenes: fo.Dataset, gate: Gate
) -> None:
    one, other = tabs
    count = scenes.count("objects.detections")
    for tab in tabs:
        tab.open(scenes)
    edit_boxes(scenes)
    other.app.choose_operator("Update region index")
    one.press("Indexes")
    gate.hold(after=1)
    one.press("Update")
    one.expect_text(re.compile("regions embedded"))
    other.app.submit("Update")
    # In the form's own notice, and soon in the panel
    expect(other.page.get_by_text("“Updating drawn” is running").first).to_be_visible()
    other.shoot("together-busy")
    gate.open()
    one.expect_text(f"drawn holds {count} regions")
    index = load(scenes, KEY)
    assert (len(index), index.freshness().is_fresh) == (count, True)
    assert index.info()["report"]["edited"] == count


def test_together__update_while_the_operator_runs(
    tabs: list[Panel], scenes: fo.Dataset, gate: Gate
) -> None:
    one, other = tabs
    count = scenes.count("objects.detections")
    for tab in tabs:
        tab.open(scenes)
    edit_boxes(scenes)
    one.press("Indexes")
    other.app.choose_operator("Update region index")
    gate.hold(after=1)
    other.app.submit("Update")
    expect(other.page.get_by_text("regions embedded").first).to_be_visible()
    one.press("Update")
    one.expect_text(re.compile("Updating drawn: "))
    gate.open()
    one.expect_text(f"drawn holds {count} regions")
    index = load(scenes, KEY)
    assert (len(index), index.freshness().is_fresh) == (count, True)
    assert index.info()["report"]["edited"] == count


@contextmanager
def delegated_worker(log: Path) -> Iterator[None]:
    """FiftyOne's own service for delegated operations, with this process's database."""
    settings = {
        "FIFTYONE_PLUGINS_DIR": str(fo.config.plugins_dir),
        "FIFTYONE_DATABASE_NAME": fo.config.database_name,
    }
    command = [*GATED, str(Path(sys.executable).parent / "fiftyone"), "delegated", "launch"]
    with log.open("wb") as stream:
        worker = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **settings}
        )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


def delegate_update(dataset: fo.Dataset) -> object:
    """Queues an update; in a thread of its own, because the browser's has an event loop.

    Returns:
        the id of the delegated operation
    """
    with ThreadPoolExecutor(1) as thread:
        queued = thread.submit(
            foo.execute_operator,
            UPDATE,
            dataset=dataset,
            params={"key": KEY},
            request_delegation=True,
        )
        return queued.result().result["id"]


def state_of(operation: object) -> str:
    """Of a delegated operation: "queued", "running", "completed" or "failed"."""
    return str(DelegatedOperationService().get(operation).run_state)


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def tagged(dataset: fo.Dataset, tag: str) -> set[str]:
    """The ids of the labels that have a tag."""
    found = dataset.select_labels(tags=tag, fields="objects")
    return set(found.values("objects.detections.id", unwind=True))


def _first_ids(dataset: fo.Dataset, query: str) -> set[str]:
    return set(load(dataset, KEY).search(query, k=2).label_ids.tolist())
