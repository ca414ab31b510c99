"""A picture of what was found: one row of crops for each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from alphaclip.indexing.listing import ListedHit
from PIL import Image, ImageDraw, ImageFont

from alphaclip.images import open_image
from alphaclip.regions import Region
from alphaclip.views import View, make_views

TILE = 144
MARGIN = 8
LINE = 16
BACKGROUND, INK, DIMMED = "white", "#222222", "#777777"
VIEW = View("context", 1.6)
OUTLINE = np.array([255, 0, 160], np.uint8)


def draw_contact_sheet(found: Mapping[str, Sequence[ListedHit]], path: Path) -> None:
    """Writes a PNG: the query, then its hits, best first, each with its region outlined.

    Args:
        found: query to hits
        path: of the PNG

    Raises:
        AlphaClipError: if a picture cannot be opened
    """
    columns = max(1, *(len(hits) for hits in found.values()))
    height = LINE + MARGIN + TILE + 2 * LINE + MARGIN
    size = (MARGIN + columns * (TILE + MARGIN), MARGIN + len(found) * height)
    sheet = Image.new("RGB", size, BACKGROUND)
    for row, (query, hits) in enumerate(found.items()):
        _draw_row(sheet, MARGIN + row * height, query, hits)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _draw_row(sheet: Image.Image, top: int, query: str, hits: Sequence[ListedHit]) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((MARGIN, top), f"“{query}”", INK, ImageFont.load_default(14))
    top += LINE + MARGIN
    for column, hit in enumerate(hits):
        left = MARGIN + column * (TILE + MARGIN)
        if hit.region is not None:
            sheet.paste(_tile(hit.image, hit.region), (left, top))
        draw.text((left, top + TILE + 2), f"{hit.rank}.  {hit.score:.3f}", INK, font)
        draw.text((left, top + TILE + LINE), (hit.label or "-")[:24], DIMMED, font)


def _tile(image: str, region: Region) -> Image.Image:
    pictures, alpha = make_views(open_image(image), [region], VIEW, TILE)
    pixels = pictures[0].permute(1, 2, 0).numpy().copy()
    pixels[_edge(alpha[0, 0].numpy() > 127)] = OUTLINE
    return Image.fromarray(pixels)


def _edge(inside: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have a neighbour outside it, two pixels wide."""
    padded = np.pad(inside, 2)
    shifts = [(y, x) for y in range(5) for x in range(5)]
    rows, columns = inside.shape
    kept = np.logical_and.reduce([padded[y : y + rows, x : x + columns] for y, x in shifts])
    return inside & ~kept
