"""The plugin as FiftyOne finds it, and small datasets to use it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COLORS = {"red": (220, 20, 20), "green": (20, 160, 20), "blue": (30, 30, 220)}


@pytest.fixture
def plugins_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugins folder that holds a link to this checkout, as developers of plugins do it."""
    import fiftyone as fo

    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "regions").symlink_to(ROOT)
    monkeypatch.setattr(fo.config, "plugins_dir", str(folder))
    return folder


@pytest.fixture
def shapes(dataset_factory: Callable, tmp_path: Path):
    """Six images with one coloured box each, in ``ground_truth`` (Detections)."""
    import fiftyone as fo

    dataset = dataset_factory()
    for number in range(6):
        label, color = list(COLORS.items())[number % 3]
        pixels = np.full((96, 128, 3), 255, np.uint8)
        pixels[20:60, 30 : 70 + number] = color
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        box = [30 / 128, 20 / 96, (40 + number) / 128, 40 / 96]
        detection = fo.Detection(label=label, bounding_box=box)
        sample = fo.Sample(str(path), ground_truth=fo.Detections(detections=[detection]))
        dataset.add_sample(sample)
    return dataset
