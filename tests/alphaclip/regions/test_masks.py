"""A mask is on where it is not zero, whatever a tool made of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import ImageError, RegionError
from alphaclip.regions.masks import mask_bytes, open_mask

ON = np.array([[0, 1, 1], [0, 0, 1]], bool)
EXPECTED = ON * np.uint8(255)
BYTES = EXPECTED
FULL = np.full_like(BYTES, 255)
NOTHING = np.zeros_like(BYTES)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "uint64", "f2", "f8"]
)
@pytest.mark.parametrize("white", [1, 7, 100, 255, 65504])
def test_mask_bytes__numbers_of_any_type(dtype: str, white: int) -> None:
    top = np.finfo(dtype).max if dtype[0] == "f" else 1 if dtype == "bool" else np.iinfo(dtype).max
    values = ON.astype(dtype) * np.array(min(white, top)).astype(dtype)
    np.testing.assert_array_equal(mask_bytes(values), EXPECTED)


def test_mask_bytes__negative_whole_numbers_are_not_zero() -> None:
    np.testing.assert_array_equal(mask_bytes(-ON.astype(np.int32)), EXPECTED)


@pytest.mark.parametrize(
    "values",
    [ON[..., None], ON[None], ON[..., None] * 255.0, np.dstack([BYTES] * 3), np.dstack([ON] * 3)],
)
def test_mask_bytes__with_a_third_side(values: np.ndarray) -> None:
    np.testing.assert_array_equal(mask_bytes(values), EXPECTED)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 0.5, 1]], [[0, 128, 255]]),
        ([[0, 0.4, 0.8]], [[0, 102, 204]]),
        ([[-1e-7, 0.5, 1.0000001]], [[0, 128, 255]]),
        ([[-0.05, 0.5, 1.05]], [[0, 128, 255]]),
        ([[0, 127.5, 255]], [[0, 128, 255]]),
        ([[0, 3.5, 7]], [[0, 255, 255]]),
    ],
)
def test_mask_bytes__soft_edges_of_floats(values: list, expected: list) -> None:
    np.testing.assert_array_equal(mask_bytes(np.array(values)), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_mask_bytes__soft_edges_below_a_bytes_white(dtype: type) -> None:
    soft = np.array([[0, 3, 255]], dtype)
    np.testing.assert_array_equal(mask_bytes(soft), [[0, 3, 255]])
    np.testing.assert_array_equal(mask_bytes(soft[:, :2]), [[0, 255]])


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-5.0, 5.0]]),
        np.array([[np.nan, 1.0]]),
        np.array([[np.inf, 1.0]]),
        np.array([[1j, 0]]),
        np.array([["a", ""]]),
        np.zeros((0, 2)),
        np.zeros((2, 2, 2, 2)),
        np.zeros((5, 5, 5)),
        np.array(None),
        1,
    ],
)
def test_mask_bytes__no_mask(values: object) -> None:
    with pytest.raises(RegionError, match="mask has shape"):
        mask_bytes(values)


FILES = {
    "1": Image.fromarray(ON),
    "L": Image.fromarray(BYTES),
    "L 0/1": Image.fromarray(ON.astype(np.uint8)),
    "I;16": Image.fromarray(BYTES.astype(np.uint16)),
    "16 bits": Image.fromarray(ON * np.uint16(65535)),
    "RGB": Image.fromarray(np.dstack([BYTES] * 3)),
    "red": Image.fromarray(np.dstack([BYTES // 2, NOTHING, NOTHING])),
    "opaque": Image.fromarray(np.dstack([BYTES, BYTES, BYTES, FULL])),
    "cut out": Image.fromarray(np.dstack([FULL, FULL, FULL, BYTES])),
    "black": Image.fromarray(np.dstack([NOTHING, NOTHING, NOTHING, BYTES])),
    "LA": Image.fromarray(np.dstack([BYTES, FULL]), "LA"),
    "LA cut out": Image.fromarray(np.dstack([FULL, BYTES]), "LA"),
}


def in_palette(colors: list[int], values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette(colors)
    return image


FILES |= {
    "palette": in_palette([0, 0, 0, 128, 0, 0], ON),
    "white first": in_palette([255, 255, 255, 0, 0, 0], ~ON),
    "no black": in_palette([70, 130, 180, 220, 20, 60], ON),
}


@pytest.mark.parametrize("name", FILES)
def test_open_mask__as_tools_write_it(tmp_path: Path, name: str) -> None:
    FILES[name].save(tmp_path / "mask.png")
    np.testing.assert_array_equal(open_mask(tmp_path / "mask.png"), EXPECTED)


@pytest.mark.parametrize("kind", ["float", "int32"])
def test_open_mask__tiff(tmp_path: Path, kind: str) -> None:
    Image.fromarray(BYTES.astype(kind + "32" * (kind == "float"))).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(open_mask(tmp_path / "mask.tif"), EXPECTED)


def test_open_mask__transparent_entry_of_a_palette(tmp_path: Path) -> None:
    in_palette([9, 9, 9, 128, 0, 0], ON).save(tmp_path / "mask.png", transparency=0)
    np.testing.assert_array_equal(open_mask(tmp_path / "mask.png"), EXPECTED)


def test_open_mask__colour_jpeg(tmp_path: Path) -> None:
    """The little colour that JPEG adds at edges is no reason to be on."""
    box = np.zeros((40, 40), np.uint8)
    box[13:31, 10:27] = 255
    Image.fromarray(np.dstack([box] * 3)).save(tmp_path / "mask.jpg", quality=70)
    opened = open_mask(tmp_path / "mask.jpg")
    assert opened.max() == 255
    np.testing.assert_array_equal(opened > 127, box > 127)


def test_open_mask__other_formats_and_an_orientation(tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "mask.pgm")
    np.testing.assert_array_equal(open_mask(tmp_path / "mask.pgm"), EXPECTED)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(BYTES).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(open_mask(tmp_path / "mask.png"), EXPECTED)


def test_open_mask__bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        open_mask(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match=r"not a picture, or not one of JPEG.*PPM"):
        open_mask(tmp_path / "text.png")
    Image.fromarray(np.full((2, 2), -7, np.float32)).save(tmp_path / "scores.tif")
    with pytest.raises(RegionError, match="not negative"):
        open_mask(tmp_path / "scores.tif")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="the limit is"):
        open_mask(tmp_path / "large.png")
