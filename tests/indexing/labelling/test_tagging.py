"""Tags on whatever matches a query."""

import hashlib
from base64 import b64encode
from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.acting import Undone, undo
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.labelling.tagging import tag_matching
from alphaclip.indexing.retrieval.queries import Example

ANT, BEE = 0, 1
PICTURES = [[(ANT, 0.0), (ANT, 0.1), (BEE, 0.0)], [(BEE, 0.1), (ANT, 0.4)], [(BEE, 0.2)]]


def tagged(dataset: fo.Dataset, tag: str) -> int:
    return dataset.count_label_tags().get(tag, 0)


def test_tag_matching__those_above_the_score_and_back(
    make_dataset: Callable, make_index: Callable
) -> None:
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    action = tag_matching(index, "ant", "an ant", 0.9)
    assert (action.kind, action.count) == ("tag", 2)
    assert tag_matching(index, "ant", "an ant", 0.9).count == 0
    assert tag_matching(index, "ant", "an ant", 0.5).count == 1
    assert undo(dataset, action) == Undone(2, 0)
    assert tagged(dataset, "an ant") == 1


def test_tag_matching__pictures(make_dataset: Callable, make_index: Callable) -> None:
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    action = tag_matching(index, "ant", "ants", 0.5, samples=True)
    assert (action.kind, action.count) == ("tag_samples", 2)
    assert dataset.count_sample_tags()["ants"] == 2 and tagged(dataset, "ants") == 0
    assert tag_matching(index, "ant", "ants", 0.5, samples=True).left == 2
    assert undo(dataset, action) == Undone(2, 0)
    assert "ants" not in dataset.count_sample_tags()


def test_tag_matching__only_new_and_edited(make_dataset: Callable, make_index: Callable) -> None:
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    tag_matching(index, "ant", "ants", 0.9, new_only=True)
    assert tagged(dataset, "ants") == 2
    dataset.untag_labels("ants")
    assert tag_matching(index, "ant", "ants", 0.9, new_only=True).count == 0
    make_dataset.add(dataset, [[(ANT, 0.05), (BEE, 0.0)]])
    last = dataset.skip(2).first()
    last.boxes.detections[0].bounding_box = [0.0, 0.0, 0.2, 0.2]
    last.save()
    index.update(progress=lambda *_: None)
    action = tag_matching(index, "ant", "ants", 0.9, new_only=True)
    assert action.count == 2
    undo(dataset, action)
    assert tag_matching(index, "ant", "ants", 0.9, new_only=True).count == 2


def test_tag_matching__a_copied_sample_is_new(make_dataset: Callable, make_index: Callable) -> None:
    """Even if it shows the same file, and its labels have the same ids."""
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    tag_matching(index, "ant", "ants", 0.9, new_only=True)
    first = dataset.first()
    boxes = fo.Detections.from_dict(first.boxes.to_dict())
    for box in boxes.detections:
        box.tags = []
    dataset.add_sample(fo.Sample(first.filepath, boxes=boxes))
    index.update(progress=lambda *_: None)
    assert tag_matching(index, "ant", "ants", 0.9, new_only=True).count == 2
    assert tagged(dataset, "ants") == 4


def test_tag_matching__goes_on_from_what_the_first_versions_kept(
    make_dataset: Callable, make_index: Callable
) -> None:
    """They told regions by label and fingerprint alone."""
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    tag_matching(index, "ant", "ants", 0.9, new_only=True)
    dataset.untag_labels("ants")
    ids, records = index.ids, Records(dataset, "seen")
    (key,) = records.keys()
    pairs = zip(ids.label_ids.tolist(), ids.fingerprints.tolist(), strict=True)
    marks = [hashlib.blake2b(a + b" " + b, digest_size=8).digest() for a, b in pairs]
    value = {**records.get(key), "marks": b64encode(b"".join(marks)).decode()}
    del value["by_sample"]
    records.set(key, value)
    assert tag_matching(index, "ant", "ants", 0.9, new_only=True).count == 0
    assert tag_matching(index, "ant", "ants", 0.9).count == 2


def test_tag_matching__another_query_looks_at_all(
    make_dataset: Callable, make_index: Callable
) -> None:
    dataset = make_dataset(PICTURES)
    index = make_index(dataset)
    first = dataset.first().boxes.detections[0].id
    queries = ["ant", "bee", ["ant", "bee"], Example(first), np.eye(8, dtype=np.float32)[0]]
    for query in queries:
        tag_matching(index, query, "seen", 0.9, new_only=True)
        dataset.untag_labels("seen")
        assert tag_matching(index, query, "seen", 0.9, new_only=True).count == 0
    assert tag_matching(index, "ant", "seen", 0.8, new_only=True).count == 3
    assert tag_matching(index, "ant", "seen", 0.8, negative="bee", new_only=True).count == 0


def test_tag_matching__not_what_is_more_like_the_negative(
    make_dataset: Callable, make_index: Callable
) -> None:
    index = make_index(make_dataset([[(ANT, 0.3), (ANT, 0.6)]]))
    assert tag_matching(index, "ant", "both", 0.4).count == 2
    assert tag_matching(index, "ant", "one", 0.4, negative="bee").count == 1


@pytest.mark.parametrize("score", [1.5, -2, "0.5", None, True, float("nan")])
def test_tag_matching__no_cosine(
    make_dataset: Callable, make_index: Callable, score: float
) -> None:
    index = make_index(make_dataset(PICTURES))
    with pytest.raises(AlphaClipError, match="expected a cosine"):
        tag_matching(index, "ant", "ants", score)
    with pytest.raises(AlphaClipError, match="expected a text"):
        tag_matching(index, "ant", " ", 0.5)
