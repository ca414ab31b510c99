"""FiftyOne's labels as regions."""

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize(
    "mask",
    [
        ON.astype(np.int64),
        ON.astype(np.uint16),
        ON.astype(np.float32),
        ON[None],
        np.dstack([ON] * 3),
    ],
)
def test_label_region__masks_of_other_types(mask: np.ndarray) -> None:
    region = label_region(fo.Detection(bounding_box=BOX, mask=mask))
    np.testing.assert_array_equal(region.alpha_map(2, 2), ON)


def test_label_region__a_mask_on_disk_in_colours(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.dstack([ON, ON, ON, np.full_like(ON, 255)])).save(path)
    label = fo.Detection(bounding_box=BOX, mask_path=str(path))
    np.testing.assert_array_equal(label_region(label).alpha_map(2, 2), ON)
    for name in ("gone.png", ""):
        label.mask_path = str(tmp_path / name)
        with pytest.raises(RegionError, match="mask "):
            label_region(label)


NO_POINTS = [None, "a", float("nan"), [], {}, [0.1], [0.1, None], [0.1, "a"], [0.1, 0.2, 0.3]]


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("point", NO_POINTS)
def test_label_region__a_point_that_is_none(filled: bool, point: object) -> None:
    line = fo.Polyline(points=[[[0.1, 0.1], [0.5, 0.1], point]], filled=filled)
    with pytest.raises(RegionError, match="expected"):
        label_region(line)


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("points", [[], [[]], [None], [[None]], [7], ["a"]])
def test_label_region__no_points_at_all(filled: bool, points: object) -> None:
    line = fo.Polyline(filled=filled)
    line.points.extend(points)
    with pytest.raises(RegionError, match="poly"):
        label_region(line)


@pytest.mark.parametrize("side", [None, "a", float("nan"), [], {}])
def test_label_region__a_box_with_a_side_that_is_no_number(side: object) -> None:
    label = fo.Detection(bounding_box=[0.1, 0.1, 0.5, 0.5])
    label.bounding_box[3] = side
    with pytest.raises(RegionError, match="box is"):
        label_region(label)


@pytest.mark.parametrize("stray", [[], [[0.3, 0.3]], [[0.3, 0.3], [0.4, 0.4]]])
def test_label_region__a_stray_ring(stray: list) -> None:
    square = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.1, 0.5]]
    region = label_region(fo.Polyline(points=[square, stray], filled=True))
    assert region.bounds(10, 10) == (1, 1, 5, 5)
