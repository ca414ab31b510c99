"""Labels of pictures that FiftyOne has not written are not read again, and nothing is missed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.core.utils import serialize_numpy_array
from PIL import Image

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding import label_reader
from alphaclip.indexing.embedding.building import freshness
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.manifests import read_manifest, write_manifest
from alphaclip.regions.region import Region

BOX = [0.4, 0.4, 0.3, 0.3]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples whose labels are read."""
    ids: list[str] = []
    read_pictures = label_reader.read_pictures

    def noted(*given: Any) -> Any:
        for picture in read_pictures(*given):
            ids.append(picture.sample_id)
            yield picture

    monkeypatch.setattr(label_reader, "read_pictures", noted)
    return ids


def compare(index: RegionIndex) -> tuple[int, int, int]:
    """How fresh an index is, the same as by a look at all labels."""
    version = index.snapshot().version
    told = freshness(index.dataset, version)
    assert told == freshness(index.dataset, replace(version, pictures=None))
    return told.edited, told.missing, told.gone


def report(index: RegionIndex) -> dict[str, Any]:
    """What an update says, but when it was and how long it took."""
    index.update()
    told = dict(index.info()["report"])
    return {name: value for name, value in told.items() if name not in ("read_at", "seconds")}


def edit_one(dataset: fo.Dataset) -> None:
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = BOX
    sample.save()


def add_one(dataset: fo.Dataset) -> None:
    sample = dataset.first()
    sample.boxes.detections.append(fo.Detection(bounding_box=BOX))
    sample.save()


def swap_one(dataset: fo.Dataset) -> None:
    sample = dataset.first()
    sample.boxes.detections[1] = fo.Detection(bounding_box=BOX)
    sample.save()


def set_values(dataset: fo.Dataset) -> None:
    boxes = dataset.values("boxes.detections.bounding_box")
    boxes[1][2] = BOX
    dataset.set_values("boxes.detections.bounding_box", boxes)


def set_label_values(dataset: fo.Dataset) -> None:
    name = dataset.last().boxes.detections[0].id
    dataset.set_label_values("boxes.detections.bounding_box", {name: BOX})


def rename_fields(dataset: fo.Dataset) -> None:
    dataset.clone_sample_field("boxes", "others")
    others = dataset.first()
    others.others.detections = others.others.detections[:1]
    others.save()
    dataset.rename_sample_field("boxes", "before")
    dataset.rename_sample_field("others", "boxes")


def empty_field(dataset: fo.Dataset) -> None:
    dataset.delete_sample_field("boxes")
    dataset.add_sample_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)


def merge(dataset: fo.Dataset) -> None:
    boxes = fo.Detections(detections=[fo.Detection(bounding_box=BOX)])
    dataset.merge_samples([fo.Sample(dataset.first().filepath, boxes=boxes)])


def replace_picture(dataset: fo.Dataset) -> None:
    path = Path(dataset.first().filepath)
    path.write_bytes(Path(dataset.last().filepath).read_bytes())


