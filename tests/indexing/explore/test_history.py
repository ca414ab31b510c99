"""What was searched for and found, kept with everything and restored."""

import json
from collections.abc import Callable
from dataclasses import replace

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import Region, indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.explore.example_pictures import MOST, keep_picture, open_picture
from alphaclip.indexing.explore.findings import Finding
from alphaclip.indexing.explore.outliers import find_outliers
from alphaclip.indexing.explore.searches import Search, entries, find_entry, recent, remember
from alphaclip.indexing.region_index import RegionIndex


def test_remember__marks_come_back_with_the_search(dataset: fo.Dataset, index: RegionIndex) -> None:
    right, wrong = (dataset.first().boxes.detections[i].id for i in (0, 1))
    search = Search(texts=("apple",), k=None)
    marked = replace(search, right=(right,), wrong=(wrong,), min_score=0.2, k=10)
    remember(dataset, search)
    remember(dataset, Search(texts=("pear",)))
    key = remember(dataset, marked)
    assert recent(dataset) == [marked, Search(texts=("pear",))]
    assert find_entry(dataset, key).content == marked
    assert find_entry(dataset, key).made_at.startswith("20")
    assert len(Records(dataset, "searches").keys()) == 2
    dataset.delete_labels(ids=[right])
    index.update()
    restored = marked.without_lost_regions([index])
    assert (restored.right, restored.wrong) == ((), (wrong,))
    assert len(restored.run([index])) <= len(index)
    assert search.without_lost_regions([]) == search


def test_remember__the_same_in_older_records_is_listed_once(dataset: fo.Dataset) -> None:
    old = {"texts": ["apple"], "keys": ["regions"], "k": 50}
    records = Records(dataset, "searches")
    for number in range(30):
        records.set(f"{number:020d}-000000000000", {**old, "k": number + 1})
    records.set("00000000000000000031-000000000000", {"colour": "of a later version"})
    remember(dataset, Search(texts=("pear",)))
    assert [one.texts for one in recent(dataset)] == [("pear",), ("apple",)]
    assert recent(dataset)[1].k == 30


def test_remember__an_example_picture(dataset: fo.Dataset, index: RegionIndex) -> None:
    path, box = dataset.first().filepath, (0.1, 0.1, 0.5, 0.5)
    search = Search(texts=("apple",), picture=keep_picture(dataset, path), box=box, k=6)
    key = remember(dataset, search)
    restored = find_entry(dataset, key).content
    assert restored == search and isinstance(restored, Search)
    kept = open_picture(dataset, str(search.picture))
    expected = index.search(["apple", (kept, Region.from_box(box))], k=6)
    assert restored.run([index]).label_ids.tolist() == expected.label_ids.tolist()
    remember(dataset, Search(picture=path))
    for number in range(MOST):
        keep_picture(dataset, np.full((8, 8, 3), 12 * number, np.uint8))
    assert [one.picture for one in recent(dataset)] == [path]
    with pytest.raises(AlphaClipError, match="give the picture again"):
        search.run([index])


def test_finding__is_in_the_history(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = find_outliers(index, 5)
    finding = Finding.of("outliers", index, hits)
    remember(dataset, finding)
    remember(dataset, Search(texts=("apple",)))
    again = Finding.of("outliers", index, hits.take(slice(3)), ["a", "b", "c"])
    key = remember(dataset, again)
    assert [one.content for one in entries(dataset)] == [again, Search(texts=("apple",))]
    assert recent(dataset) == [Search(texts=("apple",))]
    assert entries(dataset, 1)[0].key == key and entries(dataset, -1) == []
    restored = find_entry(dataset, key).content
    assert isinstance(restored, Finding)
    shown, notes = restored.hits(index)
    assert shown.label_ids.tolist() == hits.label_ids[:3].tolist() and notes == ["a", "b", "c"]
    np.testing.assert_allclose(shown.scores, hits.scores[:3], atol=1e-5)
    gone = Finding("outliers", "regions", ("f" * 24, again.names[1]), (0.1, 0.2), ("x", "y"))
    shown, notes = gone.hits(index)
    assert shown.label_ids.tolist() == [again.names[1]] and notes == ["y"]
    assert len(Finding("outliers", "regions", (), ()).hits(index)[0]) == 0


def test_finding__json_and_back() -> None:
    finding = Finding("label errors", "regions", ("a" * 24,), (0.5,), ("cat",))
    assert Finding.from_dict(json.loads(json.dumps(finding.to_dict()))) == finding
    assert "note_scores" not in finding.to_dict()  # which earlier versions do not know
    assert "attribute" not in finding.to_dict()
    of_artist = Finding("label errors", "regions", ("a" * 24,), (0.5,), attribute="artist")
    assert Finding.from_dict(json.loads(json.dumps(of_artist.to_dict()))) == of_artist
    scored = Finding("label errors", "regions", ("a" * 24,), (0.5,), ("cat",), (0.9,))
    assert Finding.from_dict(json.loads(json.dumps(scored.to_dict()))) == scored
    many = Finding("outliers", "regions", ("a",) * 3000, (0.5,) * 3000)
    assert len(many.names) == len(many.scores) == 2000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("apple", "expected attribute, key, kind"),
        ({"colour": 1}, "expected attribute, key, kind"),
        ({"kind": "odd", "key": "a", "names": [], "scores": []}, "kind is 'odd'"),
        ({"kind": "outliers", "key": "a"}, "expected attribute, key, kind"),
        ({"kind": "outliers", "key": "a", "names": "b", "scores": [1]}, "names is 'b'"),
        ({"kind": "outliers", "key": "a", "names": [7], "scores": [1]}, r"names is \[7\]"),
        ({"kind": "outliers", "key": "a", "names": ["b"], "scores": ["c"]}, "scores is"),
        ({"kind": "outliers", "key": "a", "names": ["b"], "scores": []}, "1 names, 0 scores"),
        (
            {"kind": "outliers", "key": "a", "names": ["b"], "scores": [1], "notes": ["", ""]},
            "2 notes",
        ),
        (
            {"kind": "outliers", "key": "a", "names": ["b"], "scores": [1], "note_scores": [1, 2]},
            "2 scores of these",
        ),
    ],
)
def test_finding__bad_values(values: object, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        Finding.from_dict(values)  # type: ignore[arg-type]


def test_find_entry__that_is_not_there(dataset: fo.Dataset, dataset_factory: Callable) -> None:
    key = remember(dataset, Search(texts=("apple",)))
    for other, name in ((dataset, "nonsense"), (dataset, ""), (dataset_factory(), key)):
        with pytest.raises(AlphaClipError, match="in its history any more"):
            find_entry(other, name)
    with pytest.raises(AlphaClipError, match=r"search is 7: expected an indexing\.Search"):
        indexing.remember(dataset, 7)  # type: ignore[arg-type]
