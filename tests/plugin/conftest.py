"""The plugin as FiftyOne finds it, and small datasets to use it on."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import fiftyone as fo

ROOT = Path(__file__).parents[2]
COLORS = {"red": (220, 20, 20), "green": (20, 160, 20), "blue": (30, 30, 220)}
BACKGROUNDS = ("#f4efe6", "#dfe9f2", "#e9f0dc", "#f5e3e0")


def plugin_module(instance: object, name: str) -> ModuleType:
    """A module of the plugin as FiftyOne has loaded it.

    Args:
        instance: an operator or panel of the plugin
        name: such as ``common.jobs``
    """
    package = type(instance).__module__.partition(".regions")[0] + ".regions"
    return sys.modules[f"{package}.{name}"]


@pytest.fixture
def plugin_anew() -> Iterator[None]:
    """The plugin's modules are imported again, from the folder that the test has it in: FiftyOne
    gives them the same names wherever that is."""
    prefix = "fiftyone.plugins.orgs.alphaclip.regions"
    before = _taken_out(prefix)
    yield
    _taken_out(prefix)
    sys.modules.update(before)


def _taken_out(prefix: str) -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in [*sys.modules] if name.startswith(prefix)}


@pytest.fixture(scope="session")
def linked_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugins folder that holds a link to this checkout, as developers of plugins do it."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "regions").symlink_to(ROOT)
    return folder


@pytest.fixture
def plugins_dir(linked_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugins folder of a test. Its plugins are read once: by FiftyOne's own setting they are
    again at every call, which takes longer than most calls. So it is where the App is driven."""
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "plugins_dir", str(linked_plugin))
    monkeypatch.setattr(fo.config, "plugins_cache_enabled", True)
    return linked_plugin


@pytest.fixture
def shapes(dataset_factory: Callable, tmp_path: Path):
    """Six images with one coloured box each, in ``ground_truth`` (Detections)."""
    import fiftyone as fo

    dataset, samples = dataset_factory(), []
    for number in range(6):
        label, color = list(COLORS.items())[number % 3]
        pixels = np.full((96, 128, 3), 255, np.uint8)
        pixels[20:60, 30 : 70 + number] = color
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        box = [30 / 128, 20 / 96, (40 + number) / 128, 40 / 96]
        detection = fo.Detection(label=label, bounding_box=box)
        samples.append(fo.Sample(str(path), ground_truth=fo.Detections(detections=[detection])))
    dataset.add_samples(samples, progress=False)
    return dataset


@pytest.fixture(scope="session")
def drawn(dataset_factory: Callable, tmp_path_factory: pytest.TempPathFactory):
    """Twelve drawings of two shapes each, in ``shapes`` (Detections); no two are alike."""
    import fiftyone as fo

    dataset, folder = dataset_factory("drawings"), tmp_path_factory.mktemp("drawings")
    for number in range(12):
        picture = Image.new("RGB", (320, 240), BACKGROUNDS[number % len(BACKGROUNDS)])
        left = (12 + 3 * number, 16, 120 + 2 * number, 110)
        right = (150 + 4 * number, 80, 260 + 4 * number, 210)
        detections = [
            draw_shape(picture, 2 * number, left),
            draw_shape(picture, 2 * number + 1, right),
        ]
        path = folder / f"drawing-{number:02d}.png"
        picture.save(path)
        dataset.add_sample(fo.Sample(str(path), shapes=fo.Detections(detections=detections)))
    return dataset


@pytest.fixture(scope="session")
def indexed(drawn):
    """The drawings and an index of them, for tests that change neither."""
    from alphaclip.indexing import build

    dataset = drawn.clone()
    build(dataset, "shapes", encoder="alphaclip-nano", progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def drawings(drawn):
    """The drawings, for one test: a clone is made quicker than what is cloned."""
    yield from cloned(drawn)


@pytest.fixture
def embedded(indexed):
    """The drawings and an index of them, for one test, which may change all but the files."""
    yield from cloned(indexed)


def cloned(dataset: "fo.Dataset") -> "Iterator[fo.Dataset]":
    clone = dataset.clone()
    yield clone
    if not clone.deleted:
        clone.delete()


def draw_shape(picture: Image.Image, number: int, box: tuple[int, int, int, int]):
    """Draws the shape of this number to fill a box of pixels, and returns its Detection."""
    import fiftyone as fo

    color = list(COLORS)[number % 3]
    shape = ("circle", "square", "triangle", "diamond")[number // 3 % 4]
    left, top, right, bottom = box
    x, y = (left + right) // 2, (top + bottom) // 2
    corners = {
        "square": [(left, top), (right, top), (right, bottom), (left, bottom)],
        "triangle": [(x, top), (right, bottom), (left, bottom)],
        "diamond": [(x, top), (right, y), (x, bottom), (left, y)],
    }
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse(box, fill=COLORS[color])
    else:
        pen.polygon(corners[shape], fill=COLORS[color])
    relative = np.array([left, top, right - left, bottom - top]) / (picture.size * 2)
    return fo.Detection(label=f"{color} {shape}", bounding_box=relative.tolist())
