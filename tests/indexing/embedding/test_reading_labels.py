"""Labels as the database holds them are read as FiftyOne's objects of them would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import fsspec
import numpy as np
import pytest
from bson import Decimal128, ObjectId
from fiftyone import ViewField as F
from PIL import Image

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.labels import (
    Skipped,
    active_slice,
    check_field,
    label_ids,
    label_region,
    label_values,
)
from alphaclip.indexing.embedding.label_reader import (
    HALF,
    TWICE,
    labelled_pictures,
    picture_stamp,
    region_stamp,
)
from alphaclip.regions.remote import read_remote

BOX, NAN = [0.1, 0.2, 0.3, 0.4], float("nan")
SQUARE = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.1, 0.5]]
FIELDS = ("boxes", "box", "lines", "line")
MASKS = {
    "bool": np.eye(5, 7, dtype=bool),
    "bytes": np.eye(3, dtype=np.uint8) * 255,
    "soft": np.array([[0, 128], [255, 3]], np.uint8),
    "columns first": np.asfortranarray(np.eye(4, 6, dtype=np.uint8)),
    "floats": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "colours": np.dstack([np.eye(3, dtype=np.uint8)] * 3),
    "int64": np.eye(2, dtype=np.int64) * 7,
    "nothing": np.zeros((0, 3), bool),
    "a line": np.ones(4, bool),
}
BOXES = [
    BOX, [0, 0, 1, 1], [-0.0, 1e-7, 1e-5, 3], [0.1, 0.2, 0, 0.4], [0.1, 0.2, -1, 0.4],
    [NAN, 0, 1, 1], [1e5, 0, 1, 1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5], [],
]  # fmt: skip
LINES: list[dict[str, Any]] = [
    {"points": [SQUARE], "filled": True}, {"points": [SQUARE], "filled": False},
    {"points": [SQUARE, [[0.2, 0.2]]], "filled": True}, {"points": [], "filled": True},
    {"points": [[]], "filled": False}, {"points": [[[0.1, NAN], *SQUARE]], "filled": True},
    {"points": [SQUARE, [[0.2, 0.2], [0.3, 0.2], [0.2, 0.4]]], "filled": True},
    {"points": [[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]], "filled": True},
]  # fmt: skip


def detections(folder: Path) -> list[fo.Detection]:
    boxes = [fo.Detection(label="box", bounding_box=box) for box in BOXES]
    masks = [fo.Detection(bounding_box=BOX, mask=mask, label="m") for mask in MASKS.values()]
    path = folder / "mask.png"
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(path)
    files = [
        fo.Detection(bounding_box=BOX, mask_path=str(folder / name)) for name in ("mask.png", "")
    ]
    both = fo.Detection(bounding_box=BOX, mask=MASKS["bool"], mask_path=str(path))
    solid = fo.Detection(location=[0, 0, 1], dimensions=[1, 1, 1], rotation=[0, 0, 0])
    lopsided = fo.Detection(bounding_box=[0, 0, 0, 1], mask=MASKS["bool"])
    return [*boxes, *masks, *files, both, solid, lopsided]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[fo.Sample]:
    """Every kind of label, alone and together."""
    folder = tmp_path_factory.mktemp("labelled")
    there, gone = folder / "picture ä.png", folder / "gone.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(there)
    found, lines = detections(folder), [fo.Polyline(closed=True, **one) for one in LINES]
    plain = [fo.Detection(bounding_box=[0.01 * i, 0.1, 0.2, 0.3], tags=["t"]) for i in range(9)]
    rows = [([], []), (found, lines), (plain, []), (plain[:1], lines[:1])]
    rows += [([one, plain[0]], [line]) for one, line in zip(found, lines * 9, strict=False)]
    samples = []
    for number, (boxes, polylines) in enumerate(rows):
        sample = fo.Sample(gone if number == 3 else there, number=number)
        sample["boxes"] = fo.Detections(detections=[one.copy() for one in boxes])
        sample["lines"] = fo.Polylines(polylines=[one.copy() for one in polylines])
        sample["box"] = boxes[0].copy() if boxes else None
        sample["line"] = polylines[0].copy() if polylines else None
        samples.append(sample)
    return samples


@pytest.fixture(scope="module")
def labelled(samples: list[fo.Sample], dataset_factory: Callable) -> fo.Dataset:
    dataset = dataset_factory()
    dataset.add_samples([sample.copy() for sample in samples], dynamic=True, progress=False)
    return dataset


@pytest.fixture(scope="module")
def grouped(samples: list[fo.Sample], dataset_factory: Callable) -> fo.Dataset:
    """The same, each twice in a group."""
    dataset = dataset_factory()
    dataset.add_group_field("group", default="left")
    for sample in samples:
        group = fo.Group()
        pair = [sample.copy(), sample.copy()]
        for one, side in zip(pair, ("left", "right"), strict=True):
            one["group"] = group.element(side)
        dataset.add_samples(pair, dynamic=True, progress=False)
    return dataset


VIEWS: dict[str, Callable[[fo.Dataset], Any]] = {
    "all": lambda dataset: dataset,
    "some": lambda dataset: dataset.match(F("number") > 3).sort_by("number", reverse=True),
    "one": lambda dataset: dataset.match_tags("none"),
    "tagged labels": lambda dataset: dataset.filter_labels("boxes", F("tags").contains("t")),
    "some labels": lambda dataset: dataset.filter_labels("boxes", F("label") == None),  # noqa: E711
    "moved": lambda dataset: dataset.set_field("boxes.detections.bounding_box", BOX),
    "without": lambda dataset: dataset.exclude_fields("number"),
    "groups": lambda dataset: dataset.group_by("number"),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", VIEWS)
def test_labelled_pictures(labelled: fo.Dataset, name: str, field: str) -> None:
    compare(active_slice(VIEWS[name](labelled)), field)


@pytest.mark.parametrize("field", FIELDS)
def test_labelled_pictures__in_slices(grouped: fo.Dataset, field: str) -> None:
    for samples in (
        active_slice(grouped),
        active_slice(grouped.limit(4)),
        grouped.select_group_slices("right"),
        grouped.select_group_slices(["left", "right"]),
    ):
        compare(samples, field)


def compare(samples: fo.SampleCollection, field: str) -> None:
    settings = {"field": field, "fingerprint": "f" * 64, "identify": "stat"}
    reading: dict[str, Any] = {}
    pictures = list(labelled_pictures(samples, settings, reading, lambda *_: None))
    expected, told = through_documents(samples, settings)
    reading.pop("read_at")
    assert reading == told
    assert len(pictures) == len(expected)
    for picture, (one, regions) in zip(pictures, expected, strict=True):
        # Objects do not say how a mask is stored
        stamps = [stamp[:HALF] for stamp in picture.stamps]
        assert (vars(picture) | {"stamps": stamps}).items() >= one.items()
        assert len(picture.regions) == len(regions)
        assert [repr(r) for r in picture.regions] == [repr(r) for r in regions]
    ids, _ = label_values(samples, field)
    for column, other in zip(
        vars(label_ids(samples, field)).values(), vars(ids).values(), strict=True
    ):
        assert column.tolist() == other.tolist()


def through_documents(samples: fo.SampleCollection, settings: dict[str, Any]) -> tuple[list, dict]:
    """What is read of FiftyOne's objects."""
    field, kind = settings["field"], check_field(samples, settings["field"])
    told: dict[str, Any] = {"samples": 0, "unfilled": 0, "stray_rings": 0, "skipped": []}
    pictures = []
    for sample in samples.select_fields(field).iter_samples():
        value, regions = sample[field], {}
        labels = [] if value is None else value[kind.lower()] if kind.endswith("s") else [value]
        for label in labels:
            try:
                if str(label.id) in regions:
                    raise RegionError(TWICE)
                region = regions[str(label.id)] = label_region(label)
            except RegionError as error:
                told["skipped"].append(asdict(Skipped(sample.filepath, str(label.id), str(error))))
                continue
            if kind.startswith("Polyline"):
                told["unfilled"] += not label.filled
                told["stray_rings"] += len(label.points) - len(region.rings) if region.rings else 0
        told["samples"] += 1
        one = {
            "sample_id": sample.id,
            "filepath": sample.filepath,
            "stamp": picture_stamp(sample.filepath, "stat") if regions else None,
            "label_ids": list(regions),
            "stamps": [
                region_stamp(region, settings["fingerprint"]) for region in regions.values()
            ],
        }
        pictures.append((one, list(regions.values())))
    return pictures, told


