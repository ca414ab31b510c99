"""Real input: the blood cells of BCCD, through FiftyOne's own VOC importer."""

from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from alphaclip.indexing import build
from alphaclip.indexing.dataset.labels import label_region
from alphaclip.indexing.region_index import RegionIndex

pytestmark = pytest.mark.shared

BOXES, EMPTY = 4888, 2
PICTURES = 48
"""That are embedded, beside those with an empty box: enough for 40 white cells."""


@pytest.fixture(scope="module")
def cells(shared_data: Path) -> Iterator[fo.DatasetView]:
    """Some of the pictures, all with an empty box among them."""
    folder = shared_data / "data" / "bccd"
    dataset = fo.Dataset.from_dir(
        dataset_type=fo.types.VOCDetectionDataset,
        data_path=str(folder / "images"),
        labels_path=str(folder / "annotations"),
        label_field="cells",
    )
    assert dataset.count("cells.detections") == BOXES
    empty = dataset.filter_labels("cells", F("bounding_box")[2] * F("bounding_box")[3] == 0)
    # By name: `take` draws by the pictures' whole paths, and so others on each machine.
    some = sorted(zip(*dataset.values(["filepath", "id"]), strict=True))[:PICTURES]
    yield dataset.select([*empty.values("id"), *(sample_id for _, sample_id in some)])
    dataset.delete()


@pytest.fixture(scope="module")
def index(cells: fo.DatasetView) -> RegionIndex:
    return build(cells, "cells", "alphaclip-nano", key="cells")


def test_build__all_but_the_two_empty_boxes(cells: fo.DatasetView, index: RegionIndex) -> None:
    report = index.info()["report"]
    assert len(index) == report["regions"] == cells.count("cells.detections") - EMPTY
    skipped = report["skipped"]
    assert len(skipped) == EMPTY
    sizes = {d.id: d.bounding_box[2:] for d in cells.values("cells.detections", unwind=True)}
    assert all(0 in sizes[row["label_id"]] for row in skipped)
    assert all(row["reason"] for row in skipped)


def test_search__an_example_finds_its_own_kind(cells: fo.DatasetView, index: RegionIndex) -> None:
    boxes = [
        (sample.filepath, detection)
        for sample in cells.match_labels(filter=F("label") == "WBC", fields="cells")
        for detection in sample.cells.detections
    ]
    labels = {detection.id: detection.label for _, detection in boxes}
    rare = [(path, detection) for path, detection in boxes if detection.label == "WBC"][:40]
    own = 0
    for path, detection in rare:
        hits = index.search((path, label_region(detection)), k=11)
        assert hits.label_ids[0] == detection.id
        own += sum(labels.get(label) == "WBC" for label in hits.label_ids[1:])
    share = own / (10 * len(rare))
    assert share >= 0.5, f"7 in 100 boxes are WBC, and so are {share:.2f} of their neighbours"
