"""Opening pictures: turned as FiftyOne shows them, RGB, and never larger than the limit.

Greys of more than a byte have no white of their own: a file says neither whether its floats end at
1 or at 255, nor how many of its 16 bits the camera filled. What is black and what is white:

- Floats up to 1 are [0, 1]; where they go down to -1, [-1, 1].
- Floats up to 16 go from 0 to their largest value: they are no bytes, or all would be black.
- Other values go from 0 to the first of 255, 1023, 4095, 16383 and 65535 (8 to 16 bits) that none
  exceeds, and beyond that to their largest.
- Negative values otherwise, as elevations have them, go from the least to the largest.
- NaN is black, infinity white. A picture without a finite value is refused.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image

from alphaclip.errors import ImageError
from alphaclip.regions.remote import RemoteError, is_remote, read_remote, without_credentials
from alphaclip.regions.videos import VideoError, is_frame, read_frame

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
MAX_PIXELS = 178_956_970
"""Pictures with more pixels are refused before any is read. It is what Pillow refuses as a
decompression bomb: twice what a quarter of a GiB holds, at three bytes a pixel."""

WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""The whites of 8, 10, 12, 14 and 16 bits."""

_LEAST_BYTE_WHITE = 16.0
"""Floats that stay below are not taken for bytes: as such the whole picture would be black."""

_BELOW = 0.1
"""How far resampling takes floats in [0, 1] below 0."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5
"""From this EXIF orientation on, width and height of the stored picture are exchanged."""

_SAMPLE_FORMAT, _UNSIGNED = 339, 1
"""The TIFF tag for signed and unsigned values; Pillow reads 32 bits as signed whatever it says."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
"""The chunks of a PNG that pixels and orientation need."""


