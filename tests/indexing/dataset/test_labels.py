"""FiftyOne's labels as regions."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.labels import label_region

BOX = [0.0, 0.0, 1.0, 1.0]
ON = np.array([[0, 255], [255, 255]], np.uint8)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.array([[False, True], [True, True]]), ON),
        (np.array([[0, 1], [1, 1]], np.int64), ON),
        (np.array([[0, 7], [7, 7]], np.uint8), ON),
        (np.array([[0, 255], [128, 255]], np.uint8), [[0, 255], [128, 255]]),
    ],
)
def test_label_region__masks_are_on_where_they_are_not_zero(
    mask: np.ndarray, expected: np.ndarray
) -> None:
    region = label_region(fo.Detection(bounding_box=BOX, mask=mask))
    np.testing.assert_array_equal(region.alpha_map(2, 2), expected)


@pytest.mark.parametrize("filled", [True, False])
def test_label_region__points_that_are_not_finite(filled: bool) -> None:
    points = [[[0.1, 0.1], [float("nan"), 0.5], [0.5, 0.5]]]
    with pytest.raises(RegionError, match="finite"):
        label_region(fo.Polyline(points=points, filled=filled, closed=True))


def test_label_region__unfilled_polylines_are_their_box() -> None:
    line = fo.Polyline(points=[[[0.25, 0.5], [0.75, 0.5]]], filled=False)
    assert label_region(line).bounds(100, 100) == (25, 50, 75, 51)
