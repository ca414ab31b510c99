"""Opening pictures: turned as FiftyOne shows them, RGB, and never larger than the limit."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from alphaclip.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
MAX_PIXELS = 179_000_000
"""Pictures with more pixels are refused; the size is read before any pixel is."""


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
    if isinstance(source, np.ndarray):
        return _check_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "image", max_pixels)
    path = Path(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _to_rgb(image, str(path), max_pixels)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture, or not one of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: damaged or truncated ({error})") from error


def _check_array(pixels: np.ndarray, max_pixels: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(
            f"image has shape {pixels.shape} and dtype {pixels.dtype}: expected uint8 "
            "(height, width, 3)"
        )
    _check_size(pixels.shape[1], pixels.shape[0], "image", max_pixels)
    return pixels


def _to_rgb(image: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    _check_size(*image.size, name, max_pixels)
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _scale_to_bytes(np.asarray(upright))
    return np.array(upright.convert("RGB"))


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} is {width * height:,} pixels, the limit is "
            f"{max_pixels:,}: make it smaller, or raise max_pixels if you trust it"
        )


def _scale_to_bytes(values: np.ndarray) -> np.ndarray:
    """16-bit and float greys, taken as 0 to 65535 where they exceed a byte."""
    top = 65535.0 if values.max(initial=0) > 255 else 255.0
    grey = (values.astype(np.float32) * (255.0 / top)).clip(0, 255).astype(np.uint8)
    return np.dstack([grey] * 3)
