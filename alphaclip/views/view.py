"""What the encoder sees of a region: picture and alpha map, cut and scaled by one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import PixelBox, Region
from alphaclip.views.presenting import Backdrop, box_map, compose, crop, draw_circle

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["image", "context", "squash", "center", "readme"]
Background = Literal["kept", "mean", "blur", "gray", "black", "white"]
Alpha = Literal["region", "box", "ones"]

_CHOICES = {
    "kind": get_args(Kind),
    "background": get_args(Background),
    "marker": ("none", "circle"),
    "alpha": get_args(Alpha),
    "padding": ("black", "white"),
}


@dataclass(frozen=True)
class View:
    """Which part of the picture is shown round a region, and how.

    Attributes:
        kind: ``image``, the whole picture padded to a square; ``context``, a square round the
            region; ``squash``, the whole picture, its aspect given up; ``center``, the square in
            the middle of the picture, as wide as its shorter side; ``readme``, for the published
            README's figures only: the picture as with ``center`` but scaled before it is cut, the
            alpha map as with ``squash``, so that they do not coincide unless the picture is
            square. A whole-image region has alpha 1 over any padding too.
        context: side of the square in longer sides of the region's bounds; for ``context`` only
        least: the square is at least this many pixels wide, so that a tiny region keeps
            surroundings; for ``context`` only
        antialias: whether scaling down averages over all pixels, for picture and alpha map.
            The figures published for Alpha-CLIP are without.
        background: what is shown outside the region: ``kept``; ``mean``, CLIP's mean colour;
            ``blur``; ``gray``, without colours; ``black``; ``white``. A whole-image region has no
            outside.
        blur_sigma: standard deviation of the blur, in pixels of the original picture, whatever its
            size: 100 in ReCLIP's protocol (arXiv 2204.05991), whose pictures are COCO's, 640
            pixels long
        marker: ``circle`` draws a red ellipse round the region's bounds (Shtedritski et al. 2023,
            arXiv 2304.06712)
        alpha: the alpha map: the ``region``, the ``box`` round what is seen of it, or all ``ones``
        padding: the colour beyond the picture's borders
    """

    kind: Kind = "image"
    context: float = 1.5
    least: int = 16
    antialias: bool = True
    background: Background = "kept"
    blur_sigma: float = 100.0
    marker: Literal["none", "circle"] = "none"
    alpha: Alpha = "region"
    padding: Literal["black", "white"] = "black"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise AlphaClipError(
                    f"view {name} is {getattr(self, name)!r}: expected {', '.join(choices)}"
                )
        if not 1.0 <= self.context <= 100.0:
            raise AlphaClipError(f"view context is {self.context}: expected 1 to 100 box sides")
        if not 0.0 < self.blur_sigma <= 1000.0:
            raise AlphaClipError(f"view blur_sigma is {self.blur_sigma}: expected 0 to 1000 pixels")
        if self.kind == "readme" and self.is_painted:
            raise AlphaClipError(
                "view kind 'readme' shows picture and region misaligned, so nothing can be painted "
                "round the region: leave background 'kept' and marker 'none', or take 'center'"
            )

    @property
    def is_painted(self) -> bool:
        """Whether a region changes the pixels that are shown of the picture."""
        return self.background != "kept" or self.marker != "none"

    @property
    def is_shared(self) -> bool:
        """Whether all regions of a picture are shown in the same pixels."""
        return self.kind != "context" and not self.is_painted

    @property
    def padding_value(self) -> int:
        """The grey beyond the picture's borders, 0 to 255."""
        return 255 if self.padding == "white" else 0

    def to_dict(self) -> dict[str, Any]:
        """What decides the pixels, as JSON holds it: the kind, and what is not the default."""
        content: dict[str, Any] = {"kind": self.kind}
        if self.kind == "context":
            content |= {"context": self.context, "least": self.least}
        left_out = {"kind", "context", "least"}
        if self.background != "blur":
            left_out.add("blur_sigma")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in left_out and value != field.default:
                content[field.name] = value
        return content

    def window(self, region: Region, height: int, width: int) -> PixelBox:
        """The part of the picture that is shown; it may reach beyond the picture.

        Args:
            region: what is looked at
            height: of the picture
            width: of the picture

        Returns:
            left, top, right, bottom in pixels; a square, except for ``squash``

        Raises:
            EmptyRegionError: if nothing of the region is inside the picture
        """
        left, top, right, bottom = region.bounds(height, width)
        if self.kind != "context" or region.is_whole_image:
            return self.whole_window(height, width)
        longer = max(right - left, bottom - top)
        return _square((left, top, right, bottom), max(self.least, round(self.context * longer)))

    def whole_window(self, height: int, width: int) -> PixelBox:
        """What a whole-image region shows of a picture, see `window`."""
        if self.kind == "squash":
            return 0, 0, width, height
        if self.kind in ("center", "readme"):
            side = min(height, width)
            left, top = width // 2 - side // 2, height // 2 - side // 2
            return left, top, left + side, top + side
        return _square((0, 0, width, height), max(width, height))


