"""A picture of what was found: one row of crops for each query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from alphaclip.files import write_atomically
from alphaclip.indexing.retrieval.hit_listing import ListedHit
from alphaclip.pages.tiles import TILE, draw_tiles

MARGIN = 8
LINE = 16
BACKGROUND, INK, DIMMED = "white", "#222222", "#777777"


def draw_contact_sheet(hits_by_query: Mapping[str, Sequence[ListedHit]], path: Path) -> None:
    """Writes a PNG: each query, then its hits, best first, each with its region lit.

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
