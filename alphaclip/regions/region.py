"""A region of a picture: a box, a mask, a polygon, or the whole picture."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from alphaclip.errors import EmptyRegionError, RegionError
from alphaclip.regions.masks import as_array, mask_bytes
from alphaclip.regions.polygons import FARTHEST, check_outline, read_rings
from alphaclip.regions.rle import decode_rle

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""

_BORDER = 1e-6
"""Share of a pixel by which a coordinate may miss a pixel border and still count as on it."""

_LEAST_PLAIN = 1e-4
"""The least number that Python writes without an exponent."""

_FLAT = 1e-12
"""Share of its longest side's square that a ring's triangles span where its points are in line."""

_RELATIVE = "relative [x, y, w, h] in [0, 1]: divide pixel values by the image's width and height"


@dataclass(frozen=True, eq=False)
class Region:
    """What to look at in a picture; made by the ``from_`` methods.

    A box covers every pixel that it touches, so that a thin one keeps at least one pixel, and is
    clipped to the picture. A polygon covers the pixels that PIL's polygon fill gives, rings
    combined by the even-odd rule. Masks keep their soft edges.

    Attributes:
        box: relative ``[x, y, w, h]`` of a box, or of the box that an instance mask fills
        mask: uint8 (H, W), 0 to 255
        rings: float64 (N, 2) arrays of relative ``(x, y)`` points
    """

    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None
    rings: tuple[np.ndarray, ...] = ()

    @classmethod
    def from_box(cls, box: Sequence[float]) -> Region:
        """A box as FiftyOne has it: ``[x, y, w, h]``, relative, origin top left.

        Raises:
            RegionError: if it is not four finite numbers, has a negative side, or lies more than
                10,000 image sides away
            EmptyRegionError: if it has no area
        """
        return cls(box=_check_box(box))

    @classmethod
    def from_mask(cls, mask: Any, box: Sequence[float] | None = None) -> Region:
        """A mask of the whole picture, or of what is in a box.

        Args:
            mask: on where it is not zero, see :mod:`alphaclip.regions.masks`: bool, whole numbers
                or floats, (H, W) or with channels; with soft edges if it is float in [0, 1] or
                its largest value is 255
            box (None): FiftyOne's instance masks are stretched over this box; without one, the
                mask has the picture's shape

        Raises:
            RegionError: naming the shape, dtype and range it got
        """
        return cls(box=None if box is None else _check_box(box), mask=mask_bytes(mask))

    @classmethod
    def from_polygon(cls, points: Sequence[Any]) -> Region:
        """A filled polygon.

        Args:
            points: relative ``[x, y]`` points, or several lists of them (even-odd rule); a list
                of fewer than three beside others is left out

        Raises:
            RegionError: if no ring has three points, a point is not two finite numbers, or the
                outline is longer than any is
            EmptyRegionError: if the points of every ring are in line, or all the same
        """
        rings = read_rings(points)
        if not rings:
            raise RegionError(
                f"polygon is {points!r:.120}: expected at least three [x, y] points in a ring"
            )
        check_outline(rings)
        if all(map(_is_flat, rings)):
            raise EmptyRegionError(
                f"polygon with {len(rings)} ring(s) has no area: the points of each are in line"
            )
        return cls(rings=rings)

    @classmethod
    def from_rle(cls, rle: Mapping[str, Any]) -> Region:
        """A COCO RLE of the picture's size, see :func:`alphaclip.regions.rle.decode_rle`."""
        return cls(mask=decode_rle(rle) * np.uint8(255))

    @classmethod
    def from_rgba(cls, image: Any) -> Region:
        """The alpha channel of a PIL image or of a uint8 (H, W, 4) array.

        Raises:
            RegionError: if there is no alpha channel
        """
        pixels = as_array(image, "image")
        if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
            raise RegionError(
                f"image has shape {pixels.shape} and dtype {pixels.dtype}: expected uint8 "
                "(height, width, 4), with the alpha channel last"
            )
        return cls(mask=pixels[..., 3].copy())

    @classmethod
    def whole_image(cls) -> Region:
        """The whole picture: all-ones alpha, over any padding too (paper section 3.2)."""
        return cls()

    @property
    def is_whole_image(self) -> bool:
        """Whether this is :meth:`whole_image`."""
        return self.box is None and self.mask is None and not self.rings

    def alpha_map(self, height: int, width: int) -> np.ndarray:
        """The region in a picture of this size: uint8 (height, width), 0 to 255.

        Raises:
            RegionError: if the mask has another shape than the picture
        """
        return self.alpha_window(height, width, (0, 0, width, height))

    def alpha_window(self, height: int, width: int, window: PixelBox) -> np.ndarray:
        """The part of :meth:`alpha_map` in a window that may reach beyond the picture, where it
        is 0 (255 for a whole picture)."""
        return self.in_picture(height, width).window(window)

    def bounds(self, height: int, width: int) -> PixelBox:
        """The pixel box round everything that is not zero, clipped to the picture.

        Raises:
            EmptyRegionError: if nothing of the region is inside the picture
        """
        return self.in_picture(height, width).bounds

    def in_picture(self, height: int, width: int) -> Drawn:
        """The region in a picture of this size, for those who ask for more than one thing."""
        return Drawn(self, height, width)

    def digest(self) -> str:
        """A hex digest of the geometry: equal for equal regions, in any process."""
        return text_digest(repr((self.box, [r.tolist() for r in self.rings])), self.mask)


