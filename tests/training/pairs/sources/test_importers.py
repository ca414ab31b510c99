"""Importers: published files of one or two pictures, whose pairs are known."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.format.writing import PairSettings
from alphaclip.training.pairs.sources.importers import (
    ImportedSet,
    import_coco,
    import_reclip,
    import_refcoco,
    import_visual_genome,
    write_imported,
)

WIDTH, HEIGHT = 40, 30
PICTURES = {9: "COCO_train2014_000000000009.jpg", 12: "COCO_train2014_000000000012.jpg"}


def save_picture(path: Path) -> None:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), "gray").save(path)


def annotation(key: int, x: int, **other: Any) -> dict[str, Any]:
    """A box of 10 x 8 pixels in picture 9, also as a polygon."""
    polygon = [[x, 5, x + 10, 5, x + 10, 13, x, 13]]
    return {
        "id": key, "image_id": 9, "category_id": 1, "bbox": [x, 5, 10, 8], "area": 80,
        "segmentation": polygon, "iscrowd": 0, **other,
    }  # fmt: skip


def write_instances(path: Path, *annotations: dict[str, Any]) -> None:
    """A file of COCO's form with two pictures."""
    images = [
        {"id": key, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for key, name in PICTURES.items()
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "owl"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def texts_of(imported: ImportedSet, folder: Path) -> list[tuple[str, ...]]:
    """Writes a set, and the texts of its pairs."""
    write_imported(imported, folder)
    return [pair.texts for pair in open_pairs(folder, strict=True)]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """COCO: two owls and a group of owls in one picture; the other picture is not there."""
    write_instances(
        tmp_path / "coco" / "annotations" / "instances_val2017.json",
        annotation(1, 0),
        annotation(2, 20),
        annotation(3, 10, iscrowd=1, segmentation={"size": [30, 40], "counts": [0, 1200]}),
        annotation(4, 0, image_id=12),
    )
    save_picture(tmp_path / "coco" / "val2017" / PICTURES[9])
    return tmp_path / "coco"


def test_coco__has_class_names(coco: Path, tmp_path: Path) -> None:
    """Groups and the missing picture are counted."""
    imported = import_coco(coco, "val2017")
    report = write_imported(imported, tmp_path / "set")
    pairs = open_pairs(tmp_path / "set", strict=True)
    assert [pair.texts for pair in pairs] == [("owl", "an owl")] * 2
    assert [pair.label for pair in pairs] == ["owl", "owl"]
    assert [pair.region.bounds(HEIGHT, WIDTH) for pair in pairs] == [
        (0, 5, 10, 13),
        (20, 5, 30, 13),
    ]
    assert pairs[0].key == "coco-val2017-9/0"
    assert next(pairs.pictures()).source == f"coco-val2017/{PICTURES[9]}"
    assert report.left_out.counts == {"group of objects": 1}
    assert report.skipped.counts == {"not readable": 1}
    assert "not there" in report.skipped.details["not readable"][0]


def test_coco__takes_captions_where_they_are(coco: Path, tmp_path: Path) -> None:
    """The first of a picture's captions; a damaged one is counted."""
    captions = [
        {"image_id": 9},
        {"image_id": 9, "caption": "Two owls. "},
        {"image_id": 9, "caption": "Birds."},
    ]
    path = coco / "annotations" / "captions_val2017.json"
    path.write_text(json.dumps({"annotations": captions}))
    report = write_imported(import_coco(coco, "val2017"), tmp_path / "set")
    assert open_pairs(tmp_path / "set")[0].caption == "Two owls."
    assert report.skipped.counts == {"not readable": 2}


def test_coco__takes_templates_and_boxes(coco: Path, tmp_path: Path) -> None:
    """As they are given."""
    imported = import_coco(coco, "val2017", "box", templates=("a photo of a {}.",))
    assert texts_of(imported, tmp_path / "set") == [("a photo of an owl.",)] * 2
    assert open_pairs(tmp_path / "set")[0].region.mask is None
    with pytest.raises(AlphaClipError, match="'a photo'"):
        import_coco(coco, "val2017", templates=("a photo",))


def test_changed_annotations__do_not_go_on_in_the_folder(coco: Path, tmp_path: Path) -> None:
    """Another box is another set."""
    write_imported(import_coco(coco, "val2017"), tmp_path / "set")
    write_imported(import_coco(coco, "val2017"), tmp_path / "set")
    write_instances(coco / "annotations" / "instances_val2017.json", annotation(1, 1))
    with pytest.raises(AlphaClipError, match="another job"):
        write_imported(import_coco(coco, "val2017"), tmp_path / "set")


def test_refcoco__has_descriptions(tmp_path: Path) -> None:
    """All of an object's, with its class; the other split is left alone."""
    data = tmp_path / "data"
    write_instances(data / "refcocog" / "instances.json", annotation(1, 0), annotation(2, 20))
    save_picture(data / "train2014" / PICTURES[9])
    sentences = [{"sent_id": 1, "raw": "left owl"}, {"sent_id": 2, "raw": "the owl looking away"}]
    refs = [
        {"ref_id": 5, "ann_id": 1, "image_id": 9, "split": "train", "sentences": sentences},
        {"ref_id": 6, "ann_id": 2, "image_id": 9, "split": "val", "sentences": sentences[:1]},
    ]
    (data / "refcocog" / "refs(umd).p").write_bytes(pickle.dumps(refs, 2))
    texts = texts_of(import_refcoco(data), tmp_path / "set")
    assert texts == [("left owl", "the owl looking away")]
    assert open_pairs(tmp_path / "set")[0].label == "owl"


def test_reclip__has_described_boxes(tmp_path: Path) -> None:
    """Two lines of one object are one region."""
    data = tmp_path / "data"
    save_picture(data / "train2014" / PICTURES[9])
    lines = [
        {
            "image_id": 9,
            "file_name": PICTURES[9],
            "ann_id": 1,
            "anns": [annotation(1, 0), annotation(2, 20)],
            "sentences": [{"raw": text}],
        }
        for text in ("left owl", "owl on the left")
    ]
    path = data / "reclip_data" / "refcocog_val.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert texts_of(import_reclip(data), tmp_path / "set") == [("left owl", "owl on the left")]
    assert open_pairs(tmp_path / "set")[0].region.bounds(HEIGHT, WIDTH) == (0, 5, 10, 13)


def test_visual_genome__has_phrases(tmp_path: Path) -> None:
    """A box that reaches out of the picture is clipped, one outside it is counted."""
    data = tmp_path / "data"
    save_picture(data / "VG_100K" / "1.jpg")
    image = {"image_id": 1, "url": "https://x/VG_100K/1.jpg", "width": WIDTH, "height": HEIGHT}
    (data / "image_data.json").write_text(json.dumps([image]))
    regions = [
        {"region_id": key, "phrase": f"phrase {key}", "x": x, "y": 0, "width": 20, "height": 15}
        for key, x in ((5, 0), (6, 30), (7, 50))
    ]
    path = data / "region_descriptions.json"
    path.write_text(json.dumps([{"id": 1, "regions": regions}]))
    imported = import_visual_genome(data)
    assert texts_of(imported, tmp_path / "set") == [("phrase 5",), ("phrase 6",)]
    pairs = open_pairs(tmp_path / "set")
    assert [pair.region.box for pair in pairs] == [(0, 0, 0.5, 0.5), (0.75, 0, 0.25, 0.5)]
    report = write_imported(imported, tmp_path / "set", PairSettings())
    assert report.skipped.counts == {"not readable": 1}


def test_missing_data__says_where_to_get_it(tmp_path: Path) -> None:
    """As the readers do."""
    with pytest.raises(MissingDataError, match="Get it from"):
        import_coco(tmp_path)
