"""Opening pictures, the good and the bad."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import ImageError
from alphaclip.regions.images import MAX_PIXELS, open_image


@pytest.fixture
def picture() -> np.ndarray:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, :, 0] = 255
    return pixels


def test_open_image__exif_orientation_is_applied(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    opened = open_image(tmp_path / "turned.png")
    np.testing.assert_array_equal(opened, np.rot90(picture, -1))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1", "I;16"])
def test_open_image__every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "I;16") else "picture.png")
    Image.new(mode, (6, 4)).save(path)
    opened = open_image(path)
    assert opened.shape == (4, 6, 3)
    assert opened.dtype == np.uint8


def test_open_image__16_bit_grey_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 65535, np.uint16)).save(tmp_path / "grey.png")
    assert (open_image(tmp_path / "grey.png") == 255).all()


def test_open_image__missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file: check the path"):
        open_image(tmp_path / "gone.jpg")


def test_open_image__a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot be read \(Is a directory\): check the path"):
        open_image(tmp_path)


def truncated_jpeg() -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()[:800]


def test_open_image__truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(truncated_jpeg())
    with pytest.raises(ImageError, match=r"cut\.jpg: damaged or truncated .*get the file again"):
        open_image(path)


def test_open_image__truncated_pil_image() -> None:
    image = Image.open(io.BytesIO(truncated_jpeg()))
    with pytest.raises(ImageError, match="the given image: damaged or truncated"):
        open_image(image)


@pytest.mark.parametrize(
    "error", [ValueError("bad"), SyntaxError("bad"), struct.error("bad"), KeyError("bad")]
)
def test_open_image__whatever_a_decoder_raises(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: Image.Image) -> None:
        raise error

    Image.fromarray(picture).save(tmp_path / "odd.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageError, match=r"odd\.png: damaged or truncated \('?bad"):
        open_image(tmp_path / "odd.png")


def test_open_image__not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.jpg: not a picture.*convert it to JPEG or PNG"):
        open_image(tmp_path / "text.jpg")


def test_open_image__above_the_limit(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "large.png")
    message = r"large\.png: 6 x 4 is 24 pixels, the limit is 20: make the picture smaller"
    with pytest.raises(ImageError, match=message):
        open_image(tmp_path / "large.png", max_pixels=20)


def test_open_image__above_pillows_limit(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * Image.MAX_IMAGE_PIXELS == MAX_PIXELS
    Image.fromarray(picture).save(tmp_path / "large.png")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 11)
    with pytest.raises(ImageError, match=r"too many pixels, the limit is .*: make the picture"):
        open_image(tmp_path / "large.png")


def test_open_image__array_of_another_kind() -> None:
    with pytest.raises(ImageError, match=r"the given image has shape \(4, 6\) and dtype float64"):
        open_image(np.zeros((4, 6)))


def test_open_image__something_else() -> None:
    with pytest.raises(ImageError, match="image is a NoneType: expected a path"):
        open_image(None)  # type: ignore[arg-type]