def open_image(
    source: str | os.PathLike[str] | bytes | Image.Image | np.ndarray,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Opens a picture.

    Args:
        source: a path, the content of a file, a PIL image, or uint8 (H, W, 3)
        max_pixels: the most pixels that are accepted

    Returns:
        uint8 (H, W, 3) RGB, with the EXIF orientation applied

    Raises:
        ImageError: if it is missing, damaged, of another kind or too large; names the file
    """
    name = picture_name(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise ImageError(
                f"{name} has shape {source.shape} and dtype {source.dtype}: expected uint8 "
                "(height, width, 3)"
            )
        check_pixels(source.shape[1], source.shape[0], name, max_pixels)
        return source
    if not isinstance(source, (str, os.PathLike, bytes, Image.Image)):
        raise ImageError(
            f"image is a {type(source).__name__}: expected a path, a PIL image, or uint8 "
            "(height, width, 3)"
        )
    is_file = not isinstance(source, Image.Image)
    return decode_image(source, lambda image: _to_rgb(image, name, max_pixels, is_file))


def decode_image(
    source: str | os.PathLike[str] | bytes | Image.Image,
    use: Callable[[Image.Image], T],
    formats: tuple[str, ...] = FORMATS,
) -> T:
    """Opens a picture by its content, whatever its name ends in.

    Metadata is no part of the picture: where it stands in the way (a text or a colour profile of
    many megabytes) the pixels are read without it.

    Args:
        source: a path, an address (:mod:`alphaclip.regions.remote`, or of a frame, see
            :mod:`alphaclip.regions.videos`), the content of a file, or a PIL image
        use: is given the picture while its file is open; it may check the size before any pixel is
            decoded
        formats: as Pillow names them

    Returns:
        what ``use`` returns

    Raises:
        ImageError: if it is missing, damaged, of another format or too large; names the file
    """
    try:
        if isinstance(source, Image.Image):
            return use(source)
        if is_frame(source):
            return use(Image.fromarray(read_frame(str(source))))
        read = read_remote(str(source)) if is_remote(source) else source
        try:
            return _open(read, use, formats)
        except ImageError:
            raise
        except Exception:
            content = _bare_png(read)
            if content is None:
                raise
            return _open(content, use, formats)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{picture_name(source)}: {_reason(error, formats)}") from error


def picture_name(source: str | os.PathLike[str] | bytes | Image.Image | np.ndarray) -> str:
    """What a message calls a picture: its path, or "the given image"."""
    if is_remote(source):
        return without_credentials(str(source))
    return str(source) if isinstance(source, (str, os.PathLike)) else "the given image"


def check_pixels(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Refuses a picture that has more pixels than the limit.

    Raises:
        ImageError: names the picture, its size and the limit
    """
    if width * height > max_pixels:
        count = f"{width} x {height} is {width * height:,} pixels"
        raise ImageError(f"{name}: {_too_large(count, max_pixels)}")


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened picture as it is shown; no pixel is decoded."""
    width, height = image.size
    return (height, width) if _orientation(image) >= _SIDEWAYS else (width, height)


def _open(
    source: str | os.PathLike[str] | bytes,
    use: Callable[[Image.Image], T],
    formats: tuple[str, ...],
) -> T:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with warnings.catch_warnings():
        # Of odd metadata, and of pictures that are large but below the limit.
        warnings.simplefilter("ignore")
        with Image.open(file, formats=formats) as image:
            return use(image)


def _bare_png(source: str | os.PathLike[str] | bytes) -> bytes | None:
    """A PNG without its metadata; None if it is no PNG."""
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return None
        chunks = [_PNG]
        while header := file.read(8):
            rest = int.from_bytes(header[:4], "big") + 4
            if header[4:] in _PNG_PIXELS:
                chunks += [header, file.read(rest)]
            else:
                file.seek(rest, os.SEEK_CUR)
    return b"".join(chunks)


def _reason(error: Exception, formats: tuple[str, ...]) -> str:
    """Why a picture cannot be opened and what to do, whatever its decoder raised."""
    if isinstance(error, (RemoteError, VideoError)):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file: check the path"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not a picture, or not one of {', '.join(formats)}: convert it to JPEG or PNG"
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("too many pixels", MAX_PIXELS)
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror}): check the path and who may read it"
    return f"damaged or truncated ({str(error) or type(error).__name__}): get the file again"


def _too_large(count: str, max_pixels: int) -> str:
    return f"{count}, the limit is {max_pixels:,}: make the picture smaller"


def _to_rgb(image: Image.Image, name: str, max_pixels: int, is_file: bool) -> np.ndarray:
    check_pixels(*image.size, name, max_pixels)
    pixels = _decode_jpeg(image) if is_file else None
    if pixels is not None:
        return _turned(pixels, _orientation(image))
    image.load()  # in a PNG, the orientation may stand behind the pixels
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_bytes(_grey_values(image), name))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def _decode_jpeg(image: Image.Image) -> np.ndarray | None:
    """The pixels of a plain JPEG in colour, by torchvision: Pillow's own, in half the time, as they
    are copied less often. None where that cannot be had; Pillow then says why, if it cannot either.

    Args:
        image: just opened, of a file
    """
    if image.format != "JPEG" or image.mode != "RGB" or not _decodes_alike():
        return None
    file: Any = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    try:
        pixels = _by_torchvision(file.read())
    except RuntimeError:  # whatever is wrong with the file
        return None
    return pixels if pixels.shape[1::-1] == image.size else None


def _by_torchvision(content: bytes) -> np.ndarray:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    decoded = decode_jpeg(data, ImageReadMode.RGB)
    return np.asarray(decoded.permute(1, 2, 0).numpy())


def _decodes_alike() -> bool:
    """Whether torchvision is loaded, as an encoder's process has it, and decodes as Pillow does."""
    return "torchvision" in sys.modules and _is_same_decoder()


@cache
def _is_same_decoder() -> bool:
    """Whether both give the same pixels: each brings its own libjpeg, and versions differ."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    for sampling in (0, 1, 2):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "JPEG", quality=70, subsampling=sampling)
        try:
            pixels = _by_torchvision(file.getvalue())
        except (ImportError, RuntimeError):
            return False
        if not np.array_equal(pixels, np.asarray(Image.open(file))):
            return False
    return True


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, 3) as an EXIF orientation says, see `_TURNS`."""
    if orientation == 1:
        return pixels
    # Whole pixels are moved: three times as fast as byte by byte.
    whole = pixels.view("V3")[..., 0]
    whole = whole.T if orientation >= _SIDEWAYS else whole
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(whole[::down, ::across])[..., None].view(np.uint8)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none that can be read."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is anybody's bytes, of which Pillow raises whatever it meets
        return 1
    return orientation if orientation in _TURNS else 1


def _grey_values(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", None)
    if image.mode == "I" and tags is not None:
        stated = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
        return values.view(np.uint32) if stated == (_UNSIGNED,) else values
    return values


def _to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ImageError(f"{name} has no finite value: write the picture again")
    black, white = _black_and_white(
        float(finite.min()), float(finite.max()), values.dtype.kind == "f"
    )
    span = (white - black) or 1.0
    numbers = np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black)
    scaled: np.ndarray = ((numbers - black) * 255.0 / span).clip(0, 255).round().astype(np.uint8)
    return scaled


def _black_and_white(least: float, most: float, is_float: bool) -> tuple[float, float]:
    """The values that become 0 and 255, see the module."""
    if least < (-_BELOW if is_float else 0):
        is_signed_unit = is_float and least >= -1 - _BELOW and most <= 1 + _BELOW
        return (-1.0, 1.0) if is_signed_unit else (least, most)
    if is_float and most < _LEAST_BYTE_WHITE:
        return 0.0, max(1.0, most)
    return 0.0, next((white for white in WHITES if most <= white), most)
