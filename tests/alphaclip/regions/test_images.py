"""Opening pictures, the good and the bad."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from alphaclip.errors import ImageError
from alphaclip.regions import images
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


def by_pillow(content: bytes) -> np.ndarray:
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


def jpeg(shape: tuple[int, int], orientation: int = 1, **options: Any) -> bytes:
    """Colours that change from pixel to pixel, not as in noise."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))
    image.save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What torchvision was given to decode."""
    import torchvision.io  # noqa: F401

    contents: list[bytes] = []
    decode = images._by_torchvision
    assert images._is_same_decoder(), "the first call decodes a picture of its own"
    monkeypatch.setattr(
        images, "_by_torchvision", lambda content: contents.append(content) or decode(content)
    )
    return contents


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0, "quality": 95}, {"progressive": True}, {"keep_rgb": True}],
    ids=str,
)
def test_open_image__a_plain_jpeg_has_pillows_pixels(
    decoded: list[bytes], tmp_path: Path, orientation: int, options: dict[str, Any]
) -> None:
    for shape in ((37, 53), (1, 1), (16, 8)):
        content = jpeg(shape, orientation, **options)
        (tmp_path / "a.png").write_bytes(content)
        for source in (content, tmp_path / "a.png"):
            pixels = open_image(source)
            np.testing.assert_array_equal(pixels, by_pillow(content))
            assert pixels.flags.writeable and pixels.flags.c_contiguous
    assert len(decoded) == 6


def test_open_image__a_damaged_jpeg_is_as_with_pillow(decoded: list[bytes]) -> None:
    content = jpeg((37, 53))

    def opened(source: bytes | Image.Image) -> Any:
        try:
            return open_image(source).tolist()
        except ImageError as error:
            return str(error)

    for cut in (*range(700, len(content), 37), len(content) - 2):
        half = content[:cut]
        assert opened(half) == opened(Image.open(io.BytesIO(half)))
    assert decoded


def test_open_image__other_pictures_are_decoded_by_pillow(
    decoded: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = jpeg((37, 53))
    for mode, name in (("L", "grey.jpg"), ("CMYK", "four.jpg"), ("RGB", "a.png")):
        Image.open(io.BytesIO(content)).convert(mode).save(tmp_path / name)
        np.testing.assert_array_equal(
            open_image(tmp_path / name), by_pillow((tmp_path / name).read_bytes())
        )
    draft = Image.open(io.BytesIO(content))
    draft.draft(None, (10, 10))
    assert open_image(draft).shape == (19, 27, 3)
    with pytest.raises(ImageError, match="1,961 pixels, the limit is 1,000"):
        open_image(content, max_pixels=1000)
    # Another libjpeg than Pillow's may round otherwise.
    monkeypatch.setattr(images, "_is_same_decoder", lambda: False)
    np.testing.assert_array_equal(open_image(content), by_pillow(content))
    assert decoded == []


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


def grey(path: Path, values: list, dtype: type) -> np.ndarray:
    """What is seen of a row of greys, as bytes."""
    Image.fromarray(np.array([values], dtype)).save(path)
    return open_image(path)[0, :, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 0.5, 1.0001], [0, 127, 255]),
        ([-1e-7, 0.5, 1], [0, 128, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([0, 1, 2.5], [0, 102, 255]),
        ([0, 128, 255], [0, 128, 255]),
        ([0, 512, 1023], [0, 128, 255]),
        ([0, 32768, 65535], [0, 128, 255]),
        ([0, 5e8, 1e9], [0, 128, 255]),
        ([-1000, 500, 2000], [0, 128, 255]),
        ([-2.0, 0.5, 3.0], [0, 128, 255]),
        ([np.nan, 0.2, 1], [0, 51, 255]),
        ([-np.inf, 0.2, np.inf], [0, 51, 255]),
        ([0.25, 0.25, 0.25], [64, 64, 64]),
        ([-3, -3, -3], [0, 0, 0]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_open_image__floats(tmp_path: Path, values: list, expected: list) -> None:
    np.testing.assert_array_equal(grey(tmp_path / "a.tif", values, np.float32), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 128, 255], [0, 128, 255]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 2048, 4095], [0, 128, 255]),
        ([0, 32768, 65535], [0, 128, 255]),
        ([0, 1_000_000, 2_000_000], [0, 128, 255]),
        ([-1000, 500, 2000], [0, 128, 255]),
    ],
)
def test_open_image__whole_numbers(tmp_path: Path, values: list, expected: list) -> None:
    np.testing.assert_array_equal(grey(tmp_path / "a.tif", values, np.int32), expected)
    if min(values) >= 0 and max(values) < 65536:
        np.testing.assert_array_equal(grey(tmp_path / "a.png", values, np.uint16), expected)


def test_open_image__32_bits_without_a_sign(tmp_path: Path) -> None:
    """Pillow reads them as negative numbers."""
    grey(tmp_path / "a.tif", [0, -(2**31), -1], np.int32)
    content = (tmp_path / "a.tif").read_bytes()
    signed, unsigned = (struct.pack("<HHII", 339, 3, 1, kind) for kind in (2, 1))
    assert content.count(signed) == 1
    np.testing.assert_array_equal(
        open_image(content.replace(signed, unsigned))[0, :, 0], [0, 128, 255]
    )


def test_open_image__no_finite_value(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.tif has no finite value"):
        grey(tmp_path / "a.tif", [np.nan, np.inf], np.float32)


def jpeg_with_exif(picture: np.ndarray, *entries: tuple[int, int, bytes]) -> bytes:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    exif += b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in entries)
    exif += b"\0\0\0\0"
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return file.getvalue()[:2] + segment + file.getvalue()[2:]


TURNED = (0x112, 3, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize(
    ("entries", "shape"),
    [
        ([TURNED], (6, 4, 3)),
        ([(0x100, 2, bytes(4)), TURNED], (6, 4, 3)),
        ([(0x11A, 2, bytes(4)), TURNED], (6, 4, 3)),
        ([(0x10E, 99, b"abcd"), TURNED], (6, 4, 3)),
        ([TURNED, (0x8769, 4, b"\xff\xff\xff\x7f")], (6, 4, 3)),
        ([(0x112, 2, b"abc\0")], (4, 6, 3)),
        ([(0x112, 3, struct.pack("<HH", 999, 0))], (4, 6, 3)),
    ],
)
def test_open_image__odd_exif(picture: np.ndarray, entries: list, shape: tuple) -> None:
    content = jpeg_with_exif(picture, *entries)
    assert open_image(content).shape == shape
    assert open_image(Image.open(io.BytesIO(content))).shape == shape


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


LONG = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"zTXt", b"a\0\0" + LONG),
        chunk(b"iTXt", b"a\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"a\0\0" + LONG),
        chunk(b"iCCP", b"a\0\7?"),
        chunk(b"tEXt", b"a\0" + b"x" * 3_000_000),
        chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    ],
    ids=["zTXt", "iTXt", "iCCP", "another iCCP", "tEXt", "checksum"],
)
@pytest.mark.parametrize("position", ["before", "after"])
def test_open_image__png_with_metadata_that_pillow_refuses(
    picture: np.ndarray, odd: bytes, position: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", exif=exif)
    content, cut = file.getvalue(), 33 if position == "before" else -12
    opened = open_image(content[:cut] + odd + content[cut:])
    np.testing.assert_array_equal(opened, np.rot90(picture, -1))


def test_open_image__goes_by_content_and_a_few_formats(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.eps")
    np.testing.assert_array_equal(open_image(tmp_path / "a.eps"), picture)
    Image.fromarray(picture).save(tmp_path / "b.eps", "EPS")
    for source in (tmp_path / "b.eps", (tmp_path / "b.eps").read_bytes()):
        with pytest.raises(ImageError, match="not a picture, or not one of JPEG"):
            open_image(source)


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