class Drawn:
    """A region in a picture of one size; its mask is stretched to it once.

    Args:
        region: what to draw
        height, width: of the picture, in pixels
    """

    def __init__(self, region: Region, height: int, width: int) -> None:
        self.region = region
        self.height = height
        self.width = width

    @cached_property
    def filled(self) -> PixelBox | None:
        """The pixels of a box, which it fills; None for any other region.

        Raises:
            EmptyRegionError: if it lies outside the picture
        """
        if self.region.box is None or self.region.mask is not None:
            return None
        return _pixel_box(self.region.box, self.height, self.width)

    @cached_property
    def bounds(self) -> PixelBox:
        """See :meth:`Region.bounds`."""
        if self.region.is_whole_image:
            return 0, 0, self.width, self.height
        if self.filled is not None:
            return self.filled
        if self.region.rings:
            points = np.concatenate(self.region.rings)
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            box = _pixel_box((x0, y0, x1 - x0, y1 - y0), self.height, self.width)
            pixels = self.window(box)
        else:
            pixels, box = self._stamp
        tight = tight_box(pixels)
        if tight is None:
            raise EmptyRegionError(
                "region has no area: its mask is zero everywhere inside the image"
            )
        left, top = box[:2]
        return left + tight[0], top + tight[1], left + tight[2], top + tight[3]

    def window(self, window: PixelBox) -> np.ndarray:
        """See :meth:`Region.alpha_window`."""
        left, top, right, bottom = window
        canvas = np.zeros((bottom - top, right - left), np.uint8)
        if self.region.is_whole_image:
            canvas[:] = 255
        elif self.region.rings:
            self._draw_rings(canvas, left, top)
        elif (box := self.filled_in(window)) is not None:
            canvas[box[1] : box[3], box[0] : box[2]] = 255
        else:
            pixels, box = self._stamp
            rows, columns = canvas.shape
            x, y = box[0] - left, box[1] - top
            inside = pixels[max(0, -y) : max(0, rows - y), max(0, -x) : max(0, columns - x)]
            row, column = max(0, y), max(0, x)
            canvas[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
        return canvas

    def filled_in(self, window: PixelBox) -> PixelBox | None:
        """The part of `filled` in a window, in the window's pixels; all 0 where none is in it."""
        if self.filled is None:
            return None
        left, top, right, bottom = window
        box = [a - b for a, b in zip(self.filled, (left, top, left, top), strict=True)]
        x0, x1 = (min(max(0, x), right - left) for x in box[::2])
        y0, y1 = (min(max(0, y), bottom - top) for y in box[1::2])
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else (0, 0, 0, 0)

    @cached_property
    def _stamp(self) -> tuple[np.ndarray, PixelBox]:
        """The pixels of a mask, and where they go."""
        box, height, width = self.region.box, self.height, self.width
        mask = np.zeros((0, 0), np.uint8) if self.region.mask is None else self.region.mask
        if box is None:
            if mask.shape != (height, width):
                raise RegionError(
                    f"mask has shape {mask.shape}, image is {(height, width)}: give the mask the "
                    "image's shape; stretch one of the whole image over it with "
                    "Region.from_mask(mask, box=[0, 0, 1, 1]), or pass the box that it covers"
                )
            return mask, (0, 0, width, height)
        pixels = left, top, right, bottom = _pixel_box(box, height, width)
        # Of the mask, the part that lies over the pixels of the box, clipped to the picture.
        x, y, w, h = box
        rows, columns = mask.shape
        source = (
            _clamp((left / width - x) / w * columns, columns),
            _clamp((top / height - y) / h * rows, rows),
            _clamp((right / width - x) / w * columns, columns),
            _clamp((bottom / height - y) / h * rows, rows),
        )
        stretched = Image.fromarray(mask).resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR, box=source
        )
        return np.asarray(stretched), pixels

    def _draw_rings(self, canvas: np.ndarray, left: int, top: int) -> None:
        shape, height, width = canvas.shape[::-1], self.height, self.width
        for ring in self.region.rings:
            # Whole pixels, cut off towards zero, are what PIL makes of points. Only rows are left
            # out before the ring: PIL's rounding depends on the columns.
            points = np.trunc(ring * (width, height) - (left, top)).astype(np.int64)
            y0 = int(points[:, 1].min().clip(0, shape[1]))
            x1, y1 = (points.max(axis=0) + 1).clip(0, shape).tolist()
            if not x1 or y0 >= y1:
                continue
            plane = Image.new("1", (x1, y1 - y0))
            ImageDraw.Draw(plane).polygon((points - (0, y0)).ravel().tolist(), fill=1)
            canvas[y0:y1, :x1] ^= np.asarray(plane).astype(np.uint8) * np.uint8(255)
        rows, columns = np.arange(canvas.shape[0]) + top, np.arange(canvas.shape[1]) + left
        canvas[(rows < 0) | (rows >= height)] = 0
        canvas[:, (columns < 0) | (columns >= width)] = 0


