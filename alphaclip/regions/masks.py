"""What a mask is: on where it is not zero.

That holds for whole numbers of any type, for bool, and for floats. Between off and on there are
soft edges in two cases: floats in [0, 1], and values of which the largest is 255, a byte's white.

Masks that a tool wrote as a picture follow the same rule:

- Colours: off where they are black; equal channels are one grey, and a JPEG is taken as grey.
- Alpha: off, too, where it is transparent; where all colours are black, alpha is the mask.
- A palette stands for its colours; where none of those that are used is black or transparent, its
  first entry is off.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

from alphaclip.errors import RegionError
from alphaclip.regions.images import FORMATS, check_pixels, decode_image

MASK_FORMATS = (*FORMATS, "PPM")
"""PBM and PGM, which Pillow counts as PPM, are common for masks."""

_ON = np.uint8(255)

_OVER = 0.1
"""Share of white by which resampling takes floats beyond black and white."""


def mask_bytes(mask: Any) -> np.ndarray:
    """A mask by the rule of this module.

    Args:
        mask: (H, W), with a third side of 1 or as (1, H, W) too; or (H, W, channels): grey and
            alpha, RGB, or RGBA

    Returns:
        uint8 (H, W): 0 off, 255 on

    Raises:
        RegionError: naming the shape, dtype and range it got
    """
    values = as_array(mask, "mask")
    if values.ndim == 3 and len(values) == 1 != values.shape[2]:
        values = values[0]
    return _join_channels(values)


def open_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask from a file, as it is stored: an EXIF orientation does not count.

    Returns:
        uint8 (H, W), see :func:`mask_bytes`

    Raises:
        ImageError: if the file is missing, damaged, of another format or too large
        RegionError: if it holds no mask
    """

    def pixels(image: Image.Image) -> np.ndarray:
        check_pixels(*image.size, str(path))
        if image.mode == "P":
            colors = np.array(image.convert("RGBA"))
            return np.array(image) != 0 if _join_channels(colors).all() else colors
        if image.format in ("JPEG", "MPO"):
            return np.array(image.convert("L"))  # Its colours differ a little where they are grey
        is_plain = image.mode in ("1", "L", "LA", "RGB", "RGBA", "F") or image.mode[0] == "I"
        return np.array(image if is_plain else image.convert("RGBA"))

    return _join_channels(decode_image(path, pixels, MASK_FORMATS))


def as_array(value: Any, name: str) -> np.ndarray:
    """What is to be an array of pixels.

    Raises:
        RegionError: if it cannot be read as one
    """
    try:
        return np.asarray(value)
    except Exception as error:
        raise RegionError(f"{name} cannot be read as an array of pixels: {error}") from error


def _join_channels(values: np.ndarray) -> np.ndarray:
    if values.ndim == 3 and values.size:
        channels = values.shape[2]
        if channels in (2, 4):
            colors, alpha = _join_channels(values[..., :-1]), _join_channels(values[..., -1])
            return np.minimum(colors, alpha) if colors.any() else alpha
        if channels in (1, 3):
            is_grey = (values == values[..., :1]).all()
            values = values[..., 0] if is_grey else (values != 0).any(axis=2)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise _refused(values, "(height, width) of bool, whole numbers or floats")
    return _plane(values)


def _plane(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        pixels = values.astype(np.uint8)
        pixels *= _ON
        return pixels
    least, most = values.min(), values.max()
    if values.dtype.kind != "f":
        is_soft = least >= 0 and most == 255
        return values.astype(np.uint8) if is_soft else _plane(values != 0)
    if not (-_OVER <= least <= most < np.inf):
        raise _refused(values, "floats that are not negative; of scores, give mask > threshold")
    if most <= 1 + _OVER:
        return (values.clip(0, 1) * 255).round().astype(np.uint8)
    if 255 <= most <= 255 * (1 + _OVER):
        return values.clip(0, 255).round().astype(np.uint8)
    return _plane(values != 0)


def _refused(values: np.ndarray, expected: str) -> RegionError:
    is_number = values.size and values.dtype.kind in "biuf"
    span = f" and range [{values.min()}, {values.max()}]" if is_number else ""
    return RegionError(
        f"mask has shape {values.shape}, dtype {values.dtype}{span}: expected {expected}"
    )
