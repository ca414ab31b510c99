"""What the encoder sees of a region: picture and alpha map, cut and scaled by one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions import PixelBox, Region

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class View:
    """Which part of the picture is shown round a region.

    Attributes:
        kind: ``image``, the whole picture padded to a square; or ``context``, a square round the
            region. Padding is black with alpha 0, as in the paper's training; a whole-image
            region has alpha 1 over the padding too.
        context: side of the square in longer sides of the region's bounds; for ``context`` only
        least: the square is at least this many pixels wide, so that a tiny region keeps
            surroundings; for ``context`` only
    """

    kind: Literal["image", "context"] = "image"
    context: float = 1.5
    least: int = 16

    def __post_init__(self) -> None:
        if self.kind not in ("image", "context"):
            raise AlphaClipError(f"view kind is {self.kind!r}: expected 'image' or 'context'")
        if not 1.0 <= self.context <= 100.0:
            raise AlphaClipError(f"view context is {self.context}: expected 1 to 100 box sides")

    def to_dict(self) -> dict[str, Any]:
        """What decides the pixels, as JSON holds it."""
        return asdict(self) if self.kind == "context" else {"kind": self.kind}

    def window(self, region: Region, height: int, width: int) -> PixelBox:
        """The square of the picture that is shown; it may reach beyond the picture.

        Args:
            region: what is looked at
            height: of the picture
            width: of the picture

        Raises:
            EmptyRegionError: if nothing of the region is inside the picture
        """
        left, top, right, bottom = region.bounds(height, width)
        if self.kind == "image" or region.is_whole_image:
            left, top, right, bottom = 0, 0, width, height
            side = max(width, height)
        else:
            longer = max(right - left, bottom - top)
            side = max(self.least, round(self.context * longer))
        left += (right - left - side) // 2
        top += (bottom - top - side) // 2
        return left, top, left + side, top + side


def make_views(
    image: np.ndarray, regions: Sequence[Region], view: View, size: int
) -> tuple[Tensor, Tensor]:
    """Cuts and scales a picture and its regions for the encoder.

    Args:
        image: uint8 (H, W, 3)
        regions: of this picture
        view: which part is shown
        size: side of the result, in pixels

    Returns:
        uint8 (n, 3, size, size) pictures and uint8 (n, 1, size, size) alpha maps, 0 to 255

    Raises:
        RegionError: if a mask does not have the picture's shape
        EmptyRegionError: if a region has no area inside the picture
    """
    import torch

    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    pictures: dict[PixelBox, Tensor] = {}
    shown, maps = [], []
    for region in regions:
        window = view.window(region, height, width)
        if window not in pictures:
            pictures[window] = _cut(pixels, window, size)
        alpha = torch.from_numpy(region.alpha_window(height, width, window))[None]
        shown.append(pictures[window])
        maps.append(_scale(alpha, size, "bilinear"))
    if not shown:
        return torch.empty(0, 3, size, size).byte(), torch.empty(0, 1, size, size).byte()
    return torch.stack(shown), torch.stack(maps)


def _cut(pixels: Tensor, window: PixelBox, size: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    left, top, right, bottom = window
    square = functional.crop(pixels, top, left, bottom - top, right - left)
    return _scale(square, size, "bicubic")


def _scale(pixels: Tensor, size: int, interpolation: str) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    mode = InterpolationMode(interpolation)
    return functional.resize(pixels, [size, size], interpolation=mode, antialias=True)
