"""One geometry: a white object must coincide with its mask in what the encoder sees."""

import numpy as np
import pytest
from torch import Tensor

from alphaclip import Region
from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import PixelBox
from alphaclip.views import cutter
from alphaclip.views.cutter import make_views
from alphaclip.views.view import View


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (80, 80)])
@pytest.mark.parametrize("view", [View("image"), View("context", 2.0), View("context", 1.0)])
def test_make_views__picture_and_mask_coincide(shape: tuple[int, int], view: View) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[10:30, 40:56] = 255
    mask = image[..., 0] > 0
    pixels, alpha = make_views(image, [Region.from_mask(mask)], view, 48)
    assert pixels.shape == (1, 3, 48, 48)
    assert alpha.max() == 255
    difference = (pixels[0, 0].float() - alpha[0, 0].float()).abs()
    assert difference.mean() < 8
    assert ((pixels[0, 0] > 127) == (alpha[0, 0] > 127)).float().mean() > 0.99


def test_make_views__image_view_pads_to_a_square() -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    pixels, alpha = make_views(image, [Region.from_box([0, 0, 1, 1])], View("image"), 20)
    assert (pixels[0, :, 5:15] == 200).all()
    assert (pixels[0, :, :5] == 0).all()
    assert (alpha[0, 0, :5] == 0).all()
    assert (alpha[0, 0, 5:15] == 255).all()


def test_make_views__whole_image_has_alpha_over_the_padding() -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    _, alpha = make_views(image, [Region.whole_image()], View("context"), 20)
    assert (alpha == 255).all()


def test_window__context_is_measured_in_longer_sides() -> None:
    region = Region.from_box([0.4, 0.4, 0.2, 0.1])
    assert View("context", 2.0).window(region, 100, 100) == (30, 25, 70, 65)


def test_window__beyond_the_border() -> None:
    region = Region.from_box([0.0, 0.0, 0.5, 0.5])
    assert View("context", 2.0).window(region, 40, 40) == (-10, -10, 30, 30)


def test_make_views__one_pixel_region_of_a_large_picture() -> None:
    image = np.zeros((3000, 4000, 3), np.uint8)
    region = Region.from_box([0.5, 0.5, 1e-6, 1e-6])
    _, alpha = make_views(image, [region], View("context", 1.5), 32)
    assert alpha.max() > 0


def test_make_views__whole_picture_is_scaled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    crop, scaled = cutter._crop, []

    def counting(pixels: Tensor, window: PixelBox, padding: int) -> Tensor:
        scaled.append(window)
        return crop(pixels, window, padding)

    monkeypatch.setattr(cutter, "_crop", counting)
    regions = [Region.from_box([0.1 * i, 0, 0.1, 0.1]) for i in range(5)] + [Region.whole_image()]
    make_views(np.zeros((10, 20, 3), np.uint8), regions, View("image"), 8)
    assert scaled == [(0, -5, 20, 15)]
    scaled.clear()
    make_views(np.zeros((10, 20, 3), np.uint8), regions, View("context", least=1), 8)
    assert len(scaled) == 6


def test_make_views__no_regions() -> None:
    pixels, alpha = make_views(np.zeros((4, 4, 3), np.uint8), [], View(), 8)
    assert pixels.shape == (0, 3, 8, 8)
    assert alpha.shape == (0, 1, 8, 8)


@pytest.mark.parametrize("arguments", [("crop", 1.5), ("context", 0.5), ("context", float("nan"))])
def test_view__bad_values(arguments: tuple) -> None:
    with pytest.raises(AlphaClipError, match="view"):
        View(*arguments)
