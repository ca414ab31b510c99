"""One real FiftyOne database for the session, and which tests this machine can run."""

import atexit
import gc
import inspect
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import sandbox

if TYPE_CHECKING:
    import fiftyone as fo

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ALPHACLIP_SHARED") or ROOT.parent / "shared")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
APP = "tests/plugin/app/"
TOGETHER = (APP, "tests/indexing/explore/")
NICENESS = 5
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    """Gives FiftyOne and the models a folder of this session's own, before they are imported.

    The database closes after FiftyOne's own exit handlers, which still use it. Where pytest-xdist
    runs the tests in several processes, each has its own, and its share of the processors.
    """
    config.stash[LEFT_OUT] = {}
    if is_leader(config):
        return
    gc.disable()  # until all is imported: a fifth of that time would go into it
    stack = ExitStack()
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="alphaclip-tests-")))
    atexit.register(stack.close)  # after the folder's own handler, and so before it at the end
    if "not database" in config.getoption("markexpr"):
        environ = sandbox.isolate(folder, os.environ)
    else:
        environ = stack.enter_context(sandbox.sandbox(folder, os.environ))
    os.environ.clear()
    os.environ.update(environ, ALPHACLIP_MODELS=str(folder / "alphaclip-models"))
    if workers := int(environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks the tests that use FiftyOne: those whose file, or one of whose fixtures, names it."""
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    own = [f.func for several in fixtures for f in several if _is_ours(f.func)]
    if any(_names_fiftyone(one) for one in (item.module, *own)):
        item.add_marker("database")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests that need something which is not here, and counts them; those of the
    App come first, then files with slow ones: what begins last should be over soon.
    """
    for marker, (is_here, need) in NEEDS.items():
        needing = [item for item in items if item.get_closest_marker(marker)]
        if not needing or is_here():
            continue
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
        config.stash[LEFT_OUT][f"{marker}: no {need}"] = len(needing)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.get_closest_marker("app"), item.path not in slow))
    if hasattr(config, "workerinput"):
        config.workeroutput["left_out"] = config.stash[LEFT_OUT]


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()
    # Each plan asks whether anything is frozen: to count a million objects, a quarter of all time
    gc.get_freeze_count = lambda: 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes run the tests, one has a file's, and one has all of a folder whose
    files share what takes long to prepare: a server and a browser, or an embedded sample."""
    from xdist.scheduler import LoadFileScheduling

    class TogetherScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = next(filter(nodeid.startswith, TOGETHER), None)
            return folder or super()._split_scope(nodeid)

    return TogetherScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Of several processes, the one with the browser goes first: its tests end last, since they
    run one after another."""
    if hasattr(item.config, "workerinput") and not item.get_closest_marker("app"):
        _step_back()


@cache
def _step_back() -> None:
    os.nice(NICENESS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a process of several left out: all leave out the same."""
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says how many tests were left out, and what they need."""
    for reason, count in config.stash[LEFT_OUT].items():
        terminalreporter.write_line(f"left out on this machine: {count} marked {reason}")


def _is_ours(function: Any) -> bool:
    return function.__module__.startswith("tests")


@cache
def _names_fiftyone(source: Any) -> bool:
    return re.search(r"fiftyone|load_sample|Dataset\b", inspect.getsource(source)) is not None


def is_leader(config: pytest.Config) -> bool:
    """Says whether this process runs no test itself: pytest-xdist has others for it."""
    several = config.getoption("dist", "no") != "no"
    return several and not hasattr(config, "workerinput")


def find_chromium() -> str | None:
    """Returns the path of a Chromium: the one named by CHROMIUM, else the first on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def has_cuda() -> bool:
    """Says whether PyTorch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "gpu": (has_cuda, "CUDA device"),
    "app": (find_chromium, "Chromium (set CHROMIUM to its path, or install it)"),
    "java": (lambda: shutil.which("java"), "Java runtime (Debian: default-jre-headless)"),
    "shared": (SHARED.is_dir, f"folder {SHARED} (set ALPHACLIP_SHARED to its path)"),
}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium that drives the App."""
    path = find_chromium()
    if path is None:
        raise LookupError("no Chromium: tests that use this fixture are to be marked `app`")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of pictures shared between checkouts; tests that use it are marked `shared`."""
    return SHARED


@pytest.fixture(scope="session")
def installed_plugin() -> Path:
    """The folder of this repository's plugin in the session's FIFTYONE_PLUGINS_DIR."""
    return sandbox.install_plugin(ROOT, Path(os.environ["FIFTYONE_PLUGINS_DIR"]))


@pytest.fixture(scope="session")
def disc_drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sprites where ``load_sprites`` keeps them, so that nothing is fetched: for each artist and
    concept an opaque disc of one colour."""
    import numpy as np

    from recipes.nano.drawings import DRAWING_SETS, concepts

    folder = tmp_path_factory.mktemp("drawings")
    rows, columns = np.mgrid[:96, :96]
    disc = (rows - 48) ** 2 + (columns - 48) ** 2 < 40**2
    sprites = {}
    for place, concept in enumerate(concepts()):
        sprite = np.zeros((96, 96, 4), np.uint8)
        sprite[disc] = (place % 251, 40, 200, 255)
        sprites[concept.code_point] = sprite
    for drawing_set in DRAWING_SETS:
        np.savez(folder / f"{drawing_set.name}-96.npz", allow_pickle=False, **sprites)
    return folder


@pytest.fixture(scope="session")
def dataset_factory() -> "Iterator[Callable[..., fo.Dataset]]":
    """Makes empty, non-persistent datasets of unique names, deleted when the session ends.

    The session's scope lets fixtures of every scope use it. A call may give the beginning of the
    name: ``dataset_factory("scenes")``.
    """
    import fiftyone as fo

    names: list[str] = []

    def make(prefix: str = "test") -> fo.Dataset:
        names.append(f"{prefix}-{uuid.uuid4().hex[:12]}")
        return fo.Dataset(names[-1])

    yield make
    for name in names:
        if fo.dataset_exists(name):
            fo.delete_dataset(name)
