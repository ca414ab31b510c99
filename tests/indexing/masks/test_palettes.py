"""Segmentations in files with a palette, as Pascal VOC publishes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from alphaclip.indexing.masks.materializing import materialize

if TYPE_CHECKING:
    import fiftyone as fo

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]
"""The first colours of Pascal VOC."""


@pytest.fixture
def voc(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    import fiftyone as fo

    Image.new("RGB", (40, 30)).save(tmp_path / "picture.png")
    classes = np.zeros((30, 40), np.uint8)
    classes[5:15, 5:15], classes[20:25, 20:30] = 1, 2
    mask = Image.fromarray(classes, "P")
    mask.putpalette(PALETTE)
    mask.save(tmp_path / "mask.png")
    parts = fo.Segmentation(mask_path=str(tmp_path / "mask.png"))
    dataset = dataset_factory("voc")
    dataset.add_sample(fo.Sample(str(tmp_path / "picture.png"), parts=parts))
    return dataset


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ({1: "plane", 2: "bicycle"}, ["plane", "bicycle"]),
        ({"#800000": "plane", "#008000": "bicycle"}, ["plane", "bicycle"]),
        ({}, ["1", "2"]),
        ({2: "bicycle"}, ["1", "bicycle"]),
    ],
)
def test_palette__has_the_names_of_its_numbers_or_colours(
    voc: fo.Dataset, targets: dict, names: list[str]
) -> None:
    voc.mask_targets = {"parts": targets}
    report = materialize(voc, "parts", "regions", progress=lambda *_: None)
    assert (report.added, report.skipped) == (2, [])
    regions = voc.first().regions.detections
    assert sorted(region.label for region in regions) == sorted(names)
    assert sorted(int(region.mask.sum()) for region in regions) == [50, 100]
    assert materialize(voc, "parts", "regions", progress=lambda *_: None).done_before == 1
    assert voc.first().parts.mask_path
