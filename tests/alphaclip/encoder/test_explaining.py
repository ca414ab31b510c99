"""Where the encoder looked."""

import numpy as np
import pytest

from alphaclip import Region, load
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.explaining import explain
from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.views.view import View


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load("alphaclip-nano")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A red disc on grey, in the left half."""
    rows, columns = np.mgrid[:120, :200]
    pixels = np.full((120, 200, 3), 128, np.uint8)
    pixels[(rows - 60) ** 2 + (columns - 50) ** 2 < 30**2] = (220, 30, 30)
    return pixels


DISC = Region.from_box([0.1, 0.25, 0.3, 0.5])


def test_explain__the_object_carries_the_likeness(encoder: Encoder, picture: np.ndarray) -> None:
    found = explain(encoder, picture, DISC, "a drawing of a red apple", cells=8)
    assert found.shape == (120, 200) and found.dtype == np.float32
    assert found.min() == 0 and found.max() == pytest.approx(1, abs=0.05)
    assert found[30:90, 20:80].mean() > 3 * found[:, 120:].mean()


def test_explain__nothing_beyond_what_is_shown(encoder: Encoder, picture: np.ndarray) -> None:
    assert encoder.view.kind == "context"
    found = explain(encoder, picture, Region.from_box([0.15, 0.35, 0.1, 0.1]), "apple", cells=4)
    assert not found[:, 100:].any()


def test_explain__large_pictures_and_whole_ones(picture: np.ndarray) -> None:
    whole = load("alphaclip-nano", view=View("image"))
    large = np.repeat(np.repeat(picture, 4, axis=0), 4, axis=1)
    found = explain(whole, large, Region.whole_image(), "red disc", cells=4, longest=100)
    assert found.shape == (60, 100)


def test_explain__the_same_twice(encoder: Encoder, picture: np.ndarray) -> None:
    maps = [explain(encoder, picture, DISC, "apple", cells=3) for _ in range(2)]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("name", ["maskattn", "near+maskattn", "maskpool", "whole", "circle"])
def test_explain__with_a_method(picture: np.ndarray, name: str) -> None:
    found = explain(load(f"alphaclip-nano+{name}"), picture, DISC, "a drawing of a red apple", 5)
    assert found.shape == (120, 200) and 0 <= found.min() < found.max() <= 1


def test_explain__lies_where_the_view_shows_it(picture: np.ndarray) -> None:
    text = "a drawing of a red apple"
    squashed = explain(load("alphaclip-nano", view=View("squash")), picture, DISC, text, 8)
    assert squashed[30:90, 20:80].mean() > 2 * squashed[:, 120:].mean()
    middle = explain(load("alphaclip-nano", view=View("center")), picture, DISC, text, 8)
    assert not middle[:, :40].any() and not middle[:, 160:].any() and middle[:, 40:80].any()


def test_explain__bad_input(encoder: Encoder, picture: np.ndarray) -> None:
    with pytest.raises(AlphaClipError, match="cells is 1"):
        explain(encoder, picture, DISC, "apple", cells=1)
    with pytest.raises(EmptyRegionError):
        explain(encoder, picture, Region.from_box([2, 2, 0.1, 0.1]), "apple")
