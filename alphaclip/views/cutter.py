"""What the encoder sees of a region: picture and alpha map, painted, cut and scaled.

Both go through one geometry. Another background, or a line round a region, is painted into the
picture's own pixels before they are scaled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Drawn, PixelBox, Region, tight_box
from alphaclip.views.view import View, cover

if TYPE_CHECKING:
    from torch import Tensor

RED = (255, 0, 0)
LINE = 2 / 224
"""Width of the line round a region, in sides of what is shown: 2 pixels where 224 are encoded."""


class Cutter:
    """Cuts regions out of one picture; several threads may do so at once.

    Backgrounds and markers are painted in the picture's own pixels, inside the window that is
    shown, before it is scaled. That is what the published protocols do, and the region drawn in
    that window says both where to paint and what the alpha map is, so that there is one geometry.
    A window that several regions are shown in is scaled once; its tensor is then one object for all
    of them.

    Args:
        image: uint8 (H, W, 3)
        view: which part is shown of a region
        size: side of what is cut, in pixels; see `View.scaled`
        keep_tiny: whether a region that scaling down loses keeps the one pixel at its middle
        regions: all that will be cut, which decide the windows of a view that covers them
    """

    def __init__(
        self,
        image: np.ndarray,
        view: View,
        size: int,
        keep_tiny: bool = False,
        regions: Sequence[Region] = (),
    ) -> None:
        self._image = image
        self._backdrop = Backdrop(image, view)
        self._view = view
        self._size = size
        self._keep_tiny = keep_tiny
        self._windows: Mapping[PixelBox, PixelBox] = {}
        shared = [view.whole_window(*image.shape[:2])]
        if view.kind == "cover":
            bounds = self._bounds(regions)
            self._windows = cover(bounds, view, *image.shape[:2])
            shown = Counter(self._windows[box] for box in bounds)
            shared += [window for window, count in shown.items() if count > 1]
        self._pictures: dict[PixelBox, Tensor | None] = dict.fromkeys(shared)
        self._lock = Lock()

    def cut(self, region: Region) -> tuple[Tensor, Tensor]:
        """Cuts and scales the picture and one region of it.

        Returns:
            uint8 (3, size, size) picture and uint8 (1, size, size) alpha map, 0 to 255, of another
            shape where the view is ``native``; the map is 0 where a region lies beyond the middle
            that ``center`` shows

        Raises:
            RegionError: if a mask does not have the picture's shape
            EmptyRegionError: if the region has no area inside the picture
        """
        height, width = self._image.shape[:2]
        drawn = region.in_picture(height, width)
        window = self._window(drawn)
        mapped = (0, 0, width, height) if self._view.kind == "readme" else window
        draw = cache(partial(drawn.window, mapped))
        return self._picture(drawn.region, window, draw), self._alpha(drawn, mapped, draw)

    def windows(self, regions: Sequence[Region]) -> list[PixelBox]:
        """Where regions are shown: all 0 for those that cannot be."""
        windows = []
        for region in regions:
            try:
                windows.append(self._window(region.in_picture(*self._image.shape[:2])))
            except AlphaClipError:
                windows.append((0, 0, 0, 0))
        return windows

    def _window(self, drawn: Drawn) -> PixelBox:
        if self._windows and not drawn.region.is_whole_image and drawn.bounds in self._windows:
            return self._windows[drawn.bounds]
        return self._view.window_round(drawn)

    def _bounds(self, regions: Sequence[Region]) -> list[PixelBox]:
        bounds = []
        for region in regions:
            # One that cannot be drawn is told of when it is cut.
            with suppress(AlphaClipError):
                bounds.append(region.bounds(*self._image.shape[:2]))
        return bounds

    def _alpha(self, drawn: Drawn, window: PixelBox, draw: Callable[[], np.ndarray]) -> Tensor:
        import torch

        view, (left, top, right, bottom) = self._view, window
        shape, scaled = (bottom - top, right - left), view.scaled(window, self._size)
        if view.alpha == "ones" or drawn.region.is_whole_image:
            box: PixelBox | None = (0, 0, right - left, bottom - top)
        else:
            box = drawn.filled_in(window)
            if box is None and view.alpha == "box":
                box = tight_box(draw()) or (0, 0, 0, 0)
        if box is not None:
            alpha = _scale_box(box, shape, scaled, view)
        else:
            alpha = _scale(torch.from_numpy(draw())[None], scaled, "bilinear", view)
        if self._keep_tiny and not alpha.any():
            inside = np.argwhere(draw() if box is None else _fill(box, shape))
            if len(inside):
                middle = inside.mean(axis=0) * scaled / shape
                row, column = middle.astype(int).tolist()
                alpha[0, row, column] = 255
        return alpha

    def _picture(self, region: Region, window: PixelBox, draw: Callable[[], np.ndarray]) -> Tensor:
        from torchvision.transforms.v2 import functional

        view, shape = self._view, self._view.scaled(window, self._size)
        if view.is_painted and not region.is_whole_image:
            return _scale(self._painted(window, draw()), shape, view.scaling, view)
        is_shared = window in self._pictures
        with self._lock if is_shared else nullcontext():
            known = self._pictures.get(window)
            if known is not None:
                return known
            if view.kind == "readme":
                scaled = _scale(_to_pixels(self._image), shape[:1], view.scaling, view)
                picture = functional.center_crop(scaled, shape)
            else:
                part = _crop(self._image, window, view.padding_value)
                picture = _scale(part, shape, view.scaling, view)
            if is_shared:
                self._pictures[window] = picture
            return picture

    def _painted(self, window: PixelBox, shape: np.ndarray) -> Tensor:
        """The pixels of a window with the view's background, or a line round the region."""
        pixels = _crop(self._image, window, self._view.padding_value)
        if self._view.background != "kept":
            # Its soft edges mix the two.
            front, back = _to_image(pixels), _to_image(self._backdrop.behind(window))
            pixels = _to_pixels(Image.composite(front, back, Image.fromarray(shape)))
        return _draw_circle(pixels, shape) if self._view.marker == "circle" else pixels


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
        AlphaClipError: if the view shows regions at their own aspect
    """
    import torch

    if view.kind == "native":
        raise AlphaClipError(
            "view kind 'native' gives each region a shape of its own: take 'context'"
        )
    cutter = Cutter(image, view, size, regions=regions)
    cuts = [cutter.cut(region) for region in regions]
    if not cuts:
        return torch.empty(0, 3, size, size).byte(), torch.empty(0, 1, size, size).byte()
    pictures, maps = zip(*cuts, strict=True)
    return torch.stack(pictures), torch.stack(maps)


def _scale(pixels: Tensor, size: list[int], interpolation: str, view: View) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    mode = InterpolationMode(interpolation)
    if view.antialias:
        return functional.resize(pixels, size, interpolation=mode, antialias=True)
    # As floats: for bytes PyTorch has another bicubic, up to 20 levels from the reference's.
    scaled = functional.resize(pixels.float(), size, interpolation=mode, antialias=False)
    return scaled.round().clamp(0, 255).byte()


class Backdrop:
    """What a picture's regions are shown in front of; made once, when it is first asked for."""

    def __init__(self, image: np.ndarray, view: View) -> None:
        self._image = image
        self._view = view
        self._altered: np.ndarray | None = None
        self._lock = Lock()

    def behind(self, window: PixelBox) -> Tensor:
        """The part of it in a window that may reach beyond the picture, where an altered picture
        is padded and a plain colour has no borders: uint8 (3, bottom - top, right - left)."""
        import torch
        from open_clip import OPENAI_DATASET_MEAN

        kind = self._view.background
        if kind in ("blur", "gray"):
            with self._lock:
                if self._altered is None:
                    image = Image.fromarray(self._image)
                    if kind == "gray":
                        altered = image.convert("L").convert("RGB")
                    else:
                        altered = image.filter(ImageFilter.GaussianBlur(self._view.blur_sigma))
                    self._altered = np.asarray(altered)
                return _crop(self._altered, window, self._view.padding_value)
        mean = tuple(round(255 * value) for value in OPENAI_DATASET_MEAN)
        colour = {"black": (0, 0, 0), "white": (255, 255, 255)}.get(kind, mean)
        left, top, right, bottom = window
        plane = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
        return plane.expand(3, bottom - top, right - left)


