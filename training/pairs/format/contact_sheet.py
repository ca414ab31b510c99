"""Some pairs of a set as one picture: each region lit up in its picture, and its texts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alphaclip.files import write_atomically
from alphaclip.pages.tiles import draw_regions
from alphaclip.training.pairs.format.reading import Pair

COUNT, COLUMNS = 24, 6
"""Pairs and columns: what fits on a screen with texts that can be read."""

TILE, TEXT, MARGIN = (220, 165), 48, 8
BACKGROUND, INK = "white", "#222222"


def draw_numbers(total: int, seed: int, count: int = COUNT) -> list[int]:
    """Which pairs are shown: drawn without replacement, in ascending order.

    Args:
        total: pairs in the set
        seed: the same seed draws the same pairs
        count: how many are wanted
    """
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(total, min(count, total), replace=False).tolist())


def draw_contact_sheet(pairs: Sequence[Pair], path: Path) -> None:
    """Writes a PNG: numbered tiles, row by row.

    Pillow's own font has Latin letters only; the statistics page has the texts in all scripts.

    Args:
        pairs: at least one
        path: of the PNG

    Raises:
        AlphaClipError: if it cannot be written
    """
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    wide, high = TILE[0] + MARGIN, TILE[1] + TEXT + MARGIN
    sheet = Image.new("RGB", (MARGIN + columns * wide, MARGIN + rows * high), BACKGROUND)
    for number, pair in enumerate(pairs):
        left, top = MARGIN + number % columns * wide, MARGIN + number // columns * high
        sheet.paste(draw_regions(pair.image, [pair.region], TILE), (left, top))
        _write(sheet, (left, top + TILE[1] + 2), f"{number + 1}. {' | '.join(pair.texts)}")
    write_atomically(path, lambda stream: sheet.save(stream, "PNG"))


def _write(sheet: Image.Image, corner: tuple[int, int], text: str) -> None:
    lines = textwrap.wrap(text, 36, max_lines=3, placeholder=" ...")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.multiline_text(corner, "\n".join(lines), INK, font, spacing=2)
