"""RefCOCO, RefCOCO+ and RefCOCOg: refer's files and ReCLIP's."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.refcoco import (
    SPLITS,
    read_reclip,
    read_refs_expressions,
    read_refs_regions,
)
from alphaclip.training.datasets.sources import MissingDataError

WIDTH, HEIGHT = 40, 30
PICTURES = (581857, 9)
BOXES = {11: [4.0, 5.0, 10.0, 8.0], 12: [20.5, 3.25, 6.0, 6.0], 13: [0.0, 0.0, 40.0, 30.0]}
PICTURE_OF = {11: 581857, 12: 581857, 13: 9}


def picture_name(key: int) -> str:
    return f"COCO_train2014_{key:012}.jpg"


def make_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for key in PICTURES:
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / picture_name(key))


def ref(key: int, annotation: int, split: str, *texts: str, **other: Any) -> dict[str, Any]:
    picture = PICTURE_OF.get(annotation, 581857)
    sentences = [
        {"tokens": text.split(), "raw": text, "sent": text.lower(), "sent_id": 10 * key + n}
        for n, text in enumerate(texts)
    ]
    return {
        "ref_id": key, "ann_id": annotation, "image_id": picture, "category_id": 1,
        "file_name": f"COCO_train2014_{picture:012}_{key}.jpg", "split": split,
        "sent_ids": [sentence["sent_id"] for sentence in sentences], "sentences": sentences,
        **other,
    }  # fmt: skip


def write_refer(data: Path, refs: Any, dataset: str = "refcocog", by: str = "umd") -> Path:
    folder = data / dataset
    folder.mkdir(parents=True, exist_ok=True)
    annotations = []
    for key, (x, y, w, h) in BOXES.items():
        polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        annotations.append(
            {"id": key, "image_id": PICTURE_OF[key], "category_id": 1, "bbox": [x, y, w, h],
             "segmentation": polygon, "area": w * h, "iscrowd": 0}
        )  # fmt: skip
    content = {
        "images": [
            {"id": k, "file_name": picture_name(k), "width": WIDTH, "height": HEIGHT}
            for k in PICTURES
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    (folder / f"refs({by}).p").write_bytes(pickle.dumps(refs, 2))
    if not (data / "train2014").exists():
        make_pictures(data / "train2014")
    return data


REFS = [
    ref(1, 11, "val", "the LADY", "woman", "the LADY"),
    ref(2, 13, "val", "everything"),
    ref(3, 12, "train", "small thing"),
    ref(4, 12, "testA", "left"),
    ref(5, 11, "testB", "right"),
]


def test_refs__regions_with_all_their_descriptions(tmp_path: Path) -> None:
    found = read_refs_regions(write_refer(tmp_path, REFS))
    assert found.name == "refcocog-val"
    assert found.classes == ("person",)
    assert [example.id for example in found.examples] == ["581857", "9"]
    assert [(r.id, r.label, r.texts) for _, r in found.regions] == [
        ("1", "person", ("the LADY", "woman")),
        ("2", "person", ("everything",)),
    ]
    (_, first), (_, second) = found.regions
    assert first.region.bounds(HEIGHT, WIDTH) == (4, 5, 14, 13)
    assert (first.area, second.area) == (80.0, 1200.0)
    assert found.examples[0].path == tmp_path / "train2014" / picture_name(581857)
    assert found.skipped == ()


def test_refs__boxes_a_limit_and_the_folder_of_refer(tmp_path: Path) -> None:
    data = write_refer(tmp_path, REFS)
    (data / "images" / "mscoco" / "images").mkdir(parents=True)
    (data / "train2014").rename(data / "images" / "mscoco" / "images" / "train2014")
    found = read_refs_regions(data, shape="box", limit=1)
    ((example, region),) = found.regions
    assert example.path.is_file()
    assert region.region.mask is None
    assert region.region.box == pytest.approx((4 / 40, 5 / 30, 10 / 40, 8 / 30))


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("train", ["3"]),
        ("val", ["1", "2"]),
        ("testA", ["4"]),
        ("testB", ["5"]),
        ("test", ["4", "5"]),
    ],
)
def test_refs__splits(tmp_path: Path, split: str, ids: list[str]) -> None:
    found = read_refs_regions(write_refer(tmp_path, REFS), split=split)
    assert sorted(region.id for _, region in found.regions) == ids


def test_refs__expressions_among_all_objects_of_the_picture(tmp_path: Path) -> None:
    found = read_refs_expressions(write_refer(tmp_path, REFS, "refcoco+", "unc"), "refcoco+")
    assert (found.name, found.proposals) == ("refcoco+-val", "annotated")
    assert [(e.id, e.text) for e in found] == [
        ("10", "the LADY"), ("11", "woman"), ("12", "the LADY"), ("20", "everything"),
    ]  # fmt: skip
    first = found.expressions[0]
    assert first.truth == tuple(BOXES[11])
    assert first.proposals == (tuple(BOXES[11]), tuple(BOXES[12]))
    assert found.expressions[3].proposals == (tuple(BOXES[13]),)
    assert (first.example.id, first.example.width, first.example.height) == ("581857", 40, 30)


BAD_REFS = {
    "an unknown object": ref(9, 99, "val", "x"),
    "an empty sentence": ref(9, 11, "val", "x", " "),
    "no sentences": {**ref(9, 11, "val", "x"), "sentences": None},
    "no object": {"split": "val", "image_id": 9, "sentences": []},
    "no split": {"ref_id": 9},
    "a text": "text",
}


@pytest.mark.parametrize("bad", BAD_REFS.values(), ids=BAD_REFS.keys())
def test_refs__one_bad_reference_is_left_out(tmp_path: Path, bad: Any) -> None:
    data = write_refer(tmp_path, [bad, REFS[1]])
    found = read_refs_regions(data)
    assert [region.id for _, region in found.regions] == ["2"]
    assert len(found.skipped) == 1
    expressions = read_refs_expressions(data, "refcocog")
    assert [expression.id for expression in expressions] == ["20"]
    assert len(expressions.skipped) == 1


def test_refs__picture_names_do_not_lead_out(tmp_path: Path) -> None:
    data = write_refer(tmp_path, REFS)
    path = data / "refcocog" / "instances.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "../../secret.jpg"
    path.write_text(json.dumps(content))
    found = read_refs_regions(data)
    assert [region.id for _, region in found.regions] == ["2"]
    assert "no place in" in found.skipped[0]


def test_refs__what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"refs\(umd\)\.p is not there(.|\n)*lichengunc/refer"
    ):
        read_refs_regions(tmp_path)
    data = write_refer(tmp_path, REFS)
    with pytest.raises(AlphaClipError, match="has no split 'dev': it has testA, testB, train, val"):
        read_refs_regions(data, split="dev")
    with pytest.raises(AlphaClipError, match="no data set 'refclef'"):
        read_refs_regions(data, "refclef")
    with pytest.raises(MissingDataError, match=r"refs\(google\)\.p is not there"):
        read_refs_regions(data, split_by="google")
    write_refer(tmp_path, {"a": 1})
    with pytest.raises(AlphaClipError, match="holds a dict: expected a list"):
        read_refs_regions(data)
    write_refer(tmp_path, REFS)
    (data / "train2014").rename(data / "elsewhere")
    with pytest.raises(MissingDataError, match="train2014 is not there"):
        read_refs_regions(data)


def line(key: int, annotation: Any, *texts: str, **other: Any) -> dict[str, Any]:
    picture = other.pop("picture", 581857)
    own = [k for k, of in PICTURE_OF.items() if of == picture]
    return {
        "image_id": picture, "ann_id": annotation, "ref_id": key,
        "file_name": f"COCO_train2014_{picture:012}_{key}.jpg",
        "anns": [{"id": k, "bbox": BOXES[k]} for k in own],
        "sentences": [{"raw": text, "sent_id": 10 * key + n} for n, text in enumerate(texts)],
        **other,
    }  # fmt: skip


LINES = [line(1, 11, "The LADY", "a\u2028woman"), line(2, [13], "all", picture=9)]
DETECTIONS = {"581857": [[4.5, 5.0, 10.0, 8.0], [1.0, 2.0, 3.0, 4.0]]}


def write_reclip(
    data: Path, lines: list[Any], detections: Any = DETECTIONS, name: str = "refcoco_val"
) -> Path:
    (data / "reclip_data").mkdir(exist_ok=True)
    text = "\n".join(json.dumps(each, ensure_ascii=False) for each in lines)
    (data / "reclip_data" / f"{name}.jsonl").write_text(text + "\n", "utf-8")
    dataset = name.partition("_")[0]
    (data / "reclip_data" / f"{dataset}_dets_dict.json").write_text(json.dumps(detections))
    if not (data / "train2014").exists():
        make_pictures(data / "train2014")
    return data


def test_reclip__detections_of_the_same_data_set(tmp_path: Path) -> None:
    """Another data set's detections are there, as the reference's README takes by mistake."""
    data = write_reclip(tmp_path, LINES, name="refcoco+_testA")
    write_reclip(tmp_path, LINES, {"581857": [[0, 0, 1, 1]]}, name="refcoco_val")
    found = read_reclip(data, "refcoco+", "testA")
    assert (found.name, found.proposals, found.skipped) == ("refcoco+-testA", "detector", ())
    assert [(e.id, e.text) for e in found] == [
        ("10", "The LADY"),
        ("11", "a\u2028woman"),
        ("20", "all"),
    ]
    first, _, last = found.expressions
    assert first.truth == tuple(BOXES[11])
    assert first.proposals == ((4.5, 5.0, 10.0, 8.0), (1.0, 2.0, 3.0, 4.0))
    assert last.proposals == ((0.0, 0.0, 40.0, 30.0),)
    assert first.example.path.name == picture_name(581857)
    assert (first.example.width, first.example.height) == (WIDTH, HEIGHT)


def test_reclip__detections_as_a_list(tmp_path: Path) -> None:
    listed = [{"image_id": 581857, "box": box} for box in DETECTIONS["581857"]]
    found = read_reclip(write_reclip(tmp_path, LINES, listed), "refcoco", "val")
    assert found.expressions[0].proposals == ((4.5, 5.0, 10.0, 8.0), (1.0, 2.0, 3.0, 4.0))


def test_reclip__annotated_proposals_need_no_detections(tmp_path: Path) -> None:
    data = write_reclip(tmp_path, LINES)
    (data / "reclip_data" / "refcoco_dets_dict.json").unlink()
    found = read_reclip(data, "refcoco", "val", "annotated")
    assert found.expressions[0].proposals == (tuple(BOXES[11]), tuple(BOXES[12]))
    assert found.proposals == "annotated"
    with pytest.raises(MissingDataError, match=r"refcoco_dets_dict\.json is not there"):
        read_reclip(data, "refcoco", "val")


def test_reclip__sentences_without_an_id(tmp_path: Path) -> None:
    sentences = [{"raw": "a"}, {"raw": "b"}]
    found = read_reclip(
        write_reclip(tmp_path, [line(1, 11, sentences=sentences)]), "refcoco", "val"
    )
    assert [expression.id for expression in found] == ["11-0", "11-1"]


BAD_LINES = {
    "several objects": line(9, [11, 12], "x"),
    "an unknown object": line(9, 99, "x"),
    "a bad box": line(9, 11, "x", anns=[{"id": 11, "bbox": [0, 0, 0, 0]}]),
    "a name that leads out": line(9, 11, "x", file_name="../secret.jpg"),
    "an absolute name": line(9, 11, "x", file_name="/etc/passwd"),
    "no sentences": line(9, 11, sentences=5),
    "an empty sentence": line(9, 11, ""),
    "a list": [1],
    "nothing": {},
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_reclip__one_bad_line_is_left_out(tmp_path: Path, bad: Any) -> None:
    found = read_reclip(write_reclip(tmp_path, [bad, LINES[1]]), "refcoco", "val")
    assert [expression.id for expression in found] == ["20"]
    assert len(found.skipped) == 1


def test_reclip__a_damaged_line_a_bad_detection_and_missing_pictures(tmp_path: Path) -> None:
    detections = {"581857": [[1, 2, 3, "x"], [1, 2, 3, 4]], "name": [[1, 2, 3, 4]]}
    data = write_reclip(tmp_path, LINES, detections)
    path = data / "reclip_data" / "refcoco_val.jsonl"
    path.write_text('{"image_id": 5\n' + path.read_text("utf-8"), "utf-8")
    (data / "train2014" / picture_name(9)).unlink()
    found = read_reclip(data, "refcoco", "val")
    assert [expression.id for expression in found] == ["10", "11"]
    assert found.expressions[0].proposals == ((1.0, 2.0, 3.0, 4.0),)
    assert len(found.skipped) == 4
    assert found.skipped[3].startswith("1 picture(s) are not there")


def test_reclip__what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(
        AlphaClipError, match="no split refcocog testA: there are refcoco: val, testA"
    ):
        read_reclip(tmp_path, "refcocog", "testA")
    with pytest.raises(
        MissingDataError, match=r"refcoco_val\.jsonl is not there(.|\n)*allenai/reclip"
    ):
        read_reclip(tmp_path, "refcoco", "val")
    data = write_reclip(tmp_path, LINES, 5)
    with pytest.raises(AlphaClipError, match="holds no detections"):
        read_reclip(data, "refcoco", "val")
    assert sum(map(len, SPLITS.values())) == 8


def test_reclip__a_name_without_a_number_is_kept(tmp_path: Path) -> None:
    """The reference code would cut COCO_train2014_000000581857.jpg to COCO_train2014.jpg."""
    plain = line(1, 11, "x", file_name=picture_name(581857))
    found = read_reclip(write_reclip(tmp_path, [plain]), "refcoco", "val")
    assert found.expressions[0].example.path.is_file()
    np.testing.assert_allclose(found.expressions[0].truth, BOXES[11])
