"""The FiftyOne App in a process of its own, and a headless browser that uses it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
from playwright.sync_api import Page, expect, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
START_SECONDS = 90
WAIT_MS = 60_000


@contextmanager
def run_app(log: Path) -> Iterator[str]:
    """Starts the App's server with this process's database and plugins; yields its address."""
    port = _free_port()
    command = [sys.executable, "-m", "fiftyone.server.main", "--address", "127.0.0.1"]
    settings = {
        "FIFTYONE_PLUGINS_DIR": str(fo.config.plugins_dir),
        "FIFTYONE_DATABASE_NAME": fo.config.database_name,
    }
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings},
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def browse(address: str, dataset: str) -> Iterator["App"]:
    """Opens a dataset in headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 860}, color_scheme="dark")
        page.set_default_timeout(WAIT_MS)
        app = App(page)
        app.open(f"{address}/datasets/{dataset}")
        yield app
        browser.close()


class App:
    """What a person does in the App.

    Args:
        page: the browser's page
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.prompt = page.locator("[data-cy=operators-prompt-modal]")

    def open(self, address: str) -> None:
        """Goes to a dataset and waits for the grid."""
        self.page.goto(address)
        self.page.locator("[data-cy^=looker]").first.wait_for()
        self.page.add_locator_handler(
            self.page.get_by_text("Dismiss"), lambda dismiss: dismiss.click()
        )

    def choose_operator(self, label: str) -> None:
        """Opens the operator browser, types a name and picks the operator."""
        self.page.locator("[data-cy=action-browse-operations]").first.click()
        browser = self.page.locator("[data-cy=operators-browser]")
        search = "[data-cy=operators-browser-search]"
        browser.locator(f"{search} input, input{search}").first.fill(label)
        browser.get_by_text(label, exact=True).first.click()
        self.prompt.wait_for()

    def press_button(self, label: str) -> None:
        """Presses an operator's button above the grid."""
        self.page.get_by_text(label, exact=True).first.click()
        self.prompt.wait_for()

    def fill(self, label: str, text: str) -> None:
        """Types into the field of the form that has a label."""
        self.prompt.locator(f"[data-cy='{label}'] input, [name='{label}']").first.fill(text)

    def submit(self, button: str) -> None:
        """Presses the form's button once the form is accepted."""
        submit = self.prompt.get_by_role("button", name=button, exact=True)
        expect(submit).to_be_enabled(timeout=WAIT_MS)
        submit.click()

    def patches(self, count: int) -> list[str]:
        """The ids of the first tiles in the grid, in the order in which a reader sees them."""
        raise NotImplementedError


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise RuntimeError(f"the App did not start: {log.read_text()[-2000:]}")
