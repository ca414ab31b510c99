"""ImageNet-S in both published forms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.imagenet_s import read_imagenet_s_folder, read_imagenet_s_json
from alphaclip.training.datasets.sources import MissingDataError

WIDTH, HEIGHT = 24, 18


def drawn_mask(left: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:9, left : left + 6] = 1
    return mask


def entry(word: str, number: int, left: int = 3, **other: Any) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(drawn_mask(left)))
    rle["counts"] = rle["counts"].decode()
    path = f"ImageNetS919/validation/{word}/ILSVRC2012_val_{number:08}.JPEG"
    return {"image_pth": path, "category_word": word, "mask": rle, **other}


def write_json(data: Path, entries: list[Any]) -> Path:
    (data / "ImageNetS919" / "validation").mkdir(parents=True)
    for each in entries:
        name = each.get("image_pth") if isinstance(each, dict) else None
        if isinstance(name, str) and name.startswith("ImageNetS919/"):
            (data / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(data / name)
    (data / "imagenet_919.json").write_text(json.dumps(entries))
    return data


def test_json__classes_in_the_order_of_their_first_appearance(tmp_path: Path) -> None:
    """Grouped, as the published file is; and not, where the reference code's index is wrong."""
    words = ["n02", "n02", "n01", "n03", "n02"]
    data = write_json(tmp_path, [entry(word, n, n) for n, word in enumerate(words)])
    found = read_imagenet_s_json(data)
    assert found.name == "imagenet-s-919"
    assert found.classes == ("n02", "n01", "n03")
    assert [region.label for _, region in found.regions] == words
    indices = [found.classes.index(region.label) for _, region in found.regions]
    reference, seen = [], []
    for word in words:
        seen += [] if word in seen else [word]
        reference.append(len(seen) - 1)
    assert indices[:4] == reference[:4] == [0, 0, 1, 2]
    assert (indices[4], reference[4]) == (0, 2)


def test_json__masks(tmp_path: Path) -> None:
    found = read_imagenet_s_json(write_json(tmp_path, [entry("n01", 1, 0), entry("n01", 2, 18)]))
    for (example, region), left in zip(found.regions, (0, 18), strict=True):
        expected = drawn_mask(left) * 255
        np.testing.assert_array_equal(region.region.alpha_map(HEIGHT, WIDTH), expected)
        assert region.area == 30
        assert (example.width, example.height) == (WIDTH, HEIGHT)
        assert example.path.is_file()
    assert len({region.id for _, region in found.regions}) == 2


def test_json__two_objects_of_one_picture_are_told_apart(tmp_path: Path) -> None:
    found = read_imagenet_s_json(write_json(tmp_path, [entry("n01", 1), entry("n01", 1, 9)]))
    first, second = (example.id for example in found.examples)
    assert second == f"{first}#2"


@pytest.mark.parametrize(
    "bad",
    [
        entry("n09", 9, image_pth="../outside.JPEG"),
        entry("n09", 9, image_pth="/etc/passwd"),
        entry("n09", 9, category_word=5),
        entry("n09", 9, mask={"size": [2, 2]}),
        entry("n09", 9, mask={"size": [5, 5], "counts": [0, 25]}),
        entry("n09", 9, mask={"size": [10**6, 10**6], "counts": [0, 10**12]}),
        {},
        7,
    ],
    ids=str,
)
def test_json__one_bad_entry_is_left_out(tmp_path: Path, bad: Any) -> None:
    found = read_imagenet_s_json(write_json(tmp_path, [bad, entry("n01", 1)]))
    assert [region.label for _, region in found.regions] == ["n01"]
    assert len(found.skipped) == 1


def test_json__missing_files_and_another_form(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"imagenet_919\.json is not there(.|\n)*huggingface"
    ):
        read_imagenet_s_json(tmp_path)
    (tmp_path / "imagenet_919.json").write_text("[]")
    with pytest.raises(MissingDataError, match="ImageNetS919 is not there"):
        read_imagenet_s_json(tmp_path)
    (tmp_path / "imagenet_919.json").write_text("{}")
    with pytest.raises(AlphaClipError, match="expected a list"):
        read_imagenet_s_json(tmp_path)


def write_folder(data: Path, count: int = 300) -> Path:
    """A class for each id, so that some ids need the second channel; two have a picture."""
    root = data / f"ImageNetS{count}"
    for number in range(1, count + 1):
        (root / "validation" / f"n{number:08}").mkdir(parents=True)
    for number, others in ((3, (1000, 0)), (290, (3, 1000))):
        ids = np.full((HEIGHT, WIDTH), others[1])
        ids[:, 20:] = others[0]
        ids[4:9, 3:9] = number
        colours = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1).astype(np.uint8)
        masks = root / "validation-segmentation" / f"n{number:08}"
        masks.mkdir(parents=True)
        Image.fromarray(colours).save(masks / "a.png")
        picture = root / "validation" / f"n{number:08}" / "a.JPEG"
        Image.new("RGB", (WIDTH, HEIGHT)).save(picture)
    return data


def test_folder__the_class_of_the_folder_by_red_and_green(tmp_path: Path) -> None:
    found = read_imagenet_s_folder(write_folder(tmp_path), 300)
    assert found.name == "imagenet-s-300"
    assert len(found.classes) == 300
    assert list(found.classes) == sorted(found.classes)
    assert [region.label for _, region in found.regions] == ["n00000003", "n00000290"]
    for _, region in found.regions:
        expected = drawn_mask(3) * 255
        np.testing.assert_array_equal(region.region.alpha_map(HEIGHT, WIDTH), expected)
    assert found.skipped == ()


def test_folder__a_missing_class_would_shift_the_ids(tmp_path: Path) -> None:
    data = write_folder(tmp_path)
    (data / "ImageNetS300" / "validation" / "n00000001").rmdir()
    with pytest.raises(AlphaClipError, match="has 299 folders of classes, ImageNet-S-300 has 300"):
        read_imagenet_s_folder(data, 300)


def test_folder__what_is_wrong_with_a_picture_is_reported(tmp_path: Path) -> None:
    data = write_folder(tmp_path)
    masks = data / "ImageNetS300" / "validation-segmentation"
    (masks / "n00000003" / "a.png").unlink()
    Image.new("L", (WIDTH, HEIGHT), 34).save(masks / "n00000290" / "a.png")
    found = read_imagenet_s_folder(data, 300)
    assert len(found) == 0
    assert "has no mask that can be opened" in found.skipped[0]
    assert "has a mask without colours" in found.skipped[1]
    Image.new("RGB", (WIDTH, HEIGHT), (5, 0, 0)).save(masks / "n00000290" / "a.png")
    assert "no pixel set" in read_imagenet_s_folder(data, 300).skipped[1]


def test_folder__missing_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="ImageNetS50 is not there"):
        read_imagenet_s_folder(tmp_path, 50)
    (tmp_path / "ImageNetS50" / "validation").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="validation-segmentation is not there"):
        read_imagenet_s_folder(tmp_path, 50)