ID = ObjectId()
ODD: list[dict[str, Any]] = [
    {"bounding_box": None}, {"bounding_box": ["0.1", 0.2, 0.3, 0.4]}, {"bounding_box": "a box"},
    {"bounding_box": [None, 0.2, 0.3, 0.4]}, {"bounding_box": [0.1, 0.2, 0.3, "wide"]},
    {"bounding_box": [0.1, 0.2, 0.3, Decimal128("0.4")]}, {"bounding_box": {"x": 1}},
    {"bounding_box": [2**62, 0, 1, 1]}, {"bounding_box": [True, False, 1, 1]},
    {"bounding_box": [[0.1, 0.2, 0.3, 0.4]]}, {"mask": None}, {"mask": b"no mask"},
    {"mask": "text"}, {"mask": 7}, {"mask_path": None}, {"mask_path": 7}, {"dimensions": None},
    {"_id": "an id"}, {"_id": 7}, {"_id": {"a": 1}}, {"_id": ID}, {"_cls": "Polyline"},
    {"label": 7},
]  # fmt: skip
ODD_LINES: list[dict[str, Any]] = [
    {"points": None}, {"points": "points"}, {"points": [None]}, {"points": SQUARE},
    {"points": [SQUARE, "a"]}, {"points": {"a": 1}}, {"filled": None}, {"filled": "yes"},
    {"filled": 0}, {"points": [[[0.1, "0.2"], [0.3, 0.4], [0.5, 0.1]]]},
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "odd"), [*(("boxes", one) for one in ODD), *(("lines", one) for one in ODD_LINES)]
)
def test_labelled_pictures__odd_documents(
    field: str, odd: dict[str, Any], dataset_factory: Callable
) -> None:
    dataset = dataset_factory()
    plain = fo.Detection(bounding_box=BOX), fo.Polyline(points=[SQUARE], filled=True)
    labels = {"boxes": fo.Detections(detections=[plain[0].copy() for _ in range(3)])}
    labels["lines"] = fo.Polylines(polylines=[plain[1].copy() for _ in range(3)])
    dataset.add_sample(fo.Sample("gone.png", **labels))
    path = "boxes.detections" if field == "boxes" else "lines.polylines"
    for number in (0, 2):
        change = {f"{path}.{number}.{name}": value for name, value in odd.items()}
        dataset._sample_collection.update_one({}, {"$set": change})
    settings = {"field": field, "fingerprint": "f", "identify": "stat"}
    try:
        through_documents(dataset, settings)
    except ValueError:  # FiftyOne gives up the whole sample; here it is a label at most
        pictures = list(labelled_pictures(dataset, settings, {}, lambda *_: None))
        good = label_region(plain[field == "lines"])
        assert region_stamp(good, "f") in pictures[0].stamps
    else:
        compare(dataset, field)


