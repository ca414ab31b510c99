"""What the encoder sees of a region: picture and alpha map, cut and scaled by one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from threading import Lock
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
            return _whole_window(height, width)
        longer = max(right - left, bottom - top)
        return _square((left, top, right, bottom), max(self.least, round(self.context * longer)))


class Cutter:
    """Cuts regions out of one picture; several threads may do so at once.

    The window of the whole picture is scaled once, whichever regions are shown in it.

    Args:
        image: uint8 (H, W, 3)
        view: which part is shown of a region
        size: side of what is cut, in pixels
    """

    def __init__(self, image: np.ndarray, view: View, size: int) -> None:
        import torch

        self._pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        self._view = view
        self._size = size
        self._whole: Tensor | None = None
        self._lock = Lock()

    def cut(self, region: Region) -> tuple[Tensor, Tensor]:
        """Cuts and scales the picture and one region of it.

        Args:
            region: of this picture

        Returns:
            uint8 (3, size, size) picture and uint8 (1, size, size) alpha map, 0 to 255

        Raises:
            RegionError: if a mask does not have the picture's shape
            EmptyRegionError: if the region has no area inside the picture
        """
        import torch

        height, width = self._pixels.shape[1:]
        window = self._view.window(region, height, width)
        alpha = torch.from_numpy(region.alpha_window(height, width, window))[None]
        return self._picture(window), _scale(alpha, self._size, "bilinear")

    def _picture(self, window: PixelBox) -> Tensor:
        if window != _whole_window(*self._pixels.shape[1:]):
            return _cut(self._pixels, window, self._size)
        with self._lock:
            if self._whole is None:
                self._whole = _cut(self._pixels, window, self._size)
            return self._whole


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

    cutter = Cutter(image, view, size)
    cuts = [cutter.cut(region) for region in regions]
    if not cuts:
        return torch.empty(0, 3, size, size).byte(), torch.empty(0, 1, size, size).byte()
    pictures, maps = zip(*cuts, strict=True)
    return torch.stack(pictures), torch.stack(maps)


def _whole_window(height: int, width: int) -> PixelBox:
    return _square((0, 0, width, height), max(width, height))


def _square(box: PixelBox, side: int) -> PixelBox:
    left, top, right, bottom = box
    left += (right - left - side) // 2
    top += (bottom - top - side) // 2
    return left, top, left + side, top + side


def _cut(pixels: Tensor, window: PixelBox, size: int) -> Tensor:
    from torchvision.transforms.v2 import functional

    left, top, right, bottom = window
    square = functional.crop(pixels, top, left, bottom - top, right - left)
    return _scale(square, size, "bicubic")


def _scale(pixels: Tensor, size: int, interpolation: str) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    mode = InterpolationMode(interpolation)
    return functional.resize(pixels, [size, size], interpolation=mode, antialias=True)
