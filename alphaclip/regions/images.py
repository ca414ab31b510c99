"""Opening pictures: turned as FiftyOne shows them, RGB, and never larger than the limit."""

from __future__ import annotations

import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from alphaclip.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
MAX_PIXELS = 178_956_970
"""Pictures with more pixels are refused before any is read. It is what Pillow refuses as a
decompression bomb: twice what a quarter of a GiB holds, at three bytes a pixel."""


def open_image(
    source: str | os.PathLike[str] | Image.Image | np.ndarray, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Opens a picture.

    Args:
        source: a path, a PIL image, or uint8 (H, W, 3)
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
        _check_size(source.shape[1], source.shape[0], name, max_pixels)
        return source
    if not isinstance(source, (str, os.PathLike, Image.Image)):
        raise ImageError(
            f"image is a {type(source).__name__}: expected a path, a PIL image, or uint8 "
            "(height, width, 3)"
        )
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, name, max_pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                return _to_rgb(image, name, max_pixels)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name}: {_reason(error, max_pixels)}") from error


def picture_name(source: str | os.PathLike[str] | Image.Image | np.ndarray) -> str:
    """What a message calls a picture: its path, or "the given image"."""
    return "the given image" if isinstance(source, (np.ndarray, Image.Image)) else str(source)


def _reason(error: Exception, max_pixels: int) -> str:
    """Why a picture cannot be opened and what to do, whatever its decoder raised."""
    if isinstance(error, FileNotFoundError):
        return "no such file: check the path"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not a picture, or not one of {', '.join(FORMATS)}: convert it to JPEG or PNG"
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("too many pixels", max_pixels)
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror}): check the path and who may read it"
    return f"damaged or truncated ({str(error) or type(error).__name__}): get the file again"


def _to_rgb(image: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    _check_size(*image.size, name, max_pixels)
    upright = ImageOps.exif_transpose(image)
    if not upright.mode.startswith("I") and upright.mode != "F":
        return np.array(upright.convert("RGB"))
    # 16-bit and float greys, taken as 0 to 65535 where they exceed a byte.
    values = np.asarray(upright)
    top = 65535.0 if values.max(initial=0) > 255 else 255.0
    grey = (values.astype(np.float32) * (255.0 / top)).clip(0, 255).astype(np.uint8)
    return np.dstack([grey] * 3)


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        count = f"{width} x {height} is {width * height:,} pixels"
        raise ImageError(f"{name}: {_too_large(count, max_pixels)}")


def _too_large(count: str, max_pixels: int) -> str:
    return f"{count}, the limit is {max_pixels:,}: make the picture smaller"
