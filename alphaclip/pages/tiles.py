"""Crops of regions, as a person looks at them: the region lit up among its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.regions.images import decode_image, open_image, shown_size
from alphaclip.regions.region import Region
from alphaclip.views.view import View

TILE = 144
VIEW = View("context", 1.6)
"""How a region is drawn: with some of its surroundings, to see what it is part of."""

THREADS = 4
"""Pictures that are opened at a time: most of it is decoding, in C and without the lock."""

LIGHT_AROUND = 0.4
"""Of what surrounds a region: dark enough to see the region, and to see what it is part of."""

OUTLINE = (255, 0, 160)


def draw_tiles(
    image: str | np.ndarray, regions: Sequence[Region], size: int = TILE
) -> list[Image.Image | None]:
    """Draws regions of one picture, each lit, with some of its surroundings dimmed.

    The picture is opened once, and a JPEG no larger than the tiles need it.

    Returns:
        the tiles, whose longer side has ``size`` pixels, and whose other side is as long but for a
        region that is longer than the picture is high or wide; None for a region that has no area
        in the picture, or a mask of another shape

    Raises:
        AlphaClipError: if the picture cannot be opened
    """
    pixels = open_image(image) if isinstance(image, np.ndarray) else _open(image, regions, size)
    picture = Image.fromarray(pixels)
    return [_tile(picture, region, size) for region in regions]


def draw_crops(listed: Sequence[tuple[str, Region]], size: int = TILE) -> list[Image.Image | None]:
    """Draws regions of many pictures as :func:`draw_tiles` does, each picture opened once.

    Args:
        listed: path of the picture, and the region
        size: of the longer side, in pixels

    Returns:
        in the same order, the tiles; None also where the picture cannot be opened
    """
    of_pictures: dict[str, list[int]] = {}
    for number, (path, _) in enumerate(listed):
        of_pictures.setdefault(path, []).append(number)

    def draw(path: str) -> list[Image.Image | None]:
        regions = [listed[number][1] for number in of_pictures[path]]
        try:
            return draw_tiles(path, regions, size)
        except AlphaClipError:
            return [None] * len(regions)

    crops: list[Image.Image | None] = [None] * len(listed)
    with ThreadPoolExecutor(THREADS) as threads:
        tiles_of = zip(of_pictures.values(), threads.map(draw, of_pictures), strict=True)
        for numbers, tiles in tiles_of:
            for number, tile in zip(numbers, tiles, strict=True):
                crops[number] = tile
    return crops


def draw_regions(
    image: str | np.ndarray, regions: Sequence[Region], most: tuple[int, int]
) -> Image.Image:
    """Draws a whole picture, no wider and no higher than ``most``: the regions lit, each with an
    outline, and what is in none of them dimmed.

    Raises:
        AlphaClipError: if the picture cannot be opened
    """
    picture = Image.fromarray(open_image(image))
    width, height = picture.size
    picture.thumbnail(most)
    lit, edges = Image.new("L", picture.size), Image.new("L", picture.size)
    for region in regions:
        with suppress(RegionError):
            alpha = Image.fromarray(region.alpha_map(height, width))
            alpha = alpha.resize(picture.size, Image.Resampling.BILINEAR)
            inside = alpha.point(lambda value: 255 * (value > 127))
            edge = ImageChops.subtract(inside.filter(ImageFilter.MaxFilter(3)), inside)
            lit, edges = ImageChops.lighter(lit, alpha), ImageChops.lighter(edges, edge)
    drawn = _light_up(picture, lit)
    drawn.paste(OUTLINE, mask=edges)
    return drawn


def _light_up(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    return Image.composite(picture, picture.point(lambda value: int(value * LIGHT_AROUND)), alpha)


def _tile(picture: Image.Image, region: Region, size: int) -> Image.Image | None:
    width, height = picture.size
    try:
        left, top, right, bottom = VIEW.window(region, height, width)
        # No black beside the picture: the window is moved into it, and cut where it is larger
        across, down = min(right - left, width), min(bottom - top, height)
        left, top = min(max(left, 0), width - across), min(max(top, 0), height - down)
        window = (left, top, left + across, top + down)
        inside = Image.fromarray(region.alpha_window(height, width, window))
    except RegionError:
        return None
    scale = size / max(across, down)
    sides = max(1, round(across * scale)), max(1, round(down * scale))
    crop = picture.crop(window).resize(sides, Image.Resampling.BICUBIC)
    alpha = inside.resize(sides, Image.Resampling.BILINEAR)
    return _light_up(crop, alpha)


def _open(path: str, regions: Sequence[Region], size: int) -> np.ndarray:
    def shrunk(image: Image.Image) -> np.ndarray:
        _shrink(image, regions, size)
        return open_image(image)

    try:
        return decode_image(path, shrunk)
    except ImageError:
        return open_image(path)


def _shrink(image: Image.Image, regions: Sequence[Region], size: int) -> None:
    """Has a JPEG decoded at 1/2, 1/4 or 1/8, where no window is enlarged by that."""
    width, height = shown_size(image)
    sides = []
    for region in regions:
        if region.mask is not None and region.box is None:
            return
        with suppress(RegionError):
            left, _, right, _ = VIEW.window(region, height, width)
            sides.append(right - left)
    scale = min(sides, default=size) / size
    if scale >= 2:
        image.draft(None, (ceil(image.width / scale), ceil(image.height / scale)))
