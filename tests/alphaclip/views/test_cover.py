"""Squares for several regions, by hand on small numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from alphaclip import Region
from alphaclip.views.cutter import Cutter, make_views
from alphaclip.views.view import View, cover

VIEW = View("cover", context=3.0, least=0)


@pytest.mark.parametrize(
    ("boxes", "squares"),
    [
        # Two of 10 pixels share a square of 30 round both; one far off has its own.
        (
            [(0, 0, 10, 10), (20, 0, 30, 10), (80, 80, 90, 90)],
            [(0, -10, 30, 20), (0, -10, 30, 20), (70, 70, 100, 100)],
        ),
        # 31 pixels from end to end do not fit.
        ([(0, 0, 10, 10), (21, 0, 31, 10)], [(-10, -10, 20, 20), (11, -10, 41, 20)]),
        # The smaller one decides: in the larger one's square it would be too small.
        ([(0, 0, 20, 10), (22, 0, 26, 4)], [(-20, -25, 40, 35), (18, -4, 30, 8)]),
        # What may be shown in the whole picture is.
        ([(0, 0, 60, 60), (60, 60, 100, 100)], [(0, 0, 100, 100)] * 2),
        ([(5, 5, 15, 15), (5, 5, 15, 15)], [(-5, -5, 25, 25)] * 2),
        ([], []),
    ],
)
def test_cover__by_hand(boxes: list, squares: list) -> None:
    found = cover(boxes, VIEW, 100, 100)
    assert [found[box] for box in boxes] == squares


def test_cover__no_region_is_smaller_than_asked_and_all_are_inside() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 900, (60, 2))
    sides = rng.integers(4, 100, (60, 2))
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]
    boxes = [tuple(map(int, box)) for box in boxes]
    counts = []
    for context in (1.5, 3.0, 6.0, 100.0):
        found = cover(boxes, View("cover", context=context, least=0), 1000, 1000)
        for (x0, y0, x1, y1), (left, top, right, bottom) in found.items():
            assert left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
            assert right - left <= max(round(context * max(x1 - x0, y1 - y0)), 1)
        counts.append(len({*found.values()}))
    assert all(more > fewer for more, fewer in pairwise(counts)) and counts[-1] == 1


def test_make_views__one_region_is_shown_as_near() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 80, 3), np.uint8)
    region = [Region.from_box([0.5, 0.5, 0.2, 0.1])]
    alone = make_views(picture, region, View("cover", context=1.5), 32)
    near = make_views(picture, region, View("context", context=1.5), 32)
    assert all((a == b).all() for a, b in zip(alone, near, strict=True))


def test_cutter__regions_of_a_square_share_its_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    boxes = [[0, 0, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1], [0.2, 0, 0.1, 0.1], [2, 2, 1, 1]]
    regions = [*map(Region.from_box, boxes), Region.whole_image()]
    cutter = Cutter(picture, VIEW, 16, regions=regions)
    pixels, maps = zip(*(cutter.cut(regions[i]) for i in (0, 1, 2, 4)), strict=True)
    assert pixels[0] is pixels[2] and pixels[0] is not pixels[1]
    assert not (maps[0] == maps[2]).all()
    windows = cutter.windows(regions)
    assert windows[0] == windows[2] and len({*windows}) == 4 and windows[3] == (0, 0, 0, 0)
    assert (pixels[3] == make_views(picture, regions[4:], View(), 16)[0][0]).all()
