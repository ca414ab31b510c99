"""The FiftyOne App in a process of its own, and a headless browser that uses it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fiftyone as fo
from playwright.sync_api import Locator, Page, Request, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
START_SECONDS = 90
WAIT_MS = 60_000
GATED = [sys.executable, str(Path(__file__).with_name("gated_jobs.py"))]
"""Followed by a file of Python and its arguments: runs it with jobs that wait at the gate."""

GATE = "ALPHACLIP_TEST_GATE"
SHOTS = os.environ.get("ALPHACLIP_SCREENSHOTS")

ESCAPES = 3
BROWSER_TRIES = 6
TICK_MS, QUIET_TICKS = 100, 5
TILE = "[data-cy=fo-grid] [data-cy=looker]"
TILE_ID = f"{TILE} [data-cy=tag-id]"

VISIBLE_IDS = """selector => [...document.querySelectorAll(selector)]
    .map(tag => [tag.textContent, tag.closest("[data-cy=looker]").getBoundingClientRect()])
    .sort(([, one], [, other]) => one.y - other.y || one.x - other.x)
    .map(([id]) => id)"""


@contextmanager
def run_app(log: Path) -> Iterator[str]:
    """Starts the App's server with this process's database and plugins; yields its address."""
    port = _free_port()
    command = [
        *GATED,
        str(Path(fo.__file__).parent / "server" / "main.py"),
        "--address",
        "127.0.0.1",
    ]
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
        server.kill()  # it holds nothing that a later test could miss
        server.wait()


class Gate:
    """Holds jobs before each picture, see ``gated_jobs.py``.

    Args:
        path: the file that is the gate
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def hold(self, after: int = 0) -> None:
        """Lets so many pictures pass, and no more."""
        self._path.write_text(str(after))

    def open(self) -> None:
        """Lets everything pass."""
        self._path.unlink(missing_ok=True)


class App:
    """What a person does in the App.

    Args:
        page: the browser's page
        address: of the App's server
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.prompt = page.locator("[data-cy=operators-prompt-modal]")
        self._running: set[Request] = set()
        page.on("request", self._begin)
        for over in ("requestfinished", "requestfailed"):
            page.on(over, lambda request: self._running.discard(request))

    def open(self, dataset: fo.Dataset) -> None:
        """Goes to a dataset and waits for the grid."""
        self.page.goto(f"{self.address}/datasets/{dataset.name}")
        self.page.locator("[data-cy^=looker]").first.wait_for()
        self.page.add_locator_handler(
            # A form may lie over the notice, where a pointer would not reach the button.
            self.page.get_by_text("Dismiss", exact=True),
            lambda dismiss: dismiss.dispatch_event("click"),
        )

    def settle(self) -> None:
        """Waits until the App has had its answers: it sends some events by itself."""
        quiet = 0
        while quiet < QUIET_TICKS:
            self.page.wait_for_timeout(TICK_MS)
            quiet = 0 if self._running else quiet + 1

    def close_picture(self) -> None:
        """Closes the opened picture; the first Escapes only drop what is selected in it."""
        picture = self.page.locator("[data-cy=modal]")
        picture.locator("canvas[canvas-loaded=true]").first.wait_for()
        picture.hover()  # elsewhere, the App does not hear the key
        for _ in range(ESCAPES):
            self.page.keyboard.press("Escape")
            self.settle()
            if picture.is_hidden():
                return
        expect(picture).to_be_hidden()

    def choose_operator(self, label: str) -> None:
        """Opens the operator browser by its key, types a name and picks the operator.

        A notice of the App's that is dismissed meanwhile closes the browser again.
        """
        browser = self.page.locator("[data-cy=operators-browser]")
        search = "[data-cy=operators-browser-search]"
        for _ in range(BROWSER_TRIES):
            self.page.evaluate("document.activeElement.blur()")
            self.page.keyboard.press("`")
            try:
                box = browser.locator(f"{search} input, input{search}").first
                box.fill(label, timeout=WAIT_MS / BROWSER_TRIES)
                break
            except PlaywrightTimeoutError:
                continue
        browser.get_by_text(label, exact=True).first.click()
        self.prompt.wait_for()

    def submit(self, button: str) -> None:
        """Presses the form's button once the form is accepted."""
        submit = self.prompt.get_by_role("button", name=button, exact=True)
        expect(submit).to_be_enabled(timeout=WAIT_MS)
        submit.click()

    def take_picture(self, name: str) -> None:
        """Takes a picture of what is on the screen, if ``ALPHACLIP_SCREENSHOTS`` names a folder
        for it: each takes a quarter of a second."""
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png")

    def shoot(self, name: str) -> None:
        """Takes a picture once every tile is drawn, which it waits for in any case."""
        self.page.mouse.move(0, 0)
        self.page.wait_for_function(
            "tile => [...document.querySelectorAll(tile)].every("
            "found => found.querySelector('canvas[canvas-loaded=true]'))",
            arg=TILE,
        )
        self.take_picture(name)

    def field(self, label: str) -> Locator:
        """The input of the form that stands below a label."""
        return self.prompt.locator(f"xpath=.//p[.='{label}']/following::input[1]")

    def fill(self, label: str, text: str) -> None:
        """Types into the field of the form that has a label."""
        self.field(label).fill(text)

    def shoot_form(self, name: str, button: str) -> None:
        """Takes a picture of the form once it is accepted."""
        expect(self.prompt.get_by_role("button", name=button, exact=True)).to_be_enabled()
        expect(self.prompt.get_by_text("Required property")).to_be_hidden()
        expect(self.prompt.get_by_role("progressbar")).to_be_hidden()
        self.shoot(name)

    def show_ids(self) -> None:
        """Has every tile say its id, by the sidebar's checkbox."""
        self.page.locator("[data-cy=checkbox-id]").first.click()
        self.page.locator(TILE_ID).first.wait_for()

    def show_patches(self, field: str) -> None:
        """Turns the grid into the patches of a field."""
        self.page.locator("[data-cy=action-clips-patches]").click()
        self.page.locator(f"[data-cy=item-action-{field}]").click()
        expect(self.page.locator("[data-cy=entry-counts]")).to_contain_text("patches")

    def patches(self, count: int) -> list[str]:
        """The ids of the first tiles in the grid, in the order in which a reader sees them."""
        return self.page.evaluate(VISIBLE_IDS, TILE_ID)[:count]

    def expect_patches(self, ids: Sequence[str]) -> None:
        """Waits until the grid holds these patches, in this order, and no others."""
        try:
            self.page.wait_for_function(
                f"([tile, ids]) => JSON.stringify(({VISIBLE_IDS})(tile)) === JSON.stringify(ids)",
                arg=[TILE_ID, list(ids)],
            )
        except PlaywrightTimeoutError:
            assert self.patches(len(ids) + 1) == list(ids)

    def _begin(self, request: Request) -> None:
        if request.url.endswith("/operators/execute"):
            self._running.add(request)


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
