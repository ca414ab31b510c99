"""A small dataset of boxes and polylines on noise, and an index of its boxes.

FiftyOne is imported where it is used: pytest reads this file before the session has its database.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.encoder.encoder import Encoder
    from alphaclip.indexing.region_index import RegionIndex


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    from alphaclip import load

    return load("alphaclip-nano")


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    import fiftyone as fo

    rng = np.random.default_rng(0)
    dataset, samples = dataset_factory(), []
    for i in range(3):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        boxes = [[0.1 * j, 0.2, 0.3, 0.5] for j in range(4)]
        detections = [fo.Detection(label=f"{i}{j}", bounding_box=b) for j, b in enumerate(boxes)]
        line = fo.Polyline(points=[[[0.1, 0.1], [0.6, 0.1], [0.6, 0.8]]], filled=i > 0, closed=True)
        samples.append(
            fo.Sample(
                path,
                boxes=fo.Detections(detections=detections),
                shape=line,
                kind=fo.Classification(label="noise"),
            )
        )
    dataset.add_samples(samples, progress=False)
    return dataset


@pytest.fixture
def index(dataset: fo.Dataset, encoder: Encoder) -> RegionIndex:
    from alphaclip import indexing

    return indexing.build(dataset, "boxes", encoder)
