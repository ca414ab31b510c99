"""Foregrounds cut out: centred in a square, enlarged, on a plain background or on their own.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 3.1, and its released code: a
square of 1.5 times the longer side of the box, white where the mask is not and beyond the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region

_LONGEST = 1024
_QUALITY = 95


@dataclass(frozen=True)
class CropSettings:
    """How foregrounds are cut out.

    Attributes:
        share: side of the square, as a multiple of the box's longer side, at least 1
        background: red, green, blue, 0 to 255
        masked_share: of the crops, that have the background painted; the others keep theirs.
            The paper's mix is not known.
        side: least pixels of the square's side: smaller ones are enlarged
    """

    share: float = 1.5
    background: tuple[int, int, int] = (255, 255, 255)
    masked_share: float = 0.5
    side: int = 224

    def __post_init__(self) -> None:
        if not (1 <= self.share <= 10 and 0 <= self.masked_share <= 1):
            raise AlphaClipError(f"{self}: expected share 1 to 10 and masked_share 0 to 1")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise AlphaClipError(f"background is {self.background}: expected three of 0 to 255")
        if not 1 <= self.side <= _LONGEST:
            raise AlphaClipError(f"side is {self.side}: expected 1 to {_LONGEST}")


@dataclass(frozen=True)
class Crop:
    """A foreground in a square.

    Attributes:
        image: uint8 (S, S, 3)
        mask: bool (S, S)
    """

    image: np.ndarray
    mask: np.ndarray

    @property
    def region(self) -> Region:
        """The foreground."""
        return Region.from_mask(self.mask)


def cut_crop(image: np.ndarray, mask: np.ndarray, is_masked: bool, settings: CropSettings) -> Crop:
    """Cuts a foreground out.

    Args:
        image: uint8 (H, W, 3)
        mask: bool (H, W), not empty
        is_masked: whether the rest is painted over
        settings: the square and its background

    Raises:
        AlphaClipError: if the mask is empty or of another shape
    """
    if mask.shape != image.shape[:2] or not mask.any():
        raise AlphaClipError(f"mask of {mask.shape} is empty or not of its picture")
    left, top, right, bottom = Region.from_mask(mask).bounds(*mask.shape)
    side = max(1, math.ceil(settings.share * max(right - left, bottom - top)))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    ground = np.array(settings.background, np.uint8)
    shown = np.where(mask[..., None], image, ground) if is_masked else image
    square = np.broadcast_to(ground, (side, side, 3)).copy()
    inside = np.zeros((side, side), bool)
    to, source = _windows(x, y, side, mask.shape)
    square[to], inside[to] = shown[source], mask[source]
    return _scaled(square, inside, settings.side)


def encode_crop(crop: Crop) -> bytes:
    """A crop's picture as JPEG; the same crop gives the same bytes."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(crop.image).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


Window = tuple[slice, slice]


def _windows(x: int, y: int, side: int, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Where the square and the picture overlap: in the square, and in the picture."""
    top, bottom = max(0, y), min(shape[0], y + side)
    left, right = max(0, x), min(shape[1], x + side)
    return (
        (slice(top - y, bottom - y), slice(left - x, right - x)),
        (slice(top, bottom), slice(left, right)),
    )


def _scaled(image: np.ndarray, mask: np.ndarray, least: int) -> Crop:
    from PIL import Image

    side = min(_LONGEST, max(least, len(image)))
    if side == len(image):
        return Crop(image, mask)
    how = Image.Resampling.BICUBIC
    scaled = Image.fromarray(image).resize((side, side), how)
    levels = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(
        (side, side), Image.Resampling.BILINEAR
    )
    return Crop(np.asarray(scaled), np.asarray(levels) > 127)
