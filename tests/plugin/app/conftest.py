"""One server of the App and one browser for all tests that drive it, and the dataset they share.

FiftyOne is imported in the fixtures: pytest reads this file before the session has its database.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import fiftyone as fo
    from playwright.sync_api import BrowserContext, Page

    from .app_panel import Panel
    from .fiftyone_app import App, Gate

VIEWPORT = {"width": 1600, "height": 1000}


@pytest.fixture(scope="package")
def gate(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Gate]":
    """What holds the jobs of the App's server, and of workers of delegated jobs."""
    from .fiftyone_app import GATE, Gate

    path = tmp_path_factory.mktemp("gate") / "gate"
    os.environ[GATE] = str(path)
    yield Gate(path)
    del os.environ[GATE]


@pytest.fixture(autouse=True)
def _gate_is_open(gate: "Gate") -> Iterator[None]:
    yield
    gate.open()


@pytest.fixture(scope="package")
def server(
    installed_plugin: Path, gate: "Gate", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the App."""
    from .fiftyone_app import run_app

    with run_app(tmp_path_factory.mktemp("app") / "server.log") as address:
        yield address


@pytest.fixture(scope="package")
def browser(chromium: str) -> "Iterator[BrowserContext]":
    """A headless browser; its pages share what was fetched of the App."""
    from playwright.sync_api import expect, sync_playwright

    from .fiftyone_app import ARGUMENTS, WAIT_MS

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        expect.set_options(timeout=WAIT_MS)
        yield started.new_context(viewport=VIEWPORT, color_scheme="dark")
        started.close()


@pytest.fixture
def new_page(browser: "BrowserContext") -> "Iterator[Callable[[], Page]]":
    """Opens tabs of the browser, which close after the test."""
    from .fiftyone_app import WAIT_MS

    pages: list[Page] = []

    def open_page() -> "Page":
        pages.append(browser.new_page())
        pages[-1].set_default_timeout(WAIT_MS)
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def app(new_page: "Callable[[], Page]", server: str) -> "App":
    """The App in a tab of its own."""
    from .fiftyone_app import App

    return App(new_page(), server)


@pytest.fixture
def panel(app: "App") -> "Panel":
    """The panel "Region search" in it."""
    from .app_panel import Panel

    return Panel(app)


@pytest.fixture(scope="package")
def embedded_scenes() -> "Iterator[fo.Dataset]":
    """The sample dataset, its objects embedded, for fixtures that several tests share."""
    from alphaclip.indexing import build
    from alphaclip.indexing.dataset.samples import load_sample

    from .app_panel import KEY, NANO

    dataset = load_sample(name="app-scenes")
    build(dataset, "objects", encoder=NANO, key=KEY)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(embedded_scenes: "fo.Dataset") -> "fo.Dataset":
    """The sample dataset, its objects embedded; tests take back what they change."""
    embedded_scenes.reload()
    return embedded_scenes


@pytest.fixture
def few_scenes() -> "Iterator[fo.Dataset]":
    """Some pictures of the sample, not embedded, for jobs that change it."""
    from alphaclip.indexing.dataset.samples import load_sample

    dataset = load_sample()[:20].clone("app-few-scenes", persistent=True)
    yield dataset
    dataset.delete()
