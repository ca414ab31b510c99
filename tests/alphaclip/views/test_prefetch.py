"""Pictures are opened once at most, and let go of as soon as they are cut."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip import Region
from alphaclip.errors import EmptyRegionError, RegionError
from alphaclip.regions import images
from alphaclip.views import cutter, prefetch
from alphaclip.views.prefetch import Failure, Item, cut_ahead, report_failures, usable_cores
from alphaclip.views.view import View

GREY = np.full((10, 20, 3), 200, np.uint8)


def boxes(count: int) -> list[Region]:
    return [Region.from_box([0.6 * i / count, 0.2, 0.3, 0.5]) for i in range(count)]


class Opened:
    """Stands in for ``open_image``: a copy of `GREY` for every name but ``gone``."""

    def __init__(self) -> None:
        self.sources: list[object] = []
        self.pixels: list[weakref.ref] = []

    def __call__(self, source: object) -> np.ndarray:
        self.sources.append(source)
        pixels = images.open_image("gone") if str(source) == "gone" else GREY.copy()
        self.pixels.append(weakref.ref(pixels))
        return pixels

    def alive(self) -> int:
        return sum(ref() is not None for ref in self.pixels)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    stand_in = Opened()
    monkeypatch.setattr(prefetch, "open_image", stand_in)
    return stand_in


def test_cut_ahead__chunks_in_order(opened: Opened) -> None:
    items = [("a", boxes(130)), ("b", []), ("c", boxes(1))]
    chunks = list(cut_ahead(items, View(), 8))
    assert [chunk.item.name for chunk in chunks] == [*"aaaaa", "b", "c"]
    numbers = [[row.number for row in chunk.rows] for chunk in chunks]
    starts = range(0, 128, 32)
    assert numbers == [*(list(range(n, n + 32)) for n in starts), [128, 129], [], [0]]
    assert chunks[0].rows[0].pixels.shape == (3, 8, 8)
    assert chunks[0].rows[0].alpha.shape == (1, 8, 8)


def test_cut_ahead__opens_once_and_not_for_nothing(opened: Opened) -> None:
    list(cut_ahead([("a", boxes(200)), ("gone", []), ("b", boxes(1))], View(), 8))
    assert sorted(map(str, opened.sources)) == ["a", "b"]


def test_cut_ahead__scales_the_whole_picture_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop, scaled = cutter._crop, []
    monkeypatch.setattr(cutter, "_crop", lambda *given: scaled.append(given[1]) or crop(*given))
    list(cut_ahead([("a", boxes(200))], View("image"), 8))
    assert scaled == [(0, -5, 20, 15)]


def test_item__lets_go_of_its_pixels_with_the_last_chunk(opened: Opened) -> None:
    item = Item(0, "a", boxes(50))
    first = item.cut(32, View(), 8)
    assert opened.alive() == 1
    second = item.cut(0, View(), 8)
    assert opened.alive() == 0
    assert len(first.rows) + len(second.rows) == 50


def test_item__lets_go_of_an_array_that_it_was_given() -> None:
    pixels = GREY.copy()
    alive = weakref.ref(pixels)
    item = Item(0, pixels, boxes(3))
    del pixels
    chunk = item.cut(0, View(), 8)
    assert alive() is None
    assert len(chunk.rows) == 3


def test_cut_ahead__pictures_do_not_pile_up_while_rows_wait(opened: Opened) -> None:
    most = []

    def items() -> Iterator[tuple[str, list[Region]]]:
        for name in range(60):
            most.append(opened.alive())
            yield str(name), [*boxes(1), Region.from_box([2, 2, 1, 1]), None]  # type: ignore[list-item]

    waiting = list(cut_ahead(items(), View(), 8))
    assert len(waiting) == len(opened.pixels) == 60
    assert [c.lost for c in waiting] == [2] * 60
    assert max(most) <= usable_cores() + 1
    assert opened.alive() == 0


@pytest.mark.parametrize(
    ("regions", "in_memory", "expected"),
    [(1, False, 50), (5, False, 10), (1, True, 5), (100, False, 2)],
)
def test_cut_ahead__so_many_regions_ahead_however_many_pictures_those_are(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, regions: int, in_memory: bool, expected: int
) -> None:
    monkeypatch.setattr(prefetch, "usable_cores", lambda: 2)
    taken: list[int] = []

    def items() -> Iterator[tuple[object, list[Region]]]:
        for number in range(200):
            taken.append(number)
            yield GREY if in_memory else str(number), boxes(regions)

    stream = cut_ahead(items(), View(), 8, ahead=50)  # type: ignore[arg-type]
    next(stream)
    assert expected <= len(taken) <= expected + 1
    stream.close()
    assert len(taken) <= expected + 1, "who stops early does not wait for the others"


def test_item__a_failure_keeps_no_pixels_of_a_picture_that_broke_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:800])
    (failure,) = Item(3, tmp_path / "cut.jpg", boxes(2)).cut(0, View(), 8).failures
    assert (failure.item, failure.region) == (3, None)
    assert failure.error.__traceback__ is None
    assert failure.error.__cause__.__traceback__ is None


def test_item__a_picture_that_failed_is_told_of_once(opened: Opened) -> None:
    chunks = list(cut_ahead([("gone", boxes(70))], View(), 8))
    assert [len(chunk.failures) for chunk in chunks] == [1, 0, 0]
    assert [chunk.lost for chunk in chunks] == [32, 32, 6]
    assert opened.sources == ["gone"]


def test_item__whatever_drawing_raises_is_that_regions_failure(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = boxes(3)

    def fail(*given: object) -> None:
        raise OverflowError("cannot convert float infinity to integer")

    object.__setattr__(regions[1], "in_picture", fail)
    chunk = Item(0, "a", regions).cut(0, View(), 8)
    assert [row.number for row in chunk.rows] == [0, 2]
    (failure,) = chunk.failures
    assert (failure.region, type(failure.error)) == (1, RegionError)
    assert str(failure.error).startswith("region cannot be drawn: OverflowError: cannot convert")


def test_report_failures__names_the_picture_and_the_region(opened: Opened) -> None:
    regions = [*boxes(1), Region.from_box([2, 2, 1, 1])]
    chunk = Item(5, "folder/a.jpg", regions).cut(0, View(), 8)
    with pytest.raises(EmptyRegionError, match=r"^folder/a\.jpg, regions\[1\]: box .* outside"):
        report_failures(chunk, None)
    told: list[Failure] = []
    report_failures(chunk, told.append)
    assert [(f.item, f.region) for f in told] == [(5, 1)]
    assert str(told[0].error).startswith("box [2.0, 2.0, 1.0, 1.0] lies outside")
