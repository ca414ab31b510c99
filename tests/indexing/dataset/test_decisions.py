"""What was decided about odd regions, which are not shown again."""

from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.duplicates import find_duplicates
from alphaclip.indexing.dataset.decisions import (
    STORE,
    OddDecision,
    decide,
    decisions,
    last_decision,
    undecide,
)
from alphaclip.indexing.dataset.records import RecordError, Records
from alphaclip.indexing.explore.outliers import find_outliers
from alphaclip.indexing.region_index import RegionIndex

REGION, COPY = "0" * 24, f"{'a' * 24}-{'0' * 24}"


def test_decide__of_each_kind_by_itself(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    decide(dataset, "outliers", {REGION: "keep", COPY: "<b>$set</b>"})
    decide(dataset, "outliers", {REGION: "drop"})
    assert decisions(dataset, "outliers") == {REGION: "drop", COPY: "<b>$set</b>"}
    assert decisions(dataset, "duplicates") == decisions(dataset_factory(), "outliers") == {}
    undecide(dataset, "outliers", [REGION, "f" * 24])
    assert decisions(dataset, "outliers") == {COPY: "<b>$set</b>"}


def test_decide__of_each_attribute_by_itself(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    decide(dataset, "label errors", {REGION: "keep"})
    decide(dataset, "label errors", {COPY: "green"}, attribute="colour/s")
    assert decisions(dataset, "label errors") == {REGION: "keep"}
    assert decisions(dataset, "label errors", "colour/s") == {COPY: "green"}
    undecide(dataset, "label errors", [REGION, COPY], "colour/s")
    assert decisions(dataset, "label errors") == {REGION: "keep"}
    assert decisions(dataset, "label errors", "colour/s") == {}


def test_last_decision__the_newest_of_some_regions(dataset_factory: Callable) -> None:
    dataset, old = dataset_factory(), "1" * 24
    # As earlier versions kept it
    Records(dataset, STORE).set(f"outliers/{old}", "drop")
    assert last_decision(dataset, "outliers", [old]) == OddDecision(old, "drop")
    decide(dataset, "outliers", {COPY: "keep"}, "an action")
    decide(dataset, "outliers", {REGION: "keep"})
    decide(dataset, "duplicates", {old: "keep"})
    assert decisions(dataset, "outliers") == {REGION: "keep", COPY: "keep", old: "drop"}
    newest, before = (
        last_decision(dataset, "outliers", names)
        for names in ([old, COPY, REGION, "f" * 24], [old, COPY])
    )
    assert newest is not None and before is not None
    assert (newest.name, newest.action) == (REGION, None)
    assert (before.name, before.action) == (COPY, "an action")
    assert before.at <= newest.at
    assert last_decision(dataset, "outliers", ["f" * 24]) is None
    assert last_decision(dataset, "outliers", [REGION], "colour") is None
    Records(dataset, STORE).set(f"outliers/{old}", {"odd": 1})
    with pytest.raises(RecordError, match="is damaged"):
        decisions(dataset, "outliers")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("odd", {}, "kind is 'odd': expected one of label errors, outliers, duplicates"),
        ("outliers", [REGION], "decisions is"),
        ("outliers", {REGION: "keep", "x/../y": "keep"}, "'x/../y': expected its label id"),
        ("outliers", {REGION: "keep", 7: "keep"}, "name the region 7"),
        ("outliers", {REGION: "keep", COPY: ""}, "expected a text"),
        ("outliers", {REGION: "keep", COPY: None}, "expected a text"),
        ("outliers", {REGION: "x" * 1001}, "expected a text"),
    ],
)
def test_decide__bad_input(
    dataset_factory: Callable, kind: str, given: object, message: str
) -> None:
    dataset = dataset_factory()
    with pytest.raises(AlphaClipError, match=message):
        decide(dataset, kind, given)  # type: ignore[arg-type]
    assert decisions(dataset, "outliers") == {}


def test_find_outliers__not_what_was_decided(dataset: fo.Dataset, index: RegionIndex) -> None:
    order = find_outliers(index, len(index)).label_ids.tolist()
    decide(dataset, "outliers", dict.fromkeys([order[0], order[2], "f" * 24], "keep"))
    rest = [order[1], *order[3:]]
    assert find_outliers(index, len(index)).label_ids.tolist() == rest
    assert find_outliers(index, 2).label_ids.tolist() == rest[:2]
    assert find_outliers(index, len(index), skip_decided=False).label_ids.tolist() == order
    undecide(dataset, "outliers", [order[0]])
    assert find_outliers(index, 1).label_ids.tolist() == order[:1]


def test_find_duplicates__each_with_what_it_repeats(dataset: fo.Dataset, encoder: Encoder) -> None:
    box, far = [0.1, 0.1, 0.3, 0.3], [0.6, 0.5, 0.3, 0.4]
    first = dataset.first()
    first["boxes"] = fo.Detections(detections=[fo.Detection(bounding_box=b) for b in (box, far)])
    copies = [fo.Detection(bounding_box=box) for _ in range(2)]
    first["boxes"].detections += copies
    first.save()
    index = indexing.build(dataset.limit(1), "boxes", encoder, key="repeated")
    repeated, original = {copy.id for copy in copies}, first.boxes.detections[0].id
    duplicates = find_duplicates(index, 0.999)
    everything = repeated | {original}
    assert len(duplicates) == 2
    assert {*duplicates.hits.label_ids, *duplicates.originals} == everything
    np.testing.assert_allclose(duplicates.hits.scores, 1, atol=1e-3)
    decided = duplicates.hits.label_ids[0]
    decide(dataset, "duplicates", {str(decided): "keep"})
    left = find_duplicates(index, 0.999)
    assert left.hits.label_ids.tolist() == duplicates.hits.label_ids[1:].tolist()
    assert len(find_duplicates(index, 0.999, skip_decided=False)) == 2
    decide(dataset, "duplicates", {str(duplicates.hits.label_ids[1]): "keep"})
    assert len(find_duplicates(index, 0.999)) == len(find_duplicates(index, 1.0)) == 0
    with pytest.raises(AlphaClipError, match="min_score is 2"):
        find_duplicates(index, 2)
