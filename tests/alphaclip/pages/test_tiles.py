"""Crops of a picture's regions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from alphaclip.errors import ImageError
from alphaclip.pages import tiles
from alphaclip.pages.tiles import OUTLINE, draw_regions, draw_tiles
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

BOX = Region.from_box([0.25, 0.25, 0.5, 0.5])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes at which pictures were decoded."""
    sizes: list[tuple[int, int]] = []

    def noted(source: object) -> np.ndarray:
        pixels = open_image(source)
        sizes.append((pixels.shape[1], pixels.shape[0]))
        return pixels

    monkeypatch.setattr(tiles, "open_image", noted)
    return sizes


def halves(path: Path, size: tuple[int, int], **options: object) -> str:
    """A picture whose upper half is red and whose lower half is blue."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = (230, 0, 0)
    pixels[height // 2 :] = (0, 0, 230)
    Image.fromarray(pixels).save(path, quality=95, **options)
    return str(path)


def colors(tile: Image.Image) -> tuple[int, int]:
    """How many pixels are rather red, and how many rather blue, dimmed or not."""
    pixels = np.asarray(tile).astype(int)
    red, blue = (pixels[..., a] > pixels[..., b] + 60 for a, b in ((0, 2), (2, 0)))
    return int(red.sum()), int(blue.sum())


def test_draw_tiles__one_decoding_for_all(tmp_path: Path, opened: list[tuple[int, int]]) -> None:
    path = halves(tmp_path / "a.png", (120, 80))
    away = Region.from_box([1.5, 0.1, 0.2, 0.2])
    upper = Region.from_box([0.4, 0.1, 0.2, 0.1])
    wrong = Region.from_mask(np.ones((4, 4), bool))
    first, *nothing, last = draw_tiles(path, [BOX, away, wrong, upper], 100)
    assert nothing == [None, None]
    assert opened == [(120, 80)]
    red, blue = colors(first)
    assert red == pytest.approx(blue, rel=0.1) and red > 3000
    assert colors(last)[1] < 200
    lit = np.asarray(first).max(axis=2) > 170
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    # The window is 1.6 times the longer side, 96 by 80 pixels: the box is 62 by 42 of the tile.
    assert first.size == (100, 83)
    assert (columns[0], columns[-1]) == (pytest.approx(19, abs=1), pytest.approx(81, abs=1))
    assert (rows[0], rows[-1]) == (pytest.approx(21, abs=1), pytest.approx(62, abs=1))


def test_draw_tiles__no_black_at_the_edge_of_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    Image.new("RGB", (120, 80), "white").save(path)
    corner = Region.from_box([0.0, 0.0, 0.2, 0.2])
    wide = Region.from_box([0.0, 0.4, 1.0, 0.1])
    for region, sides in ((corner, (100, 100)), (wide, (100, 67))):
        (tile,) = draw_tiles(str(path), [region], 100)
        assert tile is not None and tile.size == sides
        assert np.asarray(tile).min() >= 100


@pytest.mark.parametrize(
    ("size", "box", "decoded"),
    [
        ((1600, 1200), [0.2, 0.2, 0.5, 0.5], (200, 150)),
        ((1600, 1200), [0.2, 0.2, 0.1, 0.1], (800, 600)),
        ((160, 120), [0.2, 0.2, 0.5, 0.5], (160, 120)),
    ],
)
def test_draw_tiles__large_jpeg(
    tmp_path: Path,
    opened: list[tuple[int, int]],
    size: tuple[int, int],
    box: list[float],
    decoded: tuple[int, int],
) -> None:
    path, region = halves(tmp_path / "a.jpg", size), Region.from_box(box)
    (tile,) = draw_tiles(path, [region], 100)
    assert opened == [decoded]
    (whole,) = draw_tiles(open_image(path), [region], 100)
    difference = np.abs(np.asarray(tile).astype(int) - np.asarray(whole).astype(int))
    assert np.median(difference) <= 2
    assert colors(tile)[0] == pytest.approx(colors(whole)[0], abs=300)


def test_draw_tiles__turned_jpeg_and_mask_of_its_shape(
    tmp_path: Path, opened: list[tuple[int, int]]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = halves(tmp_path / "a.jpg", (1600, 1200), exif=exif)
    (tile,) = draw_tiles(path, [BOX], 100)
    assert opened == [(150, 200)]
    pixels = np.asarray(tile).astype(int)
    assert pixels[50, 30, 2] > 200 and pixels[50, 65, 0] > 200
    mask = np.zeros((1600, 1200), bool)
    mask[400:800, 300:900] = True
    (tile,) = draw_tiles(path, [Region.from_mask(mask)], 100)
    assert tile is not None and opened[1] == (1200, 1600)


def test_draw_tiles__no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"a\.jpg: not a picture"):
        draw_tiles(str(tmp_path / "a.jpg"), [BOX])
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        draw_tiles(str(tmp_path / "gone.jpg"), [BOX])


def test_draw_regions__regions_lit_with_outlines_and_the_rest_dimmed(tmp_path: Path) -> None:
    path = halves(tmp_path / "a.png", (120, 80))
    away, wrong = Region.from_box([1.5, 0.1, 0.2, 0.2]), Region.from_mask(np.ones((4, 4), bool))
    drawn = draw_regions(path, [BOX, away, wrong], (60, 60))
    assert drawn.size == (60, 40)
    assert drawn.getpixel((30, 15)) == (230, 0, 0)
    assert drawn.getpixel((14, 15)) == OUTLINE
    assert drawn.getpixel((5, 5)) == (92, 0, 0)


def test_draw_regions__the_whole_picture_has_no_outside() -> None:
    grey = np.full((20, 30, 3), 100, np.uint8)
    assert (np.asarray(draw_regions(grey, [Region.whole_image()], (60, 60))) == 100).all()


@pytest.mark.parametrize("size", [(3000, 20), (20, 3000)])
def test_draw_regions__pictures_of_any_shape(size: tuple[int, int]) -> None:
    drawn = draw_regions(np.zeros((*size, 3), np.uint8), [BOX], (220, 165))
    assert max(drawn.size) <= 220 and min(drawn.size) >= 1