class Cutter:
    """Cuts regions out of one picture; several threads may do so at once.

    Backgrounds and markers are painted in the picture's own pixels, inside the window that is
    shown, before it is scaled. That is what the published protocols do, and the region drawn in
    that window says both where to paint and what the alpha map is, so that there is one geometry.
    The window of the whole picture is scaled once, whichever regions are shown in it; its tensor
    is then one object for all of them.

    Args:
        image: uint8 (H, W, 3)
        view: which part is shown of a region
        size: side of what is cut, in pixels
        keep_tiny: whether a region that scaling down loses keeps the one pixel at its middle
    """

    def __init__(self, image: np.ndarray, view: View, size: int, keep_tiny: bool = False) -> None:
        import torch

        self._pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        self._backdrop = Backdrop(self._pixels, view.background, view.blur_sigma)
        self._view = view
        self._size = size
        self._keep_tiny = keep_tiny
        self._whole: Tensor | None = None
        self._lock = Lock()

    def cut(self, region: Region) -> tuple[Tensor, Tensor]:
        """Cuts and scales the picture and one region of it.

        Args:
            region: of this picture

        Returns:
            uint8 (3, size, size) picture and uint8 (1, size, size) alpha map, 0 to 255; the map
            is 0 where a region lies beyond the middle that ``center`` shows

        Raises:
            RegionError: if a mask does not have the picture's shape
            EmptyRegionError: if the region has no area inside the picture
        """
        height, width = self._pixels.shape[1:]
        window = self._view.window(region, height, width)
        mapped = (0, 0, width, height) if self._view.kind == "readme" else window
        shape = region.alpha_window(height, width, mapped)
        return self._picture(region, window, shape), self._alpha(shape)

    def _alpha(self, shape: np.ndarray) -> Tensor:
        import torch

        if self._view.alpha == "box":
            shape = box_map(shape)
        elif self._view.alpha == "ones":
            shape = np.full_like(shape, 255)
        alpha = _scale(torch.from_numpy(shape)[None], [self._size] * 2, "bilinear", self._view)
        if self._keep_tiny and shape.any() and not alpha.any():
            middle = np.argwhere(shape).mean(axis=0) * self._size / shape.shape
            row, column = middle.astype(int).tolist()
            alpha[0, row, column] = 255
        return alpha

    def _picture(self, region: Region, window: PixelBox, shape: np.ndarray) -> Tensor:
        if self._view.is_painted and not region.is_whole_image:
            return _scale(self._painted(window, shape), [self._size] * 2, "bicubic", self._view)
        if window != self._view.whole_window(*self._pixels.shape[1:]):
            return _cut(self._pixels, window, self._size, self._view)
        with self._lock:
            if self._whole is None:
                self._whole = _cut(self._pixels, window, self._size, self._view)
            return self._whole

    def _painted(self, window: PixelBox, shape: np.ndarray) -> Tensor:
        pixels = crop(self._pixels, window, self._view.padding_value)
        if self._view.background != "kept":
            behind = self._backdrop.behind(window, self._view.padding_value)
            pixels = compose(pixels, behind, shape)
        return draw_circle(pixels, shape) if self._view.marker == "circle" else pixels


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


def _square(box: PixelBox, side: int) -> PixelBox:
    left, top, right, bottom = box
    left += (right - left - side) // 2
    top += (bottom - top - side) // 2
    return left, top, left + side, top + side


def _cut(pixels: Tensor, window: PixelBox, size: int, view: View) -> Tensor:
    from torchvision.transforms.v2 import functional

    if view.kind != "readme":
        return _scale(crop(pixels, window, view.padding_value), [size, size], "bicubic", view)
    return functional.center_crop(_scale(pixels, [size], "bicubic", view), [size, size])


def _scale(pixels: Tensor, size: list[int], interpolation: str, view: View) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    mode = InterpolationMode(interpolation)
    if view.antialias:
        return functional.resize(pixels, size, interpolation=mode, antialias=True)
    # As floats: for bytes PyTorch has another bicubic, up to 20 levels from the reference's.
    scaled = functional.resize(pixels.float(), size, interpolation=mode, antialias=False)
    return scaled.round().clamp(0, 255).byte()
