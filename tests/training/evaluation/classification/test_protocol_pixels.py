"""The protocols' pixels against another way to make them, as the released test code does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from alphaclip.regions.region import Region
from alphaclip.training.evaluation.classification.protocols import (
    imagenet_s_protocol,
    region_protocol,
)
from alphaclip.views.cutter import make_views

SIZE = 32
COCO_PADDING = 600


def scaled(pixels: np.ndarray, mode: str) -> np.ndarray:
    """(H, W, C) to (C, SIZE, SIZE) as floats, without antialiasing."""
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    return (
        interpolate(tensor, (SIZE, SIZE), mode=mode, align_corners=False)[0].clamp(0, 255).numpy()
    )


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, and different everywhere: our pixels are bytes between the two passes of a resize."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9 + columns / 7), np.cos(columns / 11), np.cos(rows / 5 - columns / 13)]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def mask_of_box(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 255
    mask[top, left + 1 : right - 1] = 0
    return mask


@pytest.mark.parametrize(("height", "width"), [(50, 83), (90, 41), (64, 64)])
def test_imagenet_s__picture_and_mask_are_cut_to_the_middle_together(
    height: int, width: int
) -> None:
    image, mask = picture(height, width), mask_of_box(height, width, (5, 4, 40, 39))
    view = imagenet_s_protocol("mask").view
    assert view is not None
    pixels, alpha = make_views(image, [Region.from_mask(mask)], view, SIZE)
    side = min(height, width)
    rows, columns = (slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n in (height, width))
    rgba = np.dstack([image, mask])[rows, columns]
    np.testing.assert_allclose(pixels[0], scaled(rgba[..., :3], "bicubic"), atol=1.01)
    np.testing.assert_allclose(alpha[0], scaled(rgba[..., 3:], "bilinear"), atol=1.01)


@pytest.mark.parametrize("box", [(30, 20, 50, 60), (0, 0, 40, 20), (100, 52, 120, 92)])
@pytest.mark.parametrize("show", ["crop", "masked"])
def test_coco__crop_is_a_square_of_one_and_a_half_sides_white_beyond_the_picture(
    box: tuple[int, int, int, int], show: str
) -> None:
    height, width = 92, 120
    image, mask = picture(height, width), mask_of_box(height, width, box)
    view = region_protocol(show).view
    assert view is not None
    pixels, alpha = make_views(image, [Region.from_mask(mask)], view, SIZE)
    edge = (COCO_PADDING, COCO_PADDING)
    padded = np.pad(image, (edge, edge, (0, 0)), constant_values=255)
    padded_mask = np.pad(mask, (edge, edge))
    left, top, right, bottom = (value + COCO_PADDING for value in box)
    longer = max(right - left, bottom - top)
    middle_x, middle_y, half = (left + right) // 2, (top + bottom) // 2, longer * 3 // 4
    window = slice(middle_y - half, middle_y + half), slice(middle_x - half, middle_x + half)
    expected, shape = padded[window].copy(), padded_mask[window]
    if show == "masked":
        expected[shape == 0] = [round(255 * c) for c in (0.48145466, 0.4578275, 0.40821073)]
    np.testing.assert_allclose(pixels[0], scaled(expected, "bicubic"), atol=1.01)
    np.testing.assert_allclose(alpha[0], scaled(shape[..., None], "bilinear"), atol=1.01)


def test_whole_picture__is_padded_with_black_to_a_square() -> None:
    image, mask = picture(40, 64), mask_of_box(40, 64, (10, 5, 30, 35))
    view = region_protocol("whole").view
    assert view is not None
    pixels, alpha = make_views(image, [Region.from_mask(mask)], view, SIZE)
    rgba = np.pad(np.dstack([image, mask]), ((12, 12), (0, 0), (0, 0)))
    np.testing.assert_allclose(pixels[0], scaled(rgba[..., :3], "bicubic"), atol=1.01)
    np.testing.assert_allclose(alpha[0], scaled(rgba[..., 3:], "bilinear"), atol=1.01)
