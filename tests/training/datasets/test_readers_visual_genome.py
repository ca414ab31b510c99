"""Visual Genome's described regions, in both versions' spellings."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.datasets.visual_genome import read_visual_genome

WIDTH, HEIGHT = 50, 40


def image(key: int, folder: str = "VG_100K_2", **other: Any) -> dict[str, Any]:
    url = f"https://cs.stanford.edu/people/rak248/{folder}/{key}.jpg"
    return {"image_id": key, "url": url, "width": WIDTH, "height": HEIGHT, "coco_id": None, **other}


def region(key: int, phrase: str, **other: Any) -> dict[str, Any]:
    box = {"x": 5, "y": 10, "width": 20, "height": 15}
    return {"region_id": key, "image_id": 1, "phrase": phrase, "synsets": [], **box, **other}


def write(data: Path, images: list[Any], descriptions: Any) -> Path:
    for folder in ("VG_100K", "VG_100K_2"):
        (data / folder).mkdir(exist_ok=True)
    for entry in images:
        key = entry.get("image_id", entry.get("id"))
        folder = "VG_100K" if "VG_100K/" in entry["url"] else "VG_100K_2"
        Image.new("RGB", (WIDTH, HEIGHT)).save(data / folder / f"{key}.jpg")
    (data / "image_data.json").write_text(json.dumps(images))
    (data / "region_descriptions.json").write_text(json.dumps(descriptions))
    return data


def test_read__boxes_and_phrases(tmp_path: Path) -> None:
    descriptions = [
        {"id": 2, "regions": [region(7, "a cat.")]},
        {"id": 1, "regions": [region(5, " the clock "), region(6, "a street", width=100)]},
        {"id": 3, "regions": []},
    ]
    images = [image(1), image(2, "VG_100K"), image(3)]
    found = read_visual_genome(write(tmp_path, images, descriptions))
    assert found.name == "visual-genome"
    assert found.classes == ()
    assert [example.id for example in found.examples] == ["2", "1"]
    assert [(r.id, r.texts, r.area) for _, r in found.regions] == [
        ("7", ("a cat.",), 300.0),
        ("5", ("the clock",), 300.0),
        ("6", ("a street",), 1500.0),
    ]
    bounds = [r.region.bounds(HEIGHT, WIDTH) for _, r in found.regions]
    assert bounds == [(5, 10, 25, 25), (5, 10, 25, 25), (5, 10, 50, 25)]
    assert [example.path.parent.name for example in found.examples] == ["VG_100K", "VG_100K_2"]
    assert found.skipped == ()


def test_read__version_1_0_and_a_picture_in_the_other_folder(tmp_path: Path) -> None:
    old = image(1)
    del old["image_id"]
    old["id"] = 1
    first = region(5, "x")
    del first["region_id"]
    first["id"] = 5
    data = write(tmp_path, [old], [{"image_id": 1, "regions": [first]}])
    (data / "VG_100K_2" / "1.jpg").rename(data / "VG_100K" / "1.jpg")
    found = read_visual_genome(data)
    assert [region.id for _, region in found.regions] == ["5"]
    assert found.examples[0].path == data / "VG_100K" / "1.jpg"


def test_read__a_limit_counts_pictures_with_regions(tmp_path: Path) -> None:
    descriptions = [{"id": key, "regions": [region(key, "x")] * (key % 2)} for key in range(6)]
    data = write(tmp_path, [image(key) for key in range(6)], descriptions)
    assert [e.id for e in read_visual_genome(data, 2).examples] == ["1", "3"]


BAD = {
    "no area": region(9, "x", width=0),
    "outside": region(9, "x", x=500),
    "no phrase": region(9, " "),
    "a text": region(9, "x", y="y"),
    "no id": {"phrase": "x", "x": 1, "y": 1, "width": 1, "height": 1},
    "nothing": {},
    "a number": 5,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_read__one_bad_region_is_left_out(tmp_path: Path, bad: Any) -> None:
    descriptions = [{"id": 1, "regions": [bad, region(5, "good")]}]
    found = read_visual_genome(write(tmp_path, [image(1)], descriptions))
    assert [region.id for _, region in found.regions] == ["5"]
    assert len(found.skipped) == 1


def test_read__one_bad_picture_is_left_out(tmp_path: Path) -> None:
    images = [image(1), image(2), image(3)]
    descriptions = [
        {"id": 1, "regions": [region(1, "x")]},
        {"id": 2, "regions": [region(2, "x")]},
        {"id": 3, "regions": [region(3, "x")]},
        {"id": 4, "regions": [region(4, "x")]},
        {"id": 3, "regions": 5},
        7,
    ]
    data = write(tmp_path, images, descriptions)
    images[0]["url"] = "https://x/../../secret.jpg"
    images[1]["url"] = "https://x/VG_100K/..\\secret.jpg"
    (data / "image_data.json").write_text(json.dumps(images))
    found = read_visual_genome(data)
    assert [example.id for example in found.examples] == ["3"]
    assert len(found.skipped) == 5
    assert "no place in" in found.skipped[0]


def test_read__missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"image_data\.json is not there(.|\n)*visualgenome"):
        read_visual_genome(tmp_path)
    (tmp_path / "image_data.json").write_text("[]")
    with pytest.raises(MissingDataError, match=r"region_descriptions\.json is not there"):
        read_visual_genome(tmp_path)
    (tmp_path / "region_descriptions.json").write_text("[]")
    with pytest.raises(MissingDataError, match="VG_100K is not there"):
        read_visual_genome(tmp_path)
    (tmp_path / "region_descriptions.json").write_text("{}")
    with pytest.raises(AlphaClipError, match="holds a dict: expected a list"):
        read_visual_genome(tmp_path)
