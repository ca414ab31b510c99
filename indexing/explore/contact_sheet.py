"""A picture of what was found: one row of crops for each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alphaclip.errors import ImageError, RegionError
from alphaclip.files import write_atomically
from alphaclip.indexing.explore.hit_listing import ListedHit
from alphaclip.regions.images import decode_image, open_image, shown_size
from alphaclip.regions.region import Region
from alphaclip.views.view import View

TILE = 144
MARGIN = 8
LINE = 16
BACKGROUND, INK, DIMMED = "white", "#222222", "#777777"
VIEW = View("context", 1.6)
"""How a region is drawn: with some of its surroundings, to see what it is part of."""

OUTLINE = np.array([255, 0, 160], np.uint8)


def draw_contact_sheet(hits_by_query: Mapping[str, Sequence[ListedHit]], path: Path) -> None:
    """Writes a PNG: each query, then its hits, best first, each with its region outlined.

    Raises:
        AlphaClipError: if a picture cannot be opened
    """
    columns = max(1, *(len(hits) for hits in hits_by_query.values()))
    height = LINE + MARGIN + TILE + 2 * LINE + MARGIN
    size = (MARGIN + columns * (TILE + MARGIN), MARGIN + len(hits_by_query) * height)
    sheet = Image.new("RGB", size, BACKGROUND)
    for row, (query, hits) in enumerate(hits_by_query.items()):
        _draw_row(sheet, MARGIN + row * height, query, hits)
    write_atomically(path, lambda stream: sheet.save(stream, "PNG"))


def draw_tiles(
    image: str | np.ndarray, regions: Sequence[Region], size: int = TILE
) -> list[Image.Image | None]:
    """Draws regions of one picture, each with some of its surroundings and its outline.

    The picture is opened once, and a JPEG no larger than the tiles, ``size`` pixels wide, need it.

    Returns:
        the tiles; None for a region that has no area in the picture, or a mask of another shape

    Raises:
        AlphaClipError: if the picture cannot be opened
    """
    pixels = open_image(image) if isinstance(image, np.ndarray) else _open(image, regions, size)
    picture = Image.fromarray(pixels)
    return [_tile(picture, region, size) for region in regions]


def draw_outlines(image: str | np.ndarray, regions: Sequence[Region], side: int) -> Image.Image:
    """Draws a picture, ``side`` pixels at its longer side, with the outline of each region; what is
    in none of them is dimmed.

    Raises:
        AlphaClipError: if the picture cannot be opened
    """
    picture = Image.fromarray(open_image(image))
    width, height = picture.size
    picture.thumbnail((side, side))
    pixels, lit = np.array(picture), np.zeros((picture.height, picture.width), bool)
    edges = lit.copy()
    for region in regions:
        with suppress(RegionError):
            drawn = Image.fromarray(region.alpha_map(height, width))
            inside = np.asarray(drawn.resize(picture.size, Image.Resampling.BILINEAR)) > 127
            lit, edges = lit | inside, edges | _edge(inside)
    pixels[~lit] //= 2
    pixels[edges] = OUTLINE
    return Image.fromarray(pixels)


def _tile(picture: Image.Image, region: Region, size: int) -> Image.Image | None:
    width, height = picture.size
    try:
        window = VIEW.window(region, height, width)
        inside = Image.fromarray(region.alpha_window(height, width, window))
    except RegionError:
        return None
    crop = picture.crop(window).resize((size, size), Image.Resampling.BICUBIC)
    alpha = inside.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.array(crop)
    pixels[_edge(np.asarray(alpha) > 127)] = OUTLINE
    return Image.fromarray(pixels)


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


def _draw_row(sheet: Image.Image, top: int, query: str, hits: Sequence[ListedHit]) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((MARGIN, top), f"“{query}”", INK, ImageFont.load_default(14))
    top += LINE + MARGIN
    for column, hit in enumerate(hits):
        left = MARGIN + column * (TILE + MARGIN)
        tile = None if hit.region is None else draw_tiles(hit.image, [hit.region])[0]
        if tile is not None:
            sheet.paste(tile, (left, top))
        draw.text((left, top + TILE + 2), f"{hit.rank}.  {hit.score:.3f}", INK, font)
        draw.text((left, top + TILE + LINE), (hit.label or "-")[:24], DIMMED, font)


def _edge(inside: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have a neighbour outside it, two pixels wide."""
    padded = np.pad(inside, 2)
    shifts = [(y, x) for y in range(5) for x in range(5)]
    rows, columns = inside.shape
    core = np.logical_and.reduce([padded[y : y + rows, x : x + columns] for y, x in shifts])
    return inside & ~core
