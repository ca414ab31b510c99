"""What is painted into a picture to show a region: another background, or a line round it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from alphaclip.regions.region import PixelBox

if TYPE_CHECKING:
    from torch import Tensor

RED = (255, 0, 0)
LINE = 2 / 224
"""Width of the line round a region, in sides of what is shown: 2 pixels where 224 are encoded."""


class Backdrop:
    """What a picture's regions are shown in front of; made once, when it is first asked for.

    Args:
        pixels: uint8 (3, H, W), the picture
        kind: a background of `alphaclip.views.view.View`, other than ``kept``
        blur_sigma: in pixels of the picture
    """

    def __init__(self, pixels: Tensor, kind: str, blur_sigma: float) -> None:
        self._pixels = pixels
        self._kind = kind
        self._blur_sigma = blur_sigma
        self._altered: Tensor | None = None
        self._lock = Lock()

    def behind(self, window: PixelBox, padding: int) -> Tensor:
        """The part of it in a window that may reach beyond the picture.

        Args:
            window: left, top, right, bottom in pixels
            padding: 0 to 255, the grey beyond an altered picture; a plain colour has no borders

        Returns:
            uint8 (3, bottom - top, right - left)
        """
        if self._kind in ("blur", "gray"):
            return crop(self._whole(), window, padding)
        import torch

        left, top, right, bottom = window
        colour = torch.tensor(_colour(self._kind), dtype=torch.uint8)
        return colour.view(3, 1, 1).expand(3, bottom - top, right - left)

    def _whole(self) -> Tensor:
        with self._lock:
            if self._altered is None:
                self._altered = self._alter()
            return self._altered

    def _alter(self) -> Tensor:
        image = _to_image(self._pixels)
        if self._kind == "gray":
            return _to_pixels(image.convert("L").convert("RGB"))
        return _to_pixels(image.filter(ImageFilter.GaussianBlur(self._blur_sigma)))


def crop(pixels: Tensor, window: PixelBox, padding: int) -> Tensor:
    """Cuts a window that may reach beyond the picture.

    Args:
        pixels: uint8 (3, H, W)
        window: left, top, right, bottom in pixels; some of it is inside the picture
        padding: 0 to 255, the grey beyond the picture

    Returns:
        uint8 (3, bottom - top, right - left)
    """
    from torchvision.transforms.v2 import functional

    left, top, right, bottom = window
    height, width = pixels.shape[1:]
    inside = pixels[:, max(0, top) : bottom, max(0, left) : right]
    beyond = [max(0, -left), max(0, -top), max(0, right - width), max(0, bottom - height)]
    return functional.pad(inside, beyond, fill=padding) if any(beyond) else inside


def compose(pixels: Tensor, behind: Tensor, shape: np.ndarray) -> Tensor:
    """Shows a region in front of something else; its soft edges mix the two.

    Args:
        pixels: uint8 (3, h, w)
        behind: uint8 (3, h, w)
        shape: uint8 (h, w), 255 where the region is

    Returns:
        uint8 (3, h, w)
    """
    front, back = _to_image(pixels), _to_image(behind)
    return _to_pixels(Image.composite(front, back, Image.fromarray(shape)))


def draw_circle(pixels: Tensor, shape: np.ndarray) -> Tensor:
    """Draws a red ellipse through the corners of a region's bounds, which so lie inside it.

    Source: Shtedritski et al. 2023 (arXiv 2304.06712). The width of the line is ours, see `LINE`.

    Args:
        pixels: uint8 (3, h, w)
        shape: uint8 (h, w), not 0 where the region is

    Returns:
        uint8 (3, h, w)
    """
    box = _bounds(shape)
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


def box_map(shape: np.ndarray) -> np.ndarray:
    """The box round a region: uint8, 255 in the tight bounds of what is not 0 in ``shape``."""
    canvas, box = np.zeros_like(shape), _bounds(shape)
    if box is not None:
        left, top, right, bottom = box
        canvas[top:bottom, left:right] = 255
    return canvas


def _bounds(shape: np.ndarray) -> PixelBox | None:
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _colour(kind: str) -> tuple[int, ...]:
    from open_clip import OPENAI_DATASET_MEAN

    plain = {"black": (0, 0, 0), "white": (255, 255, 255)}
    return plain.get(kind) or tuple(round(255 * value) for value in OPENAI_DATASET_MEAN)


def _to_image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _to_pixels(image: Image.Image) -> Tensor:
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