def _scale_box(box: PixelBox, shape: tuple[int, int], size: list[int], view: View) -> Tensor:
    """What `_scale` makes of a map that is 255 in a box and 0 elsewhere: uint8 (1, *size).

    Its rows are alike, so one is scaled across; then its columns down, one of each run of equals.
    """
    import torch

    if not view.antialias:
        return _scale(torch.from_numpy(_fill(box, shape))[None], size, "bilinear", view)
    left, top, right, bottom = box
    row = np.zeros((1, 1, shape[1]), np.uint8)
    row[..., left:right] = 255
    across = _scale(torch.from_numpy(row), [1, size[1]], "bilinear", view).numpy().ravel()
    starts = np.flatnonzero(np.diff(across, prepend=~across[:1]))
    few = np.zeros((1, shape[0], len(starts)), np.uint8)
    few[:, top:bottom] = across[starts]
    down = _scale(torch.from_numpy(few), [size[0], len(starts)], "bilinear", view)
    return torch.from_numpy(np.repeat(down.numpy(), np.diff(starts, append=size[1]), axis=2))


def _fill(box: PixelBox, shape: tuple[int, int]) -> np.ndarray:
    left, top, right, bottom = box
    filled = np.zeros(shape, np.uint8)
    filled[top:bottom, left:right] = 255
    return filled


