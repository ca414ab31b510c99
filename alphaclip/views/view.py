"""Which part of a picture an encoder is shown of a region, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Drawn, PixelBox, Region

Kind = Literal["image", "context", "native", "cover", "squash", "center", "readme"]
Background = Literal["kept", "mean", "blur", "gray", "black", "white"]
Alpha = Literal["region", "box", "ones"]

_CHOICES = {
    "kind": get_args(Kind),
    "background": get_args(Background),
    "marker": ("none", "circle"),
    "alpha": get_args(Alpha),
    "padding": ("black", "white"),
    "scaling": ("bicubic", "bilinear"),
}


@dataclass(frozen=True)
class View:
    """Which part of the picture is shown round a region, and how.

    Attributes:
        kind: ``image``, the whole picture padded to a square; ``context``, a square round the
            region; ``native``, the region at its own aspect, for NaFlex; ``cover``, few squares,
            each for all regions in it, that show no region too small, see `cover`; ``squash``, the
            whole picture, its aspect given up; ``center``, the square in the middle of the
            picture, as wide as its shorter side; ``readme``, for the published README's figures
            only: the picture as with ``center`` but scaled before it is cut, the alpha map as with
            ``squash``, so that they do not coincide unless the picture is square. A whole-image
            region has alpha 1 over any padding too.
        context: side of the square in longer sides of the region's bounds, for ``context``; sides
            of what is shown in those of the bounds, for ``native``; the greatest that it may have
            for any region in it, for ``cover``
        least: the square is at least this many pixels wide, so that a tiny region keeps
            surroundings; for ``context``, ``native`` and ``cover``
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
        scaling: how pixels between others are found, of the picture: as its model's makers did
        patch: side of a patch in pixels, for ``native``; 0 where the encoder takes squares alone
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
    scaling: Literal["bicubic", "bilinear"] = "bicubic"
    patch: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise AlphaClipError(
                    f"view {name} is {getattr(self, name)!r}: expected {', '.join(choices)}"
                )
        if not 1.0 <= self.context <= 100.0:
            raise AlphaClipError(f"view context is {self.context}: expected 1 to 100 box sides")
        if not isinstance(self.least, int) or not 0 <= self.least <= 100_000:
            raise AlphaClipError(f"view least is {self.least!r:.80}: expected 0 to 100,000 pixels")
        if self.kind == "native" and not (isinstance(self.patch, int) and 0 < self.patch <= 256):
            raise AlphaClipError(
                "view kind 'native' shows regions at their own aspect, which only SigLIP 2 with "
                "NaFlex takes: take 'context', +crop or +near"
            )
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
        return not self.is_local and not self.is_painted

    @property
    def is_local(self) -> bool:
        """Whether what is shown of a picture depends on where the region is."""
        return self.kind in ("context", "native", "cover")

    @property
    def padding_value(self) -> int:
        """The grey beyond the picture's borders, 0 to 255."""
        return 255 if self.padding == "white" else 0

    def to_dict(self) -> dict[str, Any]:
        """What decides the pixels, as JSON holds it: the kind, and what is not the default."""
        content: dict[str, Any] = {"kind": self.kind}
        if self.is_local:
            content |= {"context": self.context, "least": self.least}
        left_out = {"kind", "context", "least"}
        if self.background != "blur":
            left_out.add("blur_sigma")
        if self.kind != "native":
            left_out.add("patch")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in left_out and value != field.default:
                content[field.name] = value
        return content

    def window(self, region: Region, height: int, width: int) -> PixelBox:
        """The part of a picture of this size that is shown of a region by itself; it may reach
        beyond the picture. A square, except for ``squash`` and ``native``.

        Raises:
            EmptyRegionError: if nothing of the region is inside the picture
        """
        return self.window_round(region.in_picture(height, width))

    def window_round(self, drawn: Drawn) -> PixelBox:
        """The same of a region that is more to be asked for."""
        left, top, right, bottom = drawn.bounds
        if not self.is_local or drawn.region.is_whole_image:
            return self.whole_window(drawn.height, drawn.width)
        if self.kind == "native":
            return _frame_round(
                drawn.bounds, self.side_for(right - left), self.side_for(bottom - top)
            )
        side = self.side_for(max(right - left, bottom - top))
        if self.kind == "cover" and side >= max(drawn.height, drawn.width):
            return self.whole_window(drawn.height, drawn.width)
        return square_round(drawn.bounds, side)

    def scaled(self, window: PixelBox, size: int) -> list[int]:
        """Height and width that a window is scaled to, for an encoder of squares of a size; of
        ``native`` whole patches, at most as many as that square has, by NaFlex's own rule."""
        if self.kind != "native":
            return [size, size]
        from transformers.models.siglip2 import image_processing_siglip2 as siglip2

        left, top, right, bottom = window
        most, shape = (size // self.patch) ** 2, (bottom - top, right - left)
        return list(siglip2.get_image_size_for_max_num_patches(*shape, self.patch, most))

    def side_for(self, longer: int) -> int:
        """How wide the square is that shows a region with this longer side."""
        return max(self.least, round(self.context * longer))

    def whole_window(self, height: int, width: int) -> PixelBox:
        """What a whole-image region shows of a picture, see `window`."""
        if self.kind in ("squash", "native"):
            return 0, 0, width, height
        if self.kind in ("center", "readme"):
            side = min(height, width)
            left, top = width // 2 - side // 2, height // 2 - side // 2
            return left, top, left + side, top + side
        return square_round((0, 0, width, height), max(width, height))


def square_round(box: PixelBox, side: int) -> PixelBox:
    """The square of this side with the same middle."""
    return _frame_round(box, side, side)


def _frame_round(box: PixelBox, wide: int, high: int) -> PixelBox:
    left, top, right, bottom = box
    left += (right - left - wide) // 2
    top += (bottom - top - high) // 2
    return left, top, left + wide, top + high


def cover(
    bounds: Sequence[PixelBox], view: View, height: int, width: int
) -> Mapping[PixelBox, PixelBox]:
    """Finds as few squares as a greedy rule does, and which of them shows which region.

    The smallest region that has none yet decides how wide the next square may be: as many of its
    longer sides as ``view.context`` says, so no region in it is shown smaller than that. The
    square takes in what lies nearest, as long as all of it fits, and is centred on that: a region
    that nothing fits beside has the square of ``context``, and where the whole picture is no wider
    than the square may be, all that are left share that.

    Args:
        bounds: of the regions, in pixels; what is shown depends on all of them
        view: of kind ``cover``
        height, width: of the picture

    Returns:
        bounds to their squares
    """
    squares: dict[PixelBox, PixelBox] = {}
    boxes = np.array(sorted({*bounds}, key=_longer), np.int64).reshape(-1, 4)
    while len(boxes):
        side = view.side_for(_longer(boxes[0]))
        if side >= max(height, width):
            taken, square = np.ones(len(boxes), bool), view.whole_window(height, width)
        else:
            taken = _fitting(boxes, side)
            low, high = boxes[taken, :2].min(axis=0), boxes[taken, 2:].max(axis=0)
            square = square_round((*low.tolist(), *high.tolist()), side)
        squares |= dict.fromkeys(map(tuple, boxes[taken].tolist()), square)
        boxes = boxes[~taken]
    return squares


def _fitting(boxes: np.ndarray, side: int) -> np.ndarray:
    """Which boxes a square takes in, the first of them always: bool (n,)."""
    middles = boxes[:, :2] + boxes[:, 2:]
    taken = np.zeros(len(boxes), bool)
    low, high = boxes[0, :2], boxes[0, 2:]
    away = np.abs(middles - middles[0]).max(axis=1)
    near = np.flatnonzero(away <= 2 * side)  # of thousands in a picture most are too far away
    for number in near[away[near].argsort(kind="stable")]:
        lower, higher = np.minimum(low, boxes[number, :2]), np.maximum(high, boxes[number, 2:])
        if not number or (higher - lower).max() <= side:
            low, high, taken[number] = lower, higher, True
    return taken


def _longer(box: Sequence[int]) -> int:
    return int(max(box[2] - box[0], box[3] - box[1]))
