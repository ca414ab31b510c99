"""What a language model is shown of a region: one or two pictures, and where it is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.regions.region import Region
from alphaclip.views.cutter import Cutter
from alphaclip.views.view import View

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, relative to a picture."""


@dataclass(frozen=True)
class Shown:
    """A region as a model is shown it.

    Attributes:
        pictures: uint8 (S, S, 3) each
        alpha: uint8 (1, S, S), the alpha map of the first
        box: of the region in the first
    """

    pictures: tuple[np.ndarray, ...]
    alpha: Tensor
    box: Box


class Showing:
    """Shows regions of one picture.

    Args:
        image: uint8 (H, W, 3)
        views: of the pictures that are shown of a region
        size: of each, in pixels
    """

    def __init__(self, image: np.ndarray, views: Sequence[View], size: int) -> None:
        self._shape = image.shape[:2]
        self._views = views
        self._cutters = [Cutter(image, view, size, keep_tiny=True) for view in views]

    def show(self, region: Region) -> Shown:
        """Shows one region.

        Raises:
            RegionError: if a mask does not have the picture's shape
            EmptyRegionError: if the region has no area inside the picture
        """
        cuts = [cutter.cut(region) for cutter in self._cutters]
        pictures = tuple(pixels.permute(1, 2, 0).numpy() for pixels, _ in cuts)
        return Shown(pictures, cuts[0][1], self._box(region))

    def _box(self, region: Region) -> Box:
        drawn = region.in_picture(*self._shape)
        left, top, right, bottom = self._views[0].window_round(drawn)
        corners = np.reshape(drawn.bounds, (2, 2)) - (left, top)
        shares = np.clip(corners / (right - left, bottom - top), 0, 1)
        x0, y0, x1, y1 = shares.ravel().tolist()
        return x0, y0, x1, y1


def show_nothing(views: Sequence[View], size: int) -> Shown:
    """A grey picture, all of it as the region: what a model says of it says nothing of regions."""
    grey = np.full((size, size, 3), 128, np.uint8)
    return Showing(grey, views, size).show(Region.whole_image())