def usable_boxes(boxes: np.ndarray) -> np.ndarray:
    """Which of many boxes, float64 (n, 4), :meth:`Region.from_box` takes: bool (n,)."""
    usable: np.ndarray = (np.abs(boxes) <= FARTHEST).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    return usable


def box_texts(boxes: np.ndarray) -> list[str]:
    """Of many usable boxes, float64 (n, 4), the texts that :func:`text_digest` takes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [pa.array(column).cast(pa.string()) for column in boxes.T.copy()]
    joined = pc.binary_join_element_wise(*columns, ", ").to_pylist()
    texts = [f"(({box}), [])" for box in joined]
    # Arrow takes a quarter of the time, and writes all other numbers as Python does
    differs = (np.abs(boxes) < _LEAST_PLAIN) | (boxes == np.trunc(boxes))
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        texts[row] = repr((tuple(boxes[row].tolist()), []))
    return texts


def text_digest(geometry: str, mask: np.ndarray | None = None) -> str:
    """The :meth:`Region.digest` of a region, from a text of its box and rings."""
    content = hashlib.sha256(geometry.encode())
    if mask is not None:
        content.update(repr(mask.shape).encode())
        content.update(np.ascontiguousarray(mask).reshape(-1).data)
    return content.hexdigest()[:32]


def _check_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = map(float, box)
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionError(f"box is {box!r:.120}: expected four numbers [x, y, w, h]") from error
    # Nearly all of the millions that are read: what is wrong with a box is looked into below
    if abs(x) <= FARTHEST and abs(y) <= FARTHEST and 0 < w <= FARTHEST and 0 < h <= FARTHEST:
        return x, y, w, h
    if not all(map(math.isfinite, (x, y, w, h))) or w < 0 or h < 0:
        raise RegionError(
            f"box is {[x, y, w, h]}: expected finite [x, y, w, h], relative to the image, with "
            "sides that are not negative"
        )
    if max(abs(x), abs(y), w, h) > FARTHEST:
        raise RegionError(f"box is {[x, y, w, h]}, far outside the image: boxes are {_RELATIVE}")
    raise EmptyRegionError(f"box {[x, y, w, h]} has no area: its width or height is 0")


def _is_flat(ring: np.ndarray) -> bool:
    """Whether all points are in line; a figure of eight is not, though its halves cancel out."""
    arms = ring - ring[0]
    longest = arms[np.argmax((arms**2).sum(axis=1))]
    spanned = np.abs(arms[:, 0] * longest[1] - arms[:, 1] * longest[0])
    return bool(spanned.max() <= _FLAT * (longest**2).sum())


def _clamp(value: float, most: int) -> float:
    return min(max(0.0, value), float(most))


def _pixel_box(box: Sequence[float], height: int, width: int) -> PixelBox:
    x, y, w, h = box
    left, top = math.floor(x * width + _BORDER), math.floor(y * height + _BORDER)
    right = max(left + 1, math.ceil((x + w) * width - _BORDER))
    bottom = max(top + 1, math.ceil((y + h) * height - _BORDER))
    clipped = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise EmptyRegionError(
            f"box {list(map(float, box))} lies outside the image: boxes are {_RELATIVE}"
        )
    return clipped


def tight_box(pixels: np.ndarray) -> PixelBox | None:
    """The box round what is not zero in an array (H, W); None if everything is."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
