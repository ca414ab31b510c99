"""COCO and LVIS files of a few pictures, against pycocotools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.training.datasets.coco import read_coco, read_lvis
from alphaclip.training.datasets.examples import take_first
from alphaclip.training.datasets.masks import masked_region
from alphaclip.training.datasets.sources import MissingDataError

WIDTH, HEIGHT = 40, 30
SQUARE = [[5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]]
OVERLAPPING = [*SQUARE, [10.0, 10.0, 30.3, 10.0, 30.3, 20.7, 10.0, 20.7]]


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    counts, value, run = [], 0, 0
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def annotation(key: int, picture: int, category: int = 18, **other: Any) -> dict[str, Any]:
    entry = {"id": key, "image_id": picture, "category_id": category, "segmentation": SQUARE}
    return {**entry, "bbox": [5.0, 5.0, 10.0, 10.0], "area": 100.0, "iscrowd": 0, **other}


def images(*keys: int) -> list[dict[str, Any]]:
    return [
        {"id": key, "file_name": f"{key:012}.jpg", "width": WIDTH, "height": HEIGHT} for key in keys
    ]


CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]


def write_coco(data: Path, content: dict[str, Any]) -> Path:
    (data / "annotations").mkdir(exist_ok=True)
    (data / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    (data / "val2017").mkdir(exist_ok=True)
    for entry in content["images"]:
        name = entry["file_name"]
        if name is not None and "/" not in name:
            Image.new("RGB", (WIDTH, HEIGHT)).save(data / "val2017" / name)
    return data


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[3:9, 20:33] = crowd[25, 1] = True
    packed = coco_mask.encode(np.asfortranarray(crowd.astype(np.uint8)))
    packed["counts"] = packed["counts"].decode()
    content = {
        "images": images(9, 4, 7),
        "categories": CATEGORIES,
        "annotations": [
            annotation(101, 4, segmentation=OVERLAPPING, area=2000.5),
            annotation(102, 9, 1, segmentation=uncompressed(crowd), iscrowd=1, area=10000.0),
            annotation(103, 9, segmentation=packed, area=5.0),
        ],
    }
    return write_coco(tmp_path, content)


def test_read_coco__as_pycocotools(coco: Path) -> None:
    found = read_coco(coco)
    theirs = COCO(str(coco / "annotations" / "instances_val2017.json"))
    assert found.name == "coco-val2017"
    assert found.classes == ("dog", "person")
    assert found.skipped == ()
    assert [example.id for example in found.examples] == ["9", "4"]
    assert len(found) == 3
    for example, region in found.regions:
        entry = theirs.anns[int(region.id)]
        expected = theirs.annToMask(entry).astype(np.uint8) * 255
        np.testing.assert_array_equal(region.region.alpha_map(HEIGHT, WIDTH), expected)
        assert region.label == theirs.cats[entry["category_id"]]["name"]
        assert region.area == entry["area"]
        assert region.crowd == bool(entry["iscrowd"])
        assert (example.width, example.height) == (WIDTH, HEIGHT)
        assert example.path == coco / "val2017" / f"{int(example.id):012}.jpg"


def test_read_coco__sizes_go_by_the_annotated_area(coco: Path) -> None:
    sizes = {region.id: region.size for _, region in read_coco(coco).regions}
    assert sizes == {"101": "medium", "102": "large", "103": "small"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("area", [float("nan"), float("inf"), None, -3, "large", "gone"])
def test_read_coco__files_of_other_programs(coco: Path, encoding: str, area: object) -> None:
    """Byte order marks, texts for ids, areas that are no numbers: the file means the same."""
    path = coco / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    for entry in (*content["images"], *content["categories"]):
        entry["id"] = f"entry-{entry['id']}"
    for number, entry in enumerate(content["annotations"]):
        entry |= {name: f"entry-{entry[name]}" for name in ("image_id", "category_id")}
        entry |= {"id": [f"a-{number}", float(number), str(number)][number], "area": area}
        entry["iscrowd"] = [None, "1", float("nan")][number]
        if area == "gone":
            del entry["area"]
    path.write_text(json.dumps(content), encoding)
    found = read_coco(coco)
    assert found.skipped == ()
    assert [example.id for example in found.examples] == ["entry-9", "entry-4"]
    regions = [region for _, region in found.regions]
    assert [region.id for region in regions] == ["1", "2", "a-0"]
    assert [region.crowd for region in regions] == [True, False, False]
    for region in regions:
        drawn = region.region.alpha_map(HEIGHT, WIDTH) > 0
        assert region.area == drawn.sum()


@pytest.mark.parametrize("id", [None, True, float("nan"), 1.5, "", [], {}])
def test_read_coco__id_that_is_none_is_named(coco: Path, id: object) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["id"] = id
    path.write_text(json.dumps(content))
    found = read_coco(coco)
    assert len(found) == 2
    assert len(found.skipped) == 1
    assert "annotations[0]: has the id" in found.skipped[0]


def test_read_coco__boxes(coco: Path) -> None:
    found = read_coco(coco, shape="box")
    first = next(region for _, region in found.regions)
    assert first.region.bounds(HEIGHT, WIDTH) == (5, 5, 15, 15)
    assert first.region.mask is None


def test_read_coco__a_limit_is_the_first_pictures_with_objects(coco: Path) -> None:
    whole, first = read_coco(coco), read_coco(coco, limit=1)
    assert [e.id for e in first.examples] == [e.id for e in take_first(whole, 1).examples] == ["9"]
    assert first.classes == whole.classes


def test_masked_region__keeps_what_is_in_its_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(3, 700, size=2)
        mask = np.zeros((height, width), bool)
        top, left = rng.integers(0, height - 1), rng.integers(0, width - 1)
        bottom, right = rng.integers(top + 1, height + 1), rng.integers(left + 1, width + 1)
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.5
        mask[top, left] = True
        region = masked_region(mask)
        np.testing.assert_array_equal(region.alpha_map(height, width) == 255, mask)
        assert region.mask is not None
        assert region.mask.size <= (bottom - top) * (right - left)
    with pytest.raises(EmptyRegionError, match="no pixel"):
        masked_region(np.zeros((4, 4), bool))


STRAYS = [[5.0, 5.0], [5.0, 5.0, 6.0, 6.0], []]


def test_read_coco__stray_rings_are_left_out_and_counted(tmp_path: Path) -> None:
    entries = [annotation(1, 4, segmentation=[*STRAYS, *OVERLAPPING]), annotation(2, 4)]
    clean = [annotation(1, 4, segmentation=OVERLAPPING), annotation(2, 4)]
    content = {"images": images(4), "categories": CATEGORIES}
    read = read_coco(write_coco(tmp_path, {**content, "annotations": entries}))
    expected = read_coco(write_coco(tmp_path, {**content, "annotations": clean}))
    assert [region.region.digest() for _, region in read.regions] == [
        region.region.digest() for _, region in expected.regions
    ]
    (line,) = read.skipped
    assert "3 ring(s) of fewer than 3 points" in line


BAD = {
    "nothing but stray rings": annotation(1, 4, segmentation=STRAYS),
    "a scribble": annotation(
        1, 4, segmentation=[np.random.default_rng(0).uniform(0, 30, 20_000).tolist()]
    ),
    "no category": annotation(1, 4, category=99),
    "no picture": annotation(1, 77),
    "empty polygons": annotation(1, 4, segmentation=[]),
    "a polygon of two points": annotation(1, 4, segmentation=[[0, 0, 5, 5]]),
    "an odd polygon": annotation(1, 4, segmentation=[[0, 0, 5, 5, 0, 5, 1]]),
    "a polygon far outside": annotation(1, 4, segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]),
    "a polygon of nan": annotation(1, 4, segmentation=[[0, 0, float("nan"), 0, 5, 5]]),
    "an RLE of another size": annotation(1, 4, segmentation={"size": [2, 2], "counts": [0, 4]}),
    "an RLE that is cut": annotation(1, 4, segmentation={"size": [30, 40], "counts": "0o"}),
    "a huge RLE": annotation(1, 4, segmentation={"size": [10**9, 10**9], "counts": [10**18]}),
    "an empty RLE": annotation(1, 4, segmentation={"size": [30, 40], "counts": [1200]}),
    "a text": annotation(1, 4, segmentation="text"),
    "nothing": {},
    "no mapping": [1, 2],
    "a number": 5,
}


@pytest.mark.parametrize("entry", BAD.values(), ids=BAD.keys())
def test_read_coco__one_bad_annotation_is_left_out(tmp_path: Path, entry: Any) -> None:
    content = {"images": images(4), "categories": CATEGORIES}
    data = write_coco(tmp_path, {**content, "annotations": [entry, annotation(2, 4)]})
    found = read_coco(data)
    assert [region.id for _, region in found.regions] == ["2"]
    assert len(found.skipped) == 1


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 5], [0, 0, 5], ["x", 0, 1, 1], [500, 0, 5, 5], None], ids=str
)
def test_read_coco__one_bad_box_is_left_out(tmp_path: Path, box: Any) -> None:
    content = {"images": images(4), "categories": CATEGORIES}
    annotations = [annotation(1, 4, bbox=box), annotation(2, 4)]
    found = read_coco(write_coco(tmp_path, {**content, "annotations": annotations}), shape="box")
    assert [region.id for _, region in found.regions] == ["2"]
    assert len(found.skipped) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"file_name": "../../secret.jpg"},
        {"file_name": "/etc/passwd"},
        {"width": 41},
        {"height": 0},
        {"file_name": None},
    ],
    ids=str,
)
def test_read_coco__one_bad_picture_is_left_out(tmp_path: Path, wrong: dict[str, Any]) -> None:
    good, bad = images(4, 5)
    bad |= wrong
    content = {"images": [bad, good], "categories": CATEGORIES}
    annotations = [annotation(1, 5), annotation(2, 4)]
    found = read_coco(write_coco(tmp_path, {**content, "annotations": annotations}))
    assert [example.id for example in found.examples] == ["4"]
    assert len(found.skipped) == 1


def test_read_coco__equal_ids_and_missing_pictures(coco: Path) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"].append(annotation(101, 9))
    path.write_text(json.dumps(content))
    (coco / "val2017" / f"{4:012}.jpg").unlink()
    found = read_coco(coco)
    assert [region.id for _, region in found.regions] == ["102", "103"]
    assert "has the id 101, which an entry before it has" in found.skipped[0]
    assert found.skipped[1].startswith("1 picture(s) are not there")


def test_read_coco__missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"instances_val2017\.json is not there"):
        read_coco(tmp_path)
    write_coco(tmp_path, {"images": [], "categories": [], "annotations": []})
    (tmp_path / "val2017").rmdir()
    with pytest.raises(MissingDataError, match="val2017 is not there"):
        read_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text('{"images": []}')
    with pytest.raises(AlphaClipError, match="has no list 'categories'"):
        read_coco(tmp_path)


@pytest.fixture
def lvis(tmp_path: Path) -> Path:
    (tmp_path / "annotations").mkdir()
    entries = []
    for key, folder in ((9, "val2017"), (4, "train2017")):
        url = f"http://images.cocodataset.org/{folder}/{key:012}.jpg"
        entries.append({"id": key, "coco_url": url, "width": WIDTH, "height": HEIGHT})
        (tmp_path / folder).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / folder / f"{key:012}.jpg")
    content = {
        "images": entries,
        "categories": [
            {"id": 1, "name": "aerosol_can", "frequency": "c"},
            {"id": 2, "name": "bow_(decorative_ribbons)", "frequency": "f"},
        ],
        "annotations": [annotation(1, 4, 2), annotation(2, 9, 1)],
    }
    (tmp_path / "annotations" / "lvis_v1_val.json").write_text(json.dumps(content))
    return tmp_path


def test_read_lvis__pictures_of_both_folders(lvis: Path) -> None:
    found = read_lvis(lvis)
    assert found.name == "lvis-val"
    assert found.classes == ("aerosol_can", "bow_(decorative_ribbons)")
    assert [example.path.parent.name for example in found.examples] == ["val2017", "train2017"]
    assert [region.label for _, region in found.regions] == list(found.classes)
    assert found.skipped == ()


def test_read_lvis__missing_and_bad(lvis: Path) -> None:
    path = lvis / "annotations" / "lvis_v1_val.json"
    content = json.loads(path.read_text())
    content["images"][0]["coco_url"] = "http://x/../../secret.jpg"
    path.write_text(json.dumps(content))
    found = read_lvis(lvis)
    assert [example.id for example in found.examples] == ["4"]
    assert "no place in" in found.skipped[0] or "address" in found.skipped[0]
    with pytest.raises(MissingDataError, match=r"lvis_v1_train\.json is not there"):
        read_lvis(lvis, "train")
    for folder in ("val2017", "train2017"):
        for picture in (lvis / folder).iterdir():
            picture.unlink()
        (lvis / folder).rmdir()
    with pytest.raises(MissingDataError, match="LVIS"):
        read_lvis(lvis)