def _crop(image: np.ndarray, window: PixelBox, padding: int) -> Tensor:
    """Cuts a window that may reach beyond the picture, where it is of one grey, 0 to 255.

    The part lies in one piece, pixel by pixel, as scaling is quick with: in a view of the picture
    PyTorch would gather it anew, channel by channel.
    """
    left, top, right, bottom = window
    height, width = image.shape[:2]
    part = image[max(0, top) : bottom, max(0, left) : right]
    if min(left, top) < 0 or right > width or bottom > height:
        padded = np.empty((bottom - top, right - left, 3), np.uint8)
        row, column = max(0, -top), max(0, -left)
        rows = slice(row, row + part.shape[0])
        padded[:row] = padded[rows.stop :] = padding
        padded[rows, :column] = padded[rows, column + part.shape[1] :] = padding
        padded[rows, column : column + part.shape[1]] = part
        part = padded
    return _to_pixels(part)


def _draw_circle(pixels: Tensor, shape: np.ndarray) -> Tensor:
    """Draws a red ellipse through the corners of a region's bounds, which so lie inside it.

    Source: Shtedritski et al. 2023 (arXiv 2304.06712). The width of the line is ours, see `LINE`.
    """
    box = tight_box(shape)
    if box is None:
        return pixels
    left, top, right, bottom = box
    line = max(1, round(max(shape.shape) * LINE))
    x, y = (left + right - 1) / 2, (top + bottom - 1) / 2
    wide, high = (right - left) / 2**0.5 + line, (bottom - top) / 2**0.5 + line
    image = _to_image(pixels)
    around = tuple(map(round, (x - wide, y - high, x + wide, y + high)))
    ImageDraw.Draw(image).ellipse(around, outline=RED, width=line)
    return _to_pixels(image)


def _to_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _to_pixels(image: np.ndarray | Image.Image) -> Tensor:
    import torch

    return torch.from_numpy(np.require(image, np.uint8, ["C", "W"])).permute(2, 0, 1)
