"""What has changed since an index was made, told without reading all labels."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import fiftyone as fo
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding import changes
from alphaclip.indexing.embedding.changes import Changes
from alphaclip.indexing.embedding.label_reader import labelled_pictures
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.manifests import read_manifest, write_manifest

NEW = fo.Detection(bounding_box=[0.4, 0.4, 0.3, 0.3])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures whose labels are read."""
    ids: list[str] = []

    def reading(*given, **options):
        for picture in labelled_pictures(*given, **options):
            ids.append(picture.sample_id)
            yield picture

    monkeypatch.setattr(changes, "labelled_pictures", reading)
    return ids


def test_changes__nothing(index: RegionIndex, read: list[str]) -> None:
    assert (index.changes(), str(index.changes())) == (Changes(), "")
    read.clear()
    assert index.changes() == Changes()
    assert read == []


def test_changes__edited_new_and_removed(index: RegionIndex, read: list[str]) -> None:
    index.changes()
    read.clear()
    first, second, _ = index.dataset
    first.boxes.detections[0].bounding_box = [0.3, 0.1, 0.2, 0.2]
    first.boxes.detections.append(NEW.copy())
    first.save()
    del second.boxes.detections[1:3]
    second.save()
    told = index.changes()
    assert (told, str(told)) == (Changes(1, 1, 2), "1 edited, 1 new, 2 removed")
    whole = index.freshness()
    assert (told.edited, told.new, told.removed) == (whole.edited, whole.missing, whole.gone)
    first.boxes.detections[0].bounding_box = [0, 0.2, 0.3, 0.5]
    first.save()
    assert index.changes() == Changes(0, 1, 2)
    index.update()
    assert index.changes() == Changes()


@pytest.mark.parametrize("change", ["a tag", "a class"])
def test_changes__what_the_vectors_do_not_show(index: RegionIndex, change: str) -> None:
    sample = index.dataset.first()
    if change == "a tag":
        sample.tags.append("seen")
    else:
        sample.boxes.detections[0].label = "other"
    sample.save()
    assert index.changes() == Changes()


def test_changes__pictures_that_come_and_go(index: RegionIndex) -> None:
    dataset = index.dataset
    index.changes()
    path = dataset.first().filepath
    dataset.add_sample(fo.Sample(path, boxes=fo.Detections(detections=[NEW.copy(), NEW.copy()])))
    dataset.delete_samples([dataset.first().id])
    assert index.changes() == Changes(0, 2, 4)
    dataset.delete_samples([dataset.last().id])
    assert index.changes() == Changes(0, 0, 4)


def test_changes__of_the_view_that_it_was_built_on(dataset: fo.Dataset, encoder: Encoder) -> None:
    view = dataset.match_tags("keep")
    for sample in dataset.limit(2):
        sample.tags.append("keep")
        sample.save()
    index = indexing.build(view, "boxes", encoder)
    _, second, third = dataset
    third.boxes.detections.append(NEW.copy())
    third.save()
    assert index.changes() == Changes()
    second.tags = []
    second.save()
    assert index.changes() == Changes(0, 0, 4)


def test_changes__some_at_a_time(index: RegionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "AT_ONCE", 2)
    for sample in index.dataset:
        sample.boxes.detections.append(NEW.copy())
        sample.save()
    told = index.changes()
    assert (told, str(told)) == (
        Changes(0, 2, 0, 1),
        "2 new, 1 modified pictures not looked at yet",
    )
    assert index.changes() == Changes(0, 3, 0, 0)


def test_changes__of_a_store_that_does_not_say_when_it_was_read(index: RegionIndex) -> None:
    version = index.snapshot().version
    manifest = read_manifest(version.folder)
    del manifest["info"]["report"]["read_at"]
    write_manifest(version.folder, manifest)
    index = indexing.load(index.dataset)
    sample = index.dataset.first()
    sample.boxes.detections.append(NEW.copy())
    sample.save()
    assert index.changes() == Changes(0, 1, 0)


def test_changes__the_field_is_gone(index: RegionIndex) -> None:
    index.dataset.rename_sample_field("boxes", "other")
    with pytest.raises(AlphaClipError, match="holds no regions"):
        index.changes()


def test_changes__a_picture_that_was_replaced_needs_the_whole_look(
    index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_MARGIN", timedelta(0))
    path = Path(index.dataset.first().filepath)
    path.write_bytes(Path(index.dataset.last().filepath).read_bytes())
    assert index.changes() == Changes()
    assert index.freshness().edited == 4
