"""What all readers share: places, JSON, bad entries, pictures."""

from pathlib import Path

import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets import sources
from alphaclip.training.datasets.examples import Example
from alphaclip.training.datasets.files import Pictures, each, inside, pixel_box, read_json, size_of
from alphaclip.training.datasets.sources import COCO, MissingDataError, Source


@pytest.mark.parametrize("name", ["a.jpg", "folder/a.jpg", "./a.jpg", "folder//b/a..jpg"])
def test_inside__a_place_in_the_folder(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name).is_relative_to(tmp_path)
    assert inside(tmp_path, name).name == name.rpartition("/")[2]


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "x/../../a.jpg", "/etc/passwd", "//host/a", "..", ".", "", "C:/a", "..\\a",
     "a\0b", None, 5, ["a"]],
)  # fmt: skip
def test_inside__nothing_leads_out_of_the_folder(tmp_path: Path, name: object) -> None:
    with pytest.raises(AlphaClipError, match="no place in"):
        inside(tmp_path, name)


SOURCES = [value for value in vars(sources).values() if isinstance(value, Source)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_require__says_where_to_get_it_and_the_layout(tmp_path: Path, source: Source) -> None:
    assert source.require(tmp_path) == tmp_path
    with pytest.raises(MissingDataError) as caught:
        source.require(tmp_path / "none.json")
    message = str(caught.value)
    assert str(tmp_path / "none.json") in message
    assert "https://" in message
    assert source.layout in message
    assert len(SOURCES) == 7


def test_read_json__damaged(tmp_path: Path) -> None:
    for content in (b'{"images": [', b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(AlphaClipError, match="cannot be read as JSON"):
            read_json(tmp_path / "a.json", COCO)


def test_each__bad_entries_get_a_line_without_their_content() -> None:
    skipped: list[str] = []
    entries = [{"n": 1}, {}, {"n": "secret"}, None, {"n": float("inf")}, {"n": 2}]
    assert list(each(entries, lambda e: int(e["n"]), "list", skipped)) == [1, 2]
    assert [line[:7] for line in skipped] == ["list[1]", "list[2]", "list[3]", "list[4]"]
    assert skipped[0] == "list[1]: has no 'n'"
    assert "TypeError" in skipped[2]


@pytest.mark.parametrize(
    ("width", "height"), [(0, 5), (5, -1), (10**6, 10**6), ("x", 5), (None, 5)]
)
def test_size_of__no_size(width: object, height: object) -> None:
    with pytest.raises((AlphaClipError, ValueError, TypeError)):
        size_of({"width": width, "height": height})


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 5], [0, 0, 5, -1], [float("nan"), 0, 1, 1], [0, 0, 1], None]
)
def test_pixel_box__no_box(box: object) -> None:
    with pytest.raises((AlphaClipError, ValueError, TypeError)):
        pixel_box(box)  # type: ignore[arg-type]


def test_pictures__size_as_shown_and_what_is_missing(tmp_path: Path) -> None:
    skipped: list[str] = []
    pictures = Pictures(skipped)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert pictures.size(tmp_path / "turned.jpg") == (20, 30)
    example = pictures.example(7, tmp_path / "turned.jpg", (20, 30))
    assert example == Example("7", tmp_path / "turned.jpg", 20, 30, ())
    with pytest.raises(AlphaClipError, match=r"has \(20, 30\) pixels"):
        pictures.example(7, tmp_path / "turned.jpg", (30, 20))
    for name in ("a.jpg", "b.jpg", "a.jpg"):
        assert pictures.example(7, tmp_path / name, (3, 3)) is None
    exif[0x0112] = 999
    Image.new("RGB", (30, 20)).save(tmp_path / "odd.jpg", exif=exif)
    assert pictures.size(tmp_path / "odd.jpg") == (30, 20)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(AlphaClipError, match="not a picture"):
        pictures.size(tmp_path / "bad.jpg")
    assert skipped == []
    pictures.report()
    assert skipped == [f"2 picture(s) are not there, the first is {tmp_path / 'a.jpg'}"]
