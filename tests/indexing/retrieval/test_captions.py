"""Captions matched with the words of a query, beside the vectors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.explore.concepts import keep_concept
from alphaclip.indexing.explore.searches import Search
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.captions import fuse
from alphaclip.indexing.retrieval.hit_listing import list_hits

CAPTIONS = [
    ["a dog left of a cat", "a cat right of a dog", None, "a red ball at the top"],
    ["a cat left of a dog", "a dog right of a cat", "红色的球在左边", "a red ball"],
]


@pytest.fixture(scope="module")
def index(
    dataset_factory: Callable, tmp_path_factory: pytest.TempPathFactory, encoder: Encoder
) -> RegionIndex:
    dataset, folder = dataset_factory(), tmp_path_factory.mktemp("captions")
    rng = np.random.default_rng(0)
    for number, captions in enumerate(CAPTIONS):
        path: Path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        labels = [
            fo.Detection(label="x", bounding_box=[0.1 * at, 0.2, 0.3, 0.5], caption=caption)
            for at, caption in enumerate(captions)
        ]
        dataset.add_sample(fo.Sample(path, boxes=fo.Detections(detections=labels)))
    return indexing.build(dataset, "boxes", encoder)


def captions_of(hits: indexing.retrieval.hits.Hits) -> list[str | None]:
    return [hit.attributes.get("caption") for hit in list_hits(hits)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("dog left of a cat", "a dog left of a cat"),
        ("cat left of a dog", "a cat left of a dog"),
        ("RED ball, at the top!", "a red ball at the top"),
        ("左边", "红色的球在左边"),
        (["ball", "at the top"], "a red ball at the top"),
    ],
)
def test_search__finds_what_captions_say(
    index: RegionIndex, query: str | list[str], first: str
) -> None:
    hits = index.search(query, k=None, captions=True)
    assert hits.ranks is not None and len(hits) == 8
    best = np.flatnonzero(hits.ranks[:, 1] == 1)
    assert [captions_of(hits)[at] for at in best] == [first]
    by_vectors = index.search(query, k=None)
    assert by_vectors.ranks is None and hits.query == by_vectors.query != ""
    order = hits.label_ids[np.argsort(hits.ranks[:, 0])]
    assert order.tolist() == by_vectors.label_ids.tolist()
    cosines = dict(zip(by_vectors.label_ids, by_vectors.scores, strict=True))
    assert np.allclose(hits.scores, [cosines[one] for one in hits.label_ids], atol=1e-6)


def test_search__words_that_no_caption_has(index: RegionIndex) -> None:
    hits = index.search("zebra", k=None, captions=True)
    assert hits.label_ids.tolist() == index.search("zebra", k=None).label_ids.tolist()
    assert hits.ranks[:, 1].tolist() == [0] * 8


def test_search__options_hold(index: RegionIndex) -> None:
    first = index.dataset.limit(1)
    hits = index.search("red ball", k=2, view=first, captions=True)
    assert len(hits) == 2 and set(hits.sample_ids) == {first.first().id}
    assert hits.ranks.max() <= 4  # Ranks are those among the regions of the view
    both = index.search("red ball", k=None, per_image=True, captions="caption")
    assert len(both) == 2 and sorted(set(both.sample_ids)) == sorted(index.dataset.values("id"))
    avoided = index.search("red ball", k=None, negative="at the top", captions=True)
    assert captions_of(avoided)[avoided.ranks[:, 1].tolist().index(1)] == "a red ball"
    least = float(np.median(hits.scores))
    assert (index.search("red ball", min_score=least, captions=True).scores >= least).all()
    listed = list_hits(hits)[0]
    assert listed.to_dict()["ranks"] == hits.ranks[0].tolist() and "caption" in str(listed)


def test_search__captions_written_since_are_read(index: RegionIndex) -> None:
    sample = index.dataset.last()
    label = sample.boxes.detections[-1]
    caption = label.caption
    assert index.search("purple", captions=True).ranks.max(axis=0)[1] == 0
    label.caption = "a purple ball"
    sample.save()
    hits = index.search("purple", captions=True)
    assert hits.label_ids[hits.ranks[:, 1] == 1].tolist() == [label.id]
    label.caption = caption
    sample.save()


def test_search_run__as_it_is_remembered(index: RegionIndex) -> None:
    search = Search(texts=("red ball",), k=3, captions="caption")
    again = Search.from_dict(search.to_dict())
    hits, spread = again.measure([index])
    expected = index.search("red ball", k=3, captions=True)
    for found in (hits, again.run([index])):
        assert found.label_ids.tolist() == expected.label_ids.tolist()
        assert np.array_equal(found.ranks, expected.ranks)
    assert len(spread) == 8 and "captions" not in replace(search, captions=None).to_dict()
    several = indexing.search([index, index], "red ball", k=6, captions=True)
    assert several.ranks.shape == (6, 2) and several.query == "red ball"
    with pytest.raises(AlphaClipError, match="without captions, not of mode 'regions', with capt"):
        keep_concept([index], "balls", search, 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"captions": "colour"}, r"no captions in 'colour' .*index.describe\(into='colour'\)"),
        ({"captions": True, "reverse": True}, "best first"),
        ({"captions": True, "query": np.ones(192, np.float32)}, "the query has none"),
        ({"captions": "bounding_box"}, "holds list"),
        ({"captions": "$where"}, r"no captions in '\$where'"),
        ({"captions": 5}, "captions is 5: expected a text"),
    ],
)
def test_search__what_cannot_be_matched(
    index: RegionIndex, options: dict[str, object], message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        index.search(**{"query": "ball", **options})


def test_search__captions_that_are_empty(index: RegionIndex) -> None:
    index.dataset.set_values("boxes.detections.empty", [["", "!"] + [None] * 2] * 2, dynamic=True)
    with pytest.raises(FieldError, match="no captions in 'empty'"):
        index.search("ball", captions="empty")
    with pytest.raises(AlphaClipError, match="in the mode 'regions'"):
        Search(texts=("ball",), mode="pictures", captions="caption")


def test_fuse__by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7], np.float32)
    order, keys, ranks = fuse(scores, np.array([0, 0.5, 0.9, 0.5], np.float32))
    assert order.tolist() == [2, 1, 3, 0]
    assert ranks.tolist() == [[3, 1], [2, 2], [3, 2], [1, 0]]
    expected = [1 / 63 + 1 / 61, 1 / 62 + 1 / 62, 1 / 63 + 1 / 62, 1 / 61]
    assert np.allclose(keys, expected)


def test_search__in_a_shell(index: RegionIndex, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", index.dataset.name, index.key, "left of a dog", "--captions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and sum("caption    1" in line for line in lines) == 1
