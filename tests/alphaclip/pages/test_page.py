"""Pages in one file: what a browser would make of them, whatever is in them."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.pages.page import Crop, Section, Share, one_line, write_page
from alphaclip.regions.region import Region

BOX = Region.from_box([0.25, 0.25, 0.5, 0.5])
OWN = {
    "html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "div",
    "figure", "img", "figcaption", "b", "span", "table", "tr", "th", "td", "svg", "line", "circle",
    "details", "summary",
}  # fmt: skip


class Page(HTMLParser):
    """What is in a page: its tags, the sources of its pictures, and its words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert not any(name.startswith("on") or name in ("href", "style") for name in names)
        self.tags.append(tag)
        self.sources += [str(names["src"])] if "src" in names else []

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return str(path)


def page(path: Path, sections: Sequence[Section], title: str = "t", sentence: str = "s") -> Page:
    return Page(write_page(path / "new" / "page.html", title, sentence, sections))


def test_write_page__words_crops_shares_and_plots(tmp_path: Path, picture: str) -> None:
    pair = (Crop(picture, BOX, "apple", "taken for pear"), Crop(picture, BOX, "pear"))
    share = Share("apples", 1060, 0.5, (0.25, 1.0), 0.9, "more")
    nothing = Share("pears", 0, None, (0.0, 1.0))
    sections = [
        Section("Crops", ["a line"], [pair]),
        Section("Shares", shares=[share, nothing]),
        Section("Plots", plots=[Path(picture)], is_folded=True),
    ]
    made = page(tmp_path, sections, sentence="All is said.")
    assert set(made.tags) <= OWN
    assert [source.partition(",")[0] for source in made.sources] == [
        "data:image/jpeg;base64",
        "data:image/jpeg;base64",
        "data:image/png;base64",
    ]
    words = ["All is said.", "a line", "apple", "taken for pear", "n = 1,060", "50.0 % (25 to 100)"]
    assert set(words) <= set(made.words)
    assert made.tags.count("circle") == 1 and made.tags.count("details") == 1
    # All of it is in the file: the browser is told to fetch nothing else.
    text = (tmp_path / "new/page.html").read_text("utf-8")
    assert "default-src 'none'" in text and "http://" not in text and "https://" not in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("<script>alert(1)</script>", None),
        ('"><img src=x onerror=alert(1)>', None),
        ("</title></style><b onclick='x'>", None),
        ("{{ 7 * 7 }} {% raw %}", None),
        ("a\n\n b", "a b"),
        ("nul\x00 \u202eleft \udcff", "nul\ufffd \ufffdleft \ufffd"),
        ("n" * 400, "n" * 297 + "..."),
        ("", None),
    ],
)
def test_write_page__names_are_text(
    tmp_path: Path, picture: str, name: str, expected: str | None
) -> None:
    sections = [
        Section(name, [name], [[Crop(picture, BOX, name, name)]], is_folded=True),
        Section(name, shares=[Share(name, 1, 0.5, (0.0, 1.0), text=name)]),
    ]
    made = page(tmp_path, sections, name, name)
    assert set(made.tags) <= OWN and len(made.sources) == 1
    shown = name if expected is None else expected
    assert made.words.count(shown) >= 8


def test_write_page__what_cannot_be_drawn_is_said(tmp_path: Path, picture: str) -> None:
    away, gone = Region.from_box([1.5, 0.1, 0.2, 0.2]), str(tmp_path / "gone.jpg")
    crops = [
        Crop(gone, BOX, "vanished"),
        Crop(picture, away, "outside"),
        Crop("", None, "deleted"),
        Crop(picture, BOX, "there"),
    ]
    made = page(tmp_path, [Section("Crops", crops=[[crop] for crop in crops])])
    assert made.words.count("no picture") == 3 and len(made.sources) == 1


def test_write_page__same_input_same_bytes(tmp_path: Path, picture: str) -> None:
    sections = [Section("Crops", crops=[[Crop(picture, BOX, "apple")]])]
    first, second = (write_page(tmp_path / name, "t", "s", sections) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_write_page__fits_into_a_mail(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    crop = Crop(str(tmp_path / "noise.png"), Region.from_box([0.1, 0.1, 0.8, 0.8]), "<" * 300)
    made = page(tmp_path, [Section("Crops", crops=[[crop]] * 400)])
    assert 2_950_000 < (tmp_path / "new/page.html").stat().st_size < 3_000_000
    left_out = made.words.count("left out, the page is full")
    assert 0 < left_out == 400 - len(made.sources)


@pytest.mark.parametrize(("text", "most", "line"), [("a\tb", 9, "a b"), ("abcdef", 5, "ab...")])
def test_one_line(text: str, most: int, line: str) -> None:
    assert one_line(text, most) == line
