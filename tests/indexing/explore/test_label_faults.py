"""Labels that are missing, drawn badly, or doubled."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import (
    RegionIndex,
    find_badly_drawn_labels,
    find_doubled_labels,
    find_missing_labels,
)
from alphaclip.indexing.cli.index_cli import ODD
from alphaclip.indexing.explore.missing_labels import proposals_for
from alphaclip.indexing.masks.mask_fields import prepare_field

BOXES = [[0.02 + 0.24 * column, 0.2, 0.2, 0.6] for column in range(4)]
CLASSES = ["cat", "cat", "dog", "dog"]


def detections(boxes: Sequence[Sequence[float]], labels: Sequence[str | None]) -> fo.Detections:
    return fo.Detections(
        detections=[
            fo.Detection(label=label, bounding_box=list(box))
            for box, label in zip(boxes, labels, strict=True)
        ]
    )


@pytest.fixture
def pictures(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """Three pictures of two cats and two dogs each: ``animals``, and the same as ``proposals``."""
    rng, dataset = np.random.default_rng(0), dataset_factory()
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (60, 120, 3), np.uint8)).save(path)
        proposals = detections(BOXES, [None] * 4)
        dataset.add_sample(fo.Sample(path, animals=detections(BOXES, CLASSES), proposals=proposals))
    return dataset


def built(dataset: fo.Dataset, encoder: Encoder, field: str) -> RegionIndex:
    return indexing.build(dataset, field, encoder, key=field)


def test_find_missing_labels__what_no_label_covers(pictures: fo.Dataset, encoder: Encoder) -> None:
    """Not parts of a label of the class, and of two that are the same only the surer."""
    sample = pictures.first()
    del sample.animals.detections[1]
    x, y, w, h = BOXES[0]
    sample.proposals.detections += detections(
        [[x, y, w / 2, h / 3], [BOXES[1][0] + 0.01, *BOXES[1][1:]]], [None, None]
    ).detections
    sample.save()
    same = {sample.proposals.detections[place].id for place in (1, 5)}
    proposals, labelled = (built(pictures, encoder, name) for name in ("proposals", "animals"))
    found = find_missing_labels(proposals, progress=False)
    names = [name for name in found.hits.label_ids.tolist() if name in same]
    assert len(names) == 1
    part = sample.proposals.detections[4].id
    assert set(found.hits.label_ids.tolist()) <= {*names, part}
    assert set(found.suggested.tolist()) <= {"cat", "dog"}
    assert found.hits.label_ids[0] == names[0]  # the part is last, if it is of another class
    assert proposals_for(labelled).key == "proposals"
    indexing.decide(pictures, "missing labels", {names[0]: "keep"})
    again = find_missing_labels(proposals, progress=False)
    assert names[0] not in again.hits.label_ids
    beside = indexing.error_neighbors(proposals, {names[0]: "dog"}, count=9, among=labelled)[0]
    dogs = {d.id for d in pictures.values("animals.detections", unwind=True) if d.label == "dog"}
    assert {name for name, _ in beside.of_suggested} == dogs
    assert (beside.given, beside.of_given, set(beside.likely)) == (None, (), {"cat", "dog"})


def test_find_missing_labels__labels_of_other_fields_count(
    pictures: fo.Dataset, encoder: Encoder
) -> None:
    """But not masks that were made for labels that are gone by now."""
    sample = pictures.first()
    gone = [sample.animals.detections.pop() for _ in range(2)]
    sample["others"] = detections([gone[0].bounding_box], ["wolf"])
    sample.save()
    prepare_field(pictures, "masks", {"kind": "sam", "field": "animals"})
    pictures.set_values("masks", [detections(BOXES, CLASSES) for _ in range(3)])
    found = find_missing_labels(built(pictures, encoder, "proposals"), progress=False)
    third = pictures.first().proposals.detections[2].id
    assert found.hits.label_ids.tolist() == [third]


def test_find_missing_labels__bad_input(pictures: fo.Dataset, encoder: Encoder) -> None:
    labelled = built(pictures, encoder, "animals")
    with pytest.raises(AlphaClipError, match="no index of proposals"):
        proposals_for(labelled)
    with pytest.raises(AlphaClipError, match="whose labels have a class"):
        find_missing_labels(labelled)
    proposals = built(pictures, encoder, "proposals")
    with pytest.raises(AlphaClipError, match="lies on a label with a class in 'colour'"):
        find_missing_labels(proposals, attribute="colour", progress=False)
    assert len(find_missing_labels(proposals, progress=False)) == 0
    pictures.delete_samples(pictures.skip(1).values("id"))
    proposals.update()
    with pytest.raises(AlphaClipError, match="of one picture"):
        find_missing_labels(proposals, progress=False)


def test_find_badly_drawn_labels__by_the_masks_of_their_field(
    pictures: fo.Dataset, encoder: Encoder
) -> None:
    index = built(pictures, encoder, "animals")
    with pytest.raises(AlphaClipError, match=r"into='animals_masks'"):
        find_badly_drawn_labels(index)
    with pytest.raises(AlphaClipError, match="'proposals' is none"):
        find_badly_drawn_labels(index, "proposals")
    prepare_field(pictures, "animals_masks", {"kind": "sam", "field": "animals"})
    for sample in pictures:
        masks = detections(BOXES, CLASSES).detections[:3]
        for mask, label in zip(masks, sample.animals.detections, strict=False):
            mask["source_id"] = label.id
        sample["animals_masks"] = fo.Detections(detections=masks)
        sample.save()
    moved = pictures.last()
    moved.animals.detections[2].bounding_box = [0.55, 0.2, 0.2, 0.6]  # by a quarter
    moved.save()
    found = find_badly_drawn_labels(index, max_iou=1, progress=False)
    name = moved.animals.detections[2].id
    assert found.hits.label_ids[0] == name and len(found) == 9 and found.unjudged == 3
    assert found.hits.scores[:2] == pytest.approx([0.15 / 0.25, 1])
    assert found.boxes[0] == pytest.approx(BOXES[2])
    indexing.decide(pictures, "badly drawn", {name: "keep"})
    assert len(find_badly_drawn_labels(index, progress=False)) == 0
    everything = find_badly_drawn_labels(index, progress=False, skip_decided=False)
    assert everything.hits.label_ids.tolist() == [name]


@pytest.mark.parametrize(
    ("box", "label", "is_doubled"),
    [
        ([0.04, 0.2, 0.2, 0.6], "cat", True),  # 0.18 of 0.22
        ([0.04, 0.2, 0.2, 0.6], "dog", True),
        ([0.06, 0.2, 0.2, 0.6], "cat", True),  # 0.16 of 0.24
        ([0.06, 0.2, 0.2, 0.6], "dog", False),
        ([0.12, 0.2, 0.2, 0.6], "cat", False),
        ([0.06, 0.2, 0.2, 0.6], None, False),
    ],
)
def test_find_doubled_labels__lie_on_an_earlier_one(
    pictures: fo.Dataset, encoder: Encoder, box: list[float], label: str | None, is_doubled: bool
) -> None:
    sample = pictures.first()
    first = sample.animals.detections[0].id
    sample.animals.detections += detections([box], [label]).detections
    # Behind what cannot be used
    sample.animals.detections.insert(1, fo.Detection(label="cat", bounding_box=[]))
    sample.save()
    index = built(pictures, encoder, "animals")
    found = find_doubled_labels(index, progress=False)
    expected = [sample.animals.detections[-1].id] if is_doubled else []
    assert found.hits.label_ids.tolist() == expected
    assert found.originals.tolist() == ([first] if is_doubled else [])
    indexing.decide(pictures, "doubled", dict.fromkeys(expected, "keep"))
    assert len(find_doubled_labels(index, progress=False)) == 0


@pytest.mark.parametrize("kind", ["wrong", "missing", "drawn", "doubled", "outliers", "duplicates"])
def test_odd__in_a_shell(
    pictures: fo.Dataset,
    encoder: Encoder,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    first, second, _ = pictures
    gone = first.animals.detections.pop()
    doubled = detections([BOXES[0]], ["cat"]).detections[0]
    second.animals.detections.append(doubled)
    moved = second.animals.detections[2]
    made = [fo.Detection(bounding_box=moved.bounding_box, source_id=moved.id)]
    moved.bounding_box = [0.0, 0.0, 0.2, 0.2]
    prepare_field(pictures, "masks", {"kind": "sam", "field": "animals"})
    second["masks"] = fo.Detections(detections=made)
    for sample in (first, second):
        sample.save()
    for name in ("animals", "proposals"):
        built(pictures, encoder, name)
    command = ["index", "odd", pictures.name, "animals", "--kind", kind, "--count", "4"]
    assert main([*command, "--json"]) == 0
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert 0 < len(lines) <= 4 and f"{len(lines)} found" in told.err
    expected = {"drawn": moved.id, "doubled": doubled.id}.get(kind, lines[0]["label_id"])
    assert lines[0]["label_id"] == expected
    if kind == "missing":
        sample = pictures[lines[0]["sample_id"]]
        boxes = {one.id: one.bounding_box for one in sample.proposals.detections}
        assert (sample.id, boxes[lines[0]["label_id"]]) == (first.id, gone.bounding_box)
        assert lines[0]["note"] in ("cat", "dog")
    (entry,) = indexing.entries(pictures)
    assert (entry.content.kind, len(entry.content.names)) == (ODD[kind], len(lines))
    assert main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(lines)
