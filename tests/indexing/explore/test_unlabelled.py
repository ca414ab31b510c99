"""Proposals that no label covers, and how much regions overlap."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.overlaps import iou
from alphaclip.indexing.explore.unlabelled import find_unlabelled, is_of_proposals
from alphaclip.indexing.masks.mask_fields import prepare_field
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.regions.region import Region

BOX = [0.2, 0.2, 0.4, 0.4]


@pytest.fixture
def labelled(dataset: fo.Dataset) -> fo.Dataset:
    """The boxes are proposals, the first of the first picture is labelled, its second
    half-covered by that label."""
    dataset.set_values("boxes.detections.label", [[None] * 4] * 3)
    first = dataset.first()
    own = first.boxes.detections
    first["truth"] = fo.Detections(detections=[fo.Detection(bounding_box=own[0].bounding_box)])
    first.save()
    return dataset


def test_find_unlabelled__leaves_out_what_is_covered(
    labelled: fo.Dataset, index: RegionIndex
) -> None:
    own = [d.id for d in labelled.first().boxes.detections]
    # Neighbours are 0.1 apart and 0.3 wide: an IoU of 1/2, then 1/5.
    everything = index.search("red apple", k=None)
    expected = [i for i in everything.label_ids if i not in own[:2]]
    hits = find_unlabelled(index, "red apple", "truth")
    assert hits.label_ids.tolist() == expected
    assert find_unlabelled(index, "red apple", "truth", max_iou=0.6).label_ids.tolist() == [
        i for i in everything.label_ids if i != own[0]
    ]
    assert len(find_unlabelled(index, "red apple", "truth", max_iou=0.1)) == 9
    assert find_unlabelled(index, "red apple", "truth", k=1).label_ids.tolist() == expected[:1]
    view = labelled.limit(1)
    assert sorted(find_unlabelled(index, "x", "truth", view=view).label_ids) == sorted(own[2:])


def test_find_unlabelled__looks_further_until_it_has_k(
    labelled: fo.Dataset, index: RegionIndex
) -> None:
    hits = index.search("red apple", k=None)
    for sample in labelled:
        covered = [d for d in sample.boxes.detections if d.id in hits.label_ids[:9]]
        boxes = [fo.Detection(bounding_box=d.bounding_box) for d in covered]
        sample["truth"] = fo.Detections(detections=boxes)
        sample.save()
    found = find_unlabelled(index, "red apple", ["truth"], max_iou=1, k=1)
    assert found.label_ids.tolist() == [hits.label_ids[9]]


def test_find_unlabelled__bad_input(labelled: fo.Dataset, index: RegionIndex) -> None:
    for fields, message in (("boxes", "itself"), ([], "is empty"), ("kind", "Classification")):
        with pytest.raises(AlphaClipError, match=message):
            find_unlabelled(index, "red apple", fields)
    with pytest.raises(AlphaClipError, match="max_iou is 0"):
        find_unlabelled(index, "red apple", "truth", max_iou=0)


def test_find_unlabelled__refuses_what_has_classes(dataset: fo.Dataset, index: RegionIndex) -> None:
    dataset.add_sample_field("truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.set_values("shape.label", ["a", "b", None])
    with pytest.raises(AlphaClipError, match=r"have a class.*Segment regions.*Embed regions"):
        find_unlabelled(index, "red apple", "truth")
    dataset.set_values("shape.label", [None, "", None])
    with pytest.raises(AlphaClipError, match="choose an index of 'shape', or build one"):
        find_unlabelled(index, "red apple", "truth")


@pytest.mark.parametrize(
    ("labels", "is_proposals"),
    [
        ([None] * 4, True),
        (["", None, "", None], True),
        (["car", None, None, ""], True),
        (["car", "car", None, None], False),
        (["object"] * 4, False),
    ],
)
def test_is_of_proposals__most_have_no_class(
    dataset: fo.Dataset, labels: list[str | None], is_proposals: bool
) -> None:
    dataset.set_values("boxes.detections.label", [labels] * 3)
    assert is_of_proposals(dataset, "boxes") is is_proposals


def test_is_of_proposals__other_fields(dataset: fo.Dataset) -> None:
    assert is_of_proposals(dataset, "shape")
    with pytest.raises(AlphaClipError, match="Classification"):
        is_of_proposals(dataset, "kind")
    for name, field in (("everything", None), ("of_boxes", "boxes")):
        prepare_field(dataset, name, {"kind": "sam", "field": field})
        assert is_of_proposals(dataset, name) is (field is None)
    prepare_field(dataset, "parts", {"kind": "components", "field": "x"})
    assert not is_of_proposals(dataset, "parts")


def test_iou__boxes() -> None:
    box = Region.from_box(BOX)
    assert iou(box, box) == pytest.approx(1)
    assert iou(box, Region.from_box([0.4, 0.2, 0.4, 0.4])) == pytest.approx(1 / 3)
    assert iou(box, Region.from_box([0.7, 0.2, 0.2, 0.2])) == 0
    assert iou(box, Region.whole_image()) == pytest.approx(0.16)


@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_iou__masks_where_both_have_one(scale: float) -> None:
    box = [0.2, 0.2, 0.4 * scale, 0.4 * scale]
    left, lower = np.zeros((2, 20, 20), bool)
    left[:, :10] = True
    lower[10:] = True
    one, two = Region.from_mask(left, box=box), Region.from_mask(lower, box=box)
    assert iou(one, two) == pytest.approx(1 / 3, abs=0.03)
    assert iou(one, Region.from_box(box)) == pytest.approx(1)
    assert iou(one, Region.from_mask(~left, box=box)) < 0.03


def test_iou__polygon_and_mask() -> None:
    triangle = Region.from_polygon([[0.2, 0.2], [0.6, 0.2], [0.2, 0.6]])
    full = Region.from_mask(np.ones((8, 8), bool), box=BOX)
    assert iou(triangle, full) == pytest.approx(0.5, abs=0.02)
    assert iou(triangle, Region.from_box(BOX)) == pytest.approx(1)


def test_iou__outside_the_picture() -> None:
    outside = Region.from_mask(np.ones((4, 4), bool), box=[1.2, 0.1, 0.2, 0.2])
    assert iou(outside, outside) == 0
