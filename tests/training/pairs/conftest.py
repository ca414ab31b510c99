"""Small pictures whose regions are known."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.records import PairPicture, PairRegion
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs

ORIENTATION = 0x0112
LEFT = (0.0, 0.0, 0.5, 1.0)
"""The left half of a picture."""


def png(pixels: np.ndarray) -> bytes:
    """The file of a picture."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def picture_file(seed: int, kind: str = "JPEG", side: int = 24) -> bytes:
    """The file of a picture by chance."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def corner_mask(height: int = 20, width: int = 30) -> np.ndarray:
    """Bool (height, width): the 4 x 6 pixels in the top left corner."""
    mask = np.zeros((height, width), bool)
    mask[:4, :6] = True
    return mask


def picture(key: str = "a", *regions: PairRegion, **more: object) -> PairPicture:
    """A picture of 20 x 30 pixels, whose colour depends on its key; its left half is "left"."""
    pixels = np.full((20, 30, 3), sum(key.encode()) % 251, np.uint8)
    regions = regions or (PairRegion(Region.from_box(LEFT), ("left",)),)
    return PairPicture(key, png(pixels), "png", regions, **more)


def numbered(number: int) -> PairPicture:
    """A picture with a box and a mask."""
    return picture(
        f"p{number:02d}",
        PairRegion(Region.from_box(LEFT), (f"left {number}",), "half", id=f"{number}-0"),
        PairRegion(Region.from_mask(corner_mask()), (f"corner {number}", "nook"), id=f"{number}-1"),
    )


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Five pictures with two regions each, in shards of two."""
    folder = tmp_path / "set"
    write_pairs(range(5), numbered, folder, PairSettings(per_shard=2))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes pictures into a folder: ``write(picture(), ...)``."""

    def make(*pictures: PairPicture, name: str = "written", **settings: object) -> Path:
        folder = tmp_path / name
        write_pairs(pictures, lambda p: p, folder, PairSettings(**settings), None, lambda p: p.key)
        return folder

    return make
