"""What is written for the eyes: histograms counted by hand, a page that is safe, a sheet."""

import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.contact_sheet import (
    MARGIN,
    TEXT,
    TILE,
    draw_numbers,
)
from alphaclip.training.pairs.format.records import PairRegion, Skipped
from alphaclip.training.pairs.format.summary import Histogram, count_entries
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs

from ..conftest import LEFT, picture


def test_histogram__counts_by_bins() -> None:
    """Bins have their lower edge; empty ones at the ends are not shown."""
    histogram = Histogram("", [1, 2, 3, 5, 9])
    for value in (2, 5, 8, 8, 9, 1000):
        histogram.add(value)
    assert histogram.rows() == [("2", 1), ("3 to 4", 0), ("5 to 8", 3), ("9 and more", 2)]
    shares = Histogram("", [0.0, 0.1, 1.0])
    shares.add(-1)
    shares.add(0.05)
    assert shares.rows() == [("0 to 0.1", 2)]


def test_histogram_of_nothing__has_no_rows() -> None:
    """As of a score that no region has."""
    assert Histogram("", [1, 2]).rows() == []


def test_entries__are_counted() -> None:
    """Two pictures with three regions."""
    one = {"label": "a", "texts": ["abc", "abcd"], "scores": {"area": 0.5, "clip": 0.26}}
    two = {"texts": ["a"], "scores": {"area": 0.02}}
    histograms, labels = count_entries([("p", {"regions": [one, two]}), ("q", {"regions": [two]})])
    assert labels == {"a": 1, "(no label)": 2}
    assert {h.title: h.rows() for h in histograms} == {
        "Regions of a picture": [("1", 1), ("2", 1)],
        "Area of a region, as a share of its picture": [
            ("0.01 to 0.03", 2), ("0.03 to 0.1", 0), ("0.1 to 0.3", 0), ("0.3 to 1", 1)
        ],
        "Texts of a region": [("1", 2), ("2", 1)],
        "Length of a text, in characters": [("1", 2), ("2", 0), ("3 to 4", 2)],
        "Score “clip”": [("0.25 to 0.3", 1)],
    }  # fmt: skip


def test_page__holds_counts_and_reasons(tmp_path: Path) -> None:
    """And the texts of the pairs on the contact sheet, in any script."""
    one = PairRegion(Region.from_box(LEFT), ("赤いりんご",), "apple")

    def make(number: int) -> object:
        return picture("a", one) if number == 0 else Skipped("missing (404)", "http://gone")

    write_pairs(range(3), make, tmp_path / "set")
    page = (tmp_path / "set" / "statistics.html").read_text("utf-8")
    assert '<tr><td>items</td><td class="n">3</td></tr>' in page
    assert '<tr><td>missing (404)</td><td class="n">2</td></tr>' in page
    assert "<li>赤いりんご <small>a/0</small></li>" in page
    assert '<tr><td>apple</td><td class="n">1</td></tr>' in page


def test_page__has_nothing_from_elsewhere_and_no_markup_of_texts(
    write: Callable[..., Path],
) -> None:
    """A text, a label and a source may hold anything."""
    evil = '<script src="http://x/"></script>'
    folder = write(picture("a", PairRegion(Region.from_box(LEFT), (evil, "y"), evil)))
    page = (folder / "statistics.html").read_text("utf-8")
    assert "<script" not in page and "&lt;script" in page
    assert not re.search(r"<[^>]*(src|href|url\()", page)


def test_sheet__has_a_tile_for_each_of_24_pairs(small_set: Path, tmp_path: Path) -> None:
    """Ten pairs are two rows of six and four."""
    with Image.open(small_set / "contact-sheet.png") as sheet:
        assert sheet.size == (
            MARGIN + 6 * (TILE[0] + MARGIN),
            MARGIN + 2 * (TILE[1] + TEXT + MARGIN),
        )


def test_places__are_drawn_by_seed() -> None:
    """Without replacement; all of them where there are few."""
    assert draw_numbers(3, 0) == [0, 1, 2]
    drawn = draw_numbers(1000, 0)
    assert len(set(drawn)) == 24 and drawn == sorted(drawn)
    assert draw_numbers(1000, 0) == drawn != draw_numbers(1000, 1)


def test_seed__decides_the_sheet_and_nothing_else(tmp_path: Path) -> None:
    """The shards are the same bytes."""
    sets = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        write_pairs(range(40), lambda n: picture(f"p{n}"), folder, PairSettings(seed=seed))
        sets.append(folder)
    tars = [(folder / "pairs-000000.tar").read_bytes() for folder in sets]
    sheets = [(folder / "contact-sheet.png").read_bytes() for folder in sets]
    assert tars[0] == tars[1] and sheets[0] != sheets[1]
