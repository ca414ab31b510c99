"""Concepts: searches that are kept, and score what is new."""

from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.explore import concepts as module
from alphaclip.indexing.explore.concepts import (
    concepts,
    delete_concept,
    dismiss,
    keep_concept,
    undismiss,
    waiting,
)
from alphaclip.indexing.explore.example_pictures import MOST, keep_picture, open_picture
from alphaclip.indexing.explore.searches import Search
from alphaclip.indexing.region_index import RegionIndex

ANT, BEE, CAT = 0, 1, 2
PICTURES = [[(ANT, 0.0), (BEE, 0.0)], [(BEE, 0.1), (ANT, 0.4)]]
ANTS = Search(texts=("ant",))


def update(index: RegionIndex) -> None:
    index.update(progress=lambda *_: None)


def boxes_of(sample: fo.Sample) -> list[str]:
    return [box.id for box in sample.boxes.detections]


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    return make_dataset(PICTURES)


@pytest.fixture
def index(dataset: fo.Dataset, make_index: Callable) -> RegionIndex:
    return make_index(dataset)


def test_update__what_is_new_and_matches_waits(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    kept = keep_concept(index, "ants", ANTS, 0.9)
    assert (kept.name, kept.search, kept.min_score) == ("ants", ANTS, pytest.approx(0.9))
    assert concepts(dataset) == [kept] and len(waiting(dataset, "ants")) == 0
    update(index)
    assert len(waiting(dataset, "ants")) == 0
    make_dataset.add(dataset, [[(ANT, 0.1), (BEE, 0.0), (ANT, 0.6)], [(ANT, 0.05)]])
    update(index)
    third, fourth = dataset.skip(2)
    hits = waiting(dataset, "ants")
    assert hits.label_ids.tolist() == [boxes_of(fourth)[0], boxes_of(third)[0]]
    assert (hits.scores > 0.9).all() and set(hits.fields) == {"boxes"}
    assert concepts(dataset)[0].waiting == 2
    update(index)
    assert len(waiting(dataset, "ants")) == 2
    assert dismiss(dataset, "ants", [boxes_of(third)[0], "f" * 24, "nonsense"]) == 1
    update(index)
    assert waiting(dataset, "ants").label_ids.tolist() == boxes_of(fourth)
    assert dismiss(dataset, "ants", []) == 1


def test_undismiss__waits_again_if_it_matches(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    make_dataset.add(dataset, [[(ANT, 0.1), (BEE, 0.0)], [(ANT, 0.05)]])
    update(index)
    before = waiting(dataset, "ants").label_ids.tolist()
    ant, bee = boxes_of(dataset.skip(2).first())
    assert dismiss(dataset, "ants", [ant]) == 1
    assert undismiss(dataset, "ants", [bee, "f" * 24, "nonsense"]) == 1
    assert undismiss(dataset, "ants", [ant, ant]) == 2
    assert undismiss(dataset, "ants", []) == 2
    assert waiting(dataset, "ants").label_ids.tolist() == before
    dismiss(dataset, "ants", before)
    dataset.delete_samples([dataset.last().id])
    update(index)
    assert undismiss(dataset, "ants", before) == 1
    with pytest.raises(AlphaClipError, match="has no concept 'bees'"):
        undismiss(dataset, "bees", before)


def test_update__an_edited_region_waits_and_one_that_is_gone_does_not(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    last = dataset.last()
    last.boxes.detections[1].bounding_box = [0.0, 0.0, 0.2, 0.2]
    last.save()
    update(index)
    assert waiting(dataset, "ants").region_ids == [(last.id, boxes_of(last)[1])]
    last.boxes.detections = last.boxes.detections[:1]
    last.save()
    update(index)
    assert len(waiting(dataset, "ants")) == concepts(dataset)[0].waiting == 0


def test_update__a_copied_label_is_another_region(dataset: fo.Dataset, index: RegionIndex) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    first = dataset.first()
    copied = fo.Sample(first.filepath, boxes=fo.Detections.from_dict(first.boxes.to_dict()))
    dataset.add_sample(copied)
    update(index)
    hits = waiting(dataset, "ants")
    assert hits.region_ids == [(copied.id, boxes_of(first)[0])]
    assert dismiss(dataset, "ants", boxes_of(first)) == 1
    assert dismiss(dataset, "ants", index.names(hits)) == 0


def test_update__cut_off_it_is_scored_by_the_next(
    dataset: fo.Dataset,
    index: RegionIndex,
    make_dataset: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    make_dataset.add(dataset, [[(ANT, 0.1), (ANT, 0.0)]])

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.SeenRegions, "add", cut_off)
        with pytest.raises(KeyboardInterrupt):
            update(index)
    assert len(waiting(dataset, "ants")) == 2
    dismiss(dataset, "ants", boxes_of(dataset.last())[:1])
    update(index)
    assert len(waiting(dataset, "ants")) == 2
    update(index)
    assert len(waiting(dataset, "ants")) == 2


def test_update__a_concept_that_cannot_be_scored_fails_no_update(
    dataset: fo.Dataset,
    index: RegionIndex,
    make_dataset: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    keep_concept(index, "bees", Search(texts=("bee",)), 0.9)
    records = Records(dataset, "concepts")
    records.set("ants", {**records.get("ants"), "encoder": "another"})
    records.set("damaged", {"search": 7})
    make_dataset.add(dataset, [[(ANT, 0.0), (BEE, 0.0)]])
    update(index)
    ants, bees = concepts(dataset)
    assert "another encoder" in ants.problems[0] and "'ants'" in caplog.text
    assert (bees.problems, bees.waiting) == ((), 1)
    assert keep_concept(index, "ants", ANTS, 0.9).problems == ()


def test_keep_concept__what_to_avoid_and_marks(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    """The vectors stay those of the time when it was kept."""
    ant, bee = boxes_of(dataset.first())
    avoiding = Search(texts=("ant",), negative_texts=("bee",))
    keep_concept(index, "no_bees", avoiding, 0.4)
    marked = Search(texts=("ant",), right=(ant,), wrong=(bee,))
    keep_concept(index, "marked", marked, 0.5)
    make_dataset.add(dataset, [[(ANT, 0.6), (ANT, 0.1)]])
    dataset.delete_samples([dataset.first().id])
    update(index)
    assert waiting(dataset, "no_bees").label_ids.tolist() == boxes_of(dataset.last())[1:]
    assert boxes_of(dataset.last())[1] in waiting(dataset, "marked").label_ids
    assert [one.search for one in concepts(dataset)] == [marked, avoiding]


def test_keep_concept__in_place_of_another(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    keep_concept(index, "mine", ANTS, 0.9)
    keep_concept(index, "mine", Search(texts=("bee",)), 0.8)
    make_dataset.add(dataset, [[(ANT, 0.0), (BEE, 0.0)]])
    update(index)
    assert [one.search.texts for one in concepts(dataset)] == [("bee",)]
    assert waiting(dataset, "mine").label_ids.tolist() == boxes_of(dataset.last())[1:]


def test_delete_concept__and_all_that_it_kept(
    dataset: fo.Dataset, index: RegionIndex, make_dataset: Callable
) -> None:
    picture = keep_picture(dataset, np.zeros((20, 30, 3), np.uint8))
    search = Search(texts=("ant",), picture=picture, box=(0.0, 0.0, 0.1, 0.1))
    for name in ("one", "two"):
        keep_concept(index, name, search, 0.2)
    for number in range(MOST):
        keep_picture(dataset, Image.new("RGB", (8, 8), (12 * number, 0, 0)))
    make_dataset.add(dataset, [[(ANT, 0.0)]])
    update(index)
    assert len(waiting(dataset, "one")) == 1
    delete_concept(dataset, "one")
    assert open_picture(dataset, picture).shape == (20, 30, 3)
    delete_concept(dataset, "two")
    assert concepts(dataset) == []
    kinds = ("concepts", "concepts_waiting", "concepts_problems", "seen")
    assert [Records(dataset, kind).keys() for kind in kinds] == [[], [], [], []]
    with pytest.raises(AlphaClipError, match="not kept any more"):
        open_picture(dataset, picture)


def test_concepts__of_two_indexes_of_the_same_regions(
    dataset: fo.Dataset, index: RegionIndex, make_index: Callable, make_dataset: Callable
) -> None:
    indexes = [index, make_index(dataset, "again")]
    assert keep_concept(indexes, "ants", ANTS, 0.9).search.keys == ("regions", "again")
    make_dataset.add(dataset, [[(ANT, 0.0), (ANT, 0.1)]])
    for one in indexes:
        update(one)
        assert len(waiting(dataset, "ants")) == concepts(dataset)[0].waiting == 2
    assert dismiss(dataset, "ants", boxes_of(dataset.last())[:1]) == 1


def test_concepts__of_an_index_that_is_deleted(dataset: fo.Dataset, index: RegionIndex) -> None:
    keep_concept(index, "ants", ANTS, 0.9)
    index.delete()
    assert len(waiting(dataset, "ants")) == 0
    delete_concept(dataset, "ants")


@pytest.mark.parametrize("name", ["", "Ants", "a b", "1a", "a" * 65, "../x", "a\n", "a/b", 7, None])
def test_concepts__names(dataset: fo.Dataset, index: RegionIndex, name: str) -> None:
    for call in (
        lambda: keep_concept(index, name, ANTS, 0.5),
        lambda: waiting(dataset, name),
        lambda: delete_concept(dataset, name),
    ):
        with pytest.raises(AlphaClipError, match="name"):
            call()


def test_concepts__bad_input(dataset: fo.Dataset, index: RegionIndex) -> None:
    with pytest.raises(AlphaClipError, match="has no concept 'bees'; it has: none"):
        waiting(dataset, "bees")
    with pytest.raises(AlphaClipError, match="indexes is empty"):
        keep_concept([], "ants", ANTS, 0.5)
    with pytest.raises(AlphaClipError, match="min_score is 2"):
        keep_concept(index, "ants", ANTS, 2)
    for search in (Search(texts=("ant",), mode="pictures"), Search(texts=("ant",), reverse=True)):
        with pytest.raises(AlphaClipError, match="of single regions"):
            keep_concept(index, "ants", search, 0.5)


def test_cli_update__says_how_many_wait(
    dataset: fo.Dataset,
    index: RegionIndex,
    make_dataset: Callable,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = index.encoder
    monkeypatch.setattr("alphaclip.indexing.region_index.encoder_of", lambda *_: encoder)
    keep_concept(index, "ants", ANTS, 0.9)
    make_dataset.add(dataset, [[(ANT, 0.0)]])
    assert main(["index", "update", dataset.name]) == 0
    assert "concept ants: 1 waiting" in capsys.readouterr().out