CHANGES: dict[str, tuple[Callable[[fo.Dataset], Any], tuple[int, int, int]]] = {
    "nothing": (lambda dataset: None, (0, 0, 0)),
    "tags": (lambda dataset: dataset.tag_samples("seen"), (0, 0, 0)),
    "tags of labels": (lambda dataset: dataset.tag_labels("seen"), (0, 0, 0)),
    "an edit": (edit_one, (1, 0, 0)),
    "a new label": (add_one, (0, 1, 0)),
    "one for another": (swap_one, (0, 1, 1)),
    "values": (set_values, (1, 0, 0)),
    "values by label": (set_label_values, (1, 0, 0)),
    "labels deleted": (
        lambda dataset: dataset.delete_labels(
            view=dataset.filter_labels("boxes", F("label") == "12"), fields="boxes"
        ),
        (0, 0, 1),
    ),
    "a view saved": (
        lambda dataset: dataset.filter_labels("boxes", F("label") != "12").save("boxes"),
        (0, 0, 1),
    ),
    "a field saved": (
        lambda dataset: dataset.set_field("boxes.detections.bounding_box", BOX).save("boxes"),
        (12, 0, 0),
    ),
    "a view kept": (lambda dataset: dataset.limit(1).keep(), (0, 0, 8)),
    "a sample deleted": (lambda dataset: dataset.delete_samples([dataset.last().id]), (0, 0, 4)),
    "a field renamed": (rename_fields, (0, 0, 3)),
    "a field cleared": (lambda dataset: dataset.clear_sample_field("boxes"), (0, 0, 12)),
    "a field made anew": (empty_field, (0, 0, 12)),
    "samples merged": (merge, (0, 1, 0)),
    "a picture replaced": (replace_picture, (4, 0, 0)),
    "samples that were elsewhere": (
        lambda dataset: dataset.add_collection(dataset.limit(1).clone(), new_ids=True),
        (0, 4, 0),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_freshness(name: str, index: RegionIndex) -> None:
    change, expected = CHANGES[name]
    change(index.dataset)
    assert compare(index) == expected


def test_update__reads_what_was_written(index: RegionIndex, read: list[str]) -> None:
    first, second, _ = (sample.id for sample in index.dataset)
    assert index.freshness().is_fresh
    assert report(index)["kept"] == 12
    assert read == []
    edit_one(index.dataset)
    assert index.freshness().edited == 1
    assert report(index)["edited"] == 1
    assert read == [first, first]
    read.clear()
    index.dataset[second].filepath = index.dataset[second].filepath
    index.dataset.delete_labels(ids=[index.dataset[second].boxes.detections[0].id])
    told = report(index)
    assert (told["kept"], told["gone"], told["samples"]) == (11, 1, 3)
    assert report(index)["regions"] == 11
    assert read == [second]


def test_build__overwrite_reads_everything(
    index: RegionIndex, encoder: Encoder, read: list[str]
) -> None:
    """Also what was written straight into the database."""
    path = "boxes.detections.0.bounding_box"
    index.dataset._sample_collection.update_one({}, {"$set": {path: BOX}})
    assert index.update().edited == 0
    index = indexing.build(index.dataset, "boxes", encoder, overwrite=True)
    assert (index.info()["report"]["edited"], len(read)) == (1, 3)


def test_update__a_picture_out_of_reach(index: RegionIndex, read: list[str]) -> None:
    path = Path(index.dataset.first().filepath)
    path.rename(path.with_suffix(".away"))
    assert index.freshness().unreachable == 4
    told = report(index)
    assert (told["unreachable"], told["kept"], read) == (4, 12, [])


def test_update__reports_again_what_was_noticed(
    dataset: fo.Dataset, encoder: Encoder, read: list[str]
) -> None:
    """Labels that cannot be used or embedded, and polylines that are taken for something else."""
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.1, 0.1, 0, 0.1]
    sample.boxes.detections[1].bounding_box = [5, 5, 1, 1]
    sample.save()
    boxes = indexing.build(dataset, "boxes", encoder)
    shapes = indexing.build(dataset, "shape", encoder, key="shapes")
    read.clear()
    told = [report(boxes), report(boxes)]
    assert [len(one["skipped"]) for one in told] == [2, 2]
    assert told[0] == told[1]
    assert read == [sample.id] * 2
    assert [report(shapes)["unfilled"] for _ in range(2)] == [1, 1]
    assert read == [sample.id] * 4


def test_update__masks_in_files_change_by_themselves(
    dataset: fo.Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    mask = np.eye(4, dtype=np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample = dataset.first()
    sample.boxes.detections[0].mask_path = str(tmp_path / "mask.png")
    sample.save()
    index = indexing.build(dataset, "boxes", encoder)
    assert compare(index) == (0, 0, 0)
    Image.fromarray(mask.T[::-1].copy()).save(tmp_path / "mask.png")
    assert compare(index) == (1, 0, 0)
    assert index.update().edited == 1


def test_update__unpacks_no_mask_that_is_stored_as_before(
    dataset: fo.Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.eye(4, dtype=bool)
    sample = dataset.first()
    for label in sample.boxes.detections:
        label.mask = mask
    sample.save()
    index = indexing.build(dataset, "boxes", encoder)
    unpacked, from_mask = [], Region.from_mask
    monkeypatch.setattr(
        Region, "from_mask", lambda mask, box: unpacked.append(box) or from_mask(mask, box)
    )
    edit_one(dataset)
    assert (index.update().edited, unpacked) == (1, [BOX])
    sample.reload()
    sample.boxes.detections[1].mask = mask.T[::-1].copy()
    sample.save()
    assert compare(index) == (1, 0, 0)
    assert index.update().edited == 1
    unpacked.clear()
    # The same mask, packed in another way
    stored = zlib.compress(zlib.decompress(serialize_numpy_array(mask)), level=0)
    changes = {"boxes.detections.2.mask": stored, "last_modified_at": datetime.now(timezone.utc)}
    dataset._sample_collection.update_one({"_id": sample._id}, {"$set": changes})
    assert (index.update().edited, len(unpacked)) == (0, 1)


def test_update__of_a_view_reads_everything(
    dataset: fo.Dataset, encoder: Encoder, read: list[str]
) -> None:
    """What a FiftyOne view shows of a sample may change without it."""
    index = indexing.build(dataset.limit(2), "boxes", encoder)
    read.clear()
    assert (index.update().kept, len(read)) == (8, 2)


@pytest.mark.parametrize("how", ["missing", "damaged", "of before", "of another file"])
def test_update__without_the_list(index: RegionIndex, how: str, read: list[str]) -> None:
    version = index.snapshot().version
    folder, manifest = version.folder, read_manifest(version.folder)
    path = folder / manifest["pictures"]["file"]
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif how == "of before":
        del manifest["pictures"]
        write_manifest(folder, manifest)
    else:
        manifest["pictures"] = manifest["segments"][0]["rows"]
        write_manifest(folder, manifest)
    index = indexing.load(index.dataset)
    assert compare(index) == (0, 0, 0)
    read.clear()
    assert asdict(index.update())["kept"] == 12
    assert len(read) == 3
    index.update()
    assert len(read) == 3


def test_update__a_list_that_is_elsewhere(index: RegionIndex) -> None:
    version = index.snapshot().version
    manifest = read_manifest(version.folder)
    manifest["pictures"] = {**manifest["pictures"], "file": "../../secret.parquet"}
    write_manifest(version.folder, manifest)
    with pytest.raises(AlphaClipError, match="the file of its pictures"):
        read_manifest(version.folder)