@pytest.mark.parametrize("path", ["boxes", "boxes.detections", "box"])
@pytest.mark.parametrize("value", [None, 7, "text", [], [None, 7, "text", []]])
def test_labelled_pictures__no_labels_at_all(
    path: str, value: object, dataset_factory: Callable
) -> None:
    dataset, box = dataset_factory(), fo.Detection(bounding_box=BOX)
    boxes = fo.Detections(detections=[box.copy()])
    dataset.add_samples([fo.Sample(name, boxes=boxes.copy(), box=box.copy()) for name in "ab"])
    dataset._sample_collection.update_one({}, {"$set": {path: value}})
    field = path.partition(".")[0]
    settings = {"field": field, "fingerprint": "f", "identify": "stat"}
    odd, good = labelled_pictures(dataset, settings, {}, lambda *_: None)
    assert (len(odd.regions), len(good.regions)) == (0, 1)
    assert len(label_ids(dataset, field)) == 1


def test_labelled_pictures__labels_without_ids(dataset_factory: Callable) -> None:
    """FiftyOne makes an id each time that it reads such a label: nothing could be found by it."""
    dataset, box = dataset_factory(), fo.Detection(bounding_box=BOX)
    boxes = fo.Detections(detections=[box.copy(), box.copy(), box.copy()])
    dataset.add_sample(fo.Sample("gone.png", boxes=boxes))
    for number, change in ((0, "$set"), (2, "$unset")):
        path = f"boxes.detections.{number}._id"
        dataset._sample_collection.update_one({}, {change: {path: None}})
    settings = {"field": "boxes", "fingerprint": "f", "identify": "stat"}
    reading: dict[str, Any] = {}
    [picture] = labelled_pictures(dataset, settings, reading, lambda *_: None)
    assert picture.label_ids == [boxes.detections[1].id]
    assert ["no id" in one["reason"] for one in reading["skipped"]] == [True, True]


@pytest.mark.parametrize("identify", ["stat", "content"])
def test_picture_stamp__sees_that_a_picture_at_an_address_was_written_again(identify: Any) -> None:
    files, address = fsspec.filesystem("memory"), f"memory://{identify}.png"
    files.pipe(f"/{identify}.png", b"before")
    before = picture_stamp(address, identify)
    assert read_remote(address) == b"before"
    files.pipe(f"/{identify}.png", b"after!")
    assert picture_stamp(address, identify) != before
    assert read_remote(address) == b"after!"
