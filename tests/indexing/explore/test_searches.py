"""Searches kept with a dataset."""

import json
import subprocess
import sys
from collections.abc import Callable

import fiftyone as fo
import pytest

from alphaclip import Region, indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.searches import Search, recent, remember
from alphaclip.indexing.region_index import RegionIndex

ODD = "\"quotes\" 'and' <b>HTML</b> $set a.b 🍎 تفاحة \ud83d " + "x" * 10_000


def test_search__json_and_back() -> None:
    search = Search(texts=[ODD], negative_texts=("pear",), k=None, min_score=0.2, per_image=True)
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "is empty"),
        ({"texts": "apple"}, "texts is 'apple'"),
        ({"texts": [""]}, "none empty"),
        ({"texts": ["a"], "keys": []}, "keys is empty"),
        ({"texts": ["a"], "k": 0}, "k is 0"),
        ({"texts": ["a"], "k": True}, "k is True"),
        ({"texts": ["a"], "min_score": 2}, "min_score is 2"),
        ({"texts": ["a"], "aggregate": "sum"}, "aggregate is 'sum'"),
        ({"texts": ["a"], "mode": "videos"}, "mode is 'videos'"),
        ({"texts": ["a"], "colour": "red"}, "expected some of"),
        ("apple", "expected some of"),
    ],
)
def test_search__bad_values(values: object, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        Search.from_dict(values)


def test_run__is_the_search(dataset: fo.Dataset, index: RegionIndex) -> None:
    example, other = dataset.first().boxes.detections[0].id, dataset.last().boxes.detections[0].id
    search = Search(texts=("apple",), examples=(example,), negative_examples=(other,), k=6)
    query = ["apple", indexing.Example(example)]
    expected = index.search(query, k=6, negative=indexing.Example(other))
    assert search.run([index]).label_ids.tolist() == expected.label_ids.tolist()
    view = dataset.limit(1)
    assert set(search.run([index], view).sample_ids) == {dataset.first().id}
    best = Search(texts=("apple",), per_image=True, k=None, reverse=True).run([index])
    assert len(best) == 3
    marked = Search(texts=("apple",), right=(example,), wrong=(other,), k=12).run([index])
    order = marked.label_ids.tolist()
    assert order.index(example) < order.index(other)


def test_run__pictures_and_what_nobody_labelled(dataset: fo.Dataset, index: RegionIndex) -> None:
    pictures = Search(texts=("apple", "pear"), negative_texts=("tree",), k=2, mode="pictures")
    expected = indexing.find_pictures(index, ["apple", "pear"], ["tree"], k=2)
    assert pictures.run([index]).sample_ids.tolist() == expected.sample_ids.tolist()
    covered = dataset.first().boxes.detections[0]
    box = fo.Detection(bounding_box=covered.bounding_box)
    dataset.add_sample_field("truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.set_values("truth", [fo.Detections(detections=[box]), None, None])
    dataset.set_values("boxes.detections.label", [[None] * 4] * 3)
    found = Search(texts=("apple",), k=None, mode="unlabelled").run([index]).label_ids
    assert covered.id not in found
    assert dataset.last().boxes.detections[0].id in found
    with pytest.raises(AlphaClipError, match="several indexes"):
        Search(texts=("a",), keys=("regions", "regions"), mode="unlabelled").run([index, index])


def test_recent__newest_first_and_once(dataset: fo.Dataset, dataset_factory: Callable) -> None:
    assert recent(dataset) == []
    searches = [Search(texts=(text,)) for text in ("apple", "pear", ODD)]
    for search in [*searches, searches[0]]:
        remember(dataset, search)
    assert recent(dataset) == [searches[0], searches[2], searches[1]]
    assert recent(dataset, 1) == [searches[0]]
    assert recent(dataset_factory()) == []


def test_remember__the_oldest_go(dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaclip.indexing.explore.searches.MOST", 3)
    for number in range(5):
        remember(dataset, Search(texts=(str(number),)))
    assert [search.texts[0] for search in recent(dataset)] == ["4", "3", "2"]


def test_remember__beside_another_process(dataset: fo.Dataset) -> None:
    dataset.persistent = True
    script = (
        "import fiftyone as fo; "
        "from alphaclip.indexing.explore.searches import Search, remember; "
        f"dataset = fo.load_dataset({dataset.name!r}); print('ready', flush=True); "
        "[remember(dataset, Search(texts=(f'a {i}',))) for i in range(40)]"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "ready\n" in iter(other.stdout.readline, "")
        for number in range(40):
            remember(dataset, Search(texts=(f"b {number}",)))
    assert other.returncode == 0
    texts = {search.texts[0] for search in recent(dataset, 100)}
    assert texts == {f"{name} {i}" for name in "ab" for i in range(40)}


def test_search__a_picture_is_part_of_it(dataset: fo.Dataset, index: RegionIndex) -> None:
    path, box = dataset.first().filepath, (0.1, 0.1, 0.5, 0.5)
    search = Search(texts=("apple",), picture=path, box=box, k=6)
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search
    expected = index.search(["apple", (path, Region.from_box(box))], k=6)
    assert search.run([index]).label_ids.tolist() == expected.label_ids.tolist()
    named = Search(texts=("apple",), picture="one", box=box, k=6)
    ranking = named.ranking([index], {"one": path}.__getitem__)
    assert named.run([index], None, ranking).label_ids.tolist() == expected.label_ids.tolist()
    with pytest.raises(AlphaClipError, match="box"):
        Search(picture=path, box=(0.1, 0.2))


def test_digest__equal_for_equal_searches() -> None:
    search = Search(texts=(ODD,))
    assert search.digest == Search.from_dict(search.to_dict()).digest
    others = [Search(texts=(ODD,), k=None), Search(negative_texts=(ODD,), picture="a"), search]
    assert len({other.digest for other in others}) == 3
    assert not {"picture", "box"} & set(search.to_dict())
