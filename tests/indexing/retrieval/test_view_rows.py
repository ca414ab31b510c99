"""Views whose regions are remembered."""

from datetime import timedelta

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField

from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval import index as search_index
from alphaclip.indexing.retrieval.view_rows import ViewRows, state_of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The views whose label ids were asked of the database."""
    views: list[object] = []
    labels_in = search_index.labels_in

    def noted(view: fo.DatasetView, *arguments: object) -> list[str]:
        views.append(view)
        return labels_in(view, *arguments)

    monkeypatch.setattr(search_index, "labels_in", noted)
    return views


def found(index: RegionIndex, view: fo.DatasetView) -> set[str]:
    hits = index.search("apple", k=50, view=view)
    assert sorted(hits.label_ids) == sorted(view.values("boxes.detections.id", unwind=True))
    return set(hits.label_ids)


def test_search__a_view_is_asked_once(
    dataset: fo.Dataset, index: RegionIndex, asked: list[object]
) -> None:
    first = found(index, dataset.limit(1))
    assert found(index, fo.load_dataset(dataset.name).limit(1)) == first
    assert len(asked) == 1
    assert len(found(index, dataset.limit(2))) == 8
    assert len(asked) == 2


def test_search__an_edit_is_seen(
    dataset: fo.Dataset, index: RegionIndex, asked: list[object]
) -> None:
    view = dataset.match(ViewField("boxes.detections").length() > 3)
    assert len(found(index, view)) == 12
    sample = dataset.first()
    sample.boxes.detections = sample.boxes.detections[:3]
    sample.save()
    assert len(found(index, view)) == 8
    dataset.delete_labels(ids=[dataset.last().boxes.detections[0].id], fields="boxes")
    assert len(found(index, view)) == 4
    dataset.delete_samples([dataset.first()])
    assert len(found(index, view)) == 4
    dataset.delete_samples(view.values("id"))
    assert len(found(index, view)) == 0
    assert len(asked) == 5


def test_search__patches_and_their_deletion(
    dataset: fo.Dataset, index: RegionIndex, asked: list[object]
) -> None:
    patches = dataset.to_patches("boxes")
    every = index.search("apple", k=50, view=patches)
    some = index.search("apple", k=50, view=patches.limit(2))
    assert (len(every), len(some)) == (12, 2)
    patches.exclude(some.label_ids.tolist()).keep()
    left = index.search("apple", k=50, view=patches).label_ids
    assert set(left) == set(every.label_ids) - set(some.label_ids)
    assert index.search("apple", k=50, view=dataset.to_patches("boxes")).label_ids.size == 10


def test_state__of_random_views_and_of_other_datasets(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    assert state_of(dataset.take(1)) != state_of(dataset.take(1))
    assert state_of(dataset.take(1, seed=5)) == state_of(dataset.take(1, seed=5))
    assert state_of(dataset.limit(1)) == state_of(dataset.limit(1)) != state_of(dataset.limit(2))
    before = state_of(dataset.limit(1))
    clone = dataset.clone()
    try:
        assert state_of(clone.limit(1)) != before
    finally:
        clone.delete()
    later = dataset.max("last_modified_at") + timedelta(seconds=1)
    dataset._sample_collection.update_one({}, {"$set": {"last_modified_at": later}})
    assert state_of(dataset.limit(1)) != before


def test_get__the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaclip.indexing.retrieval.view_rows.MOST_ROWS", 5)
    rows, asked = ViewRows(), []

    def get(state: str | None, count: int) -> None:
        def compute() -> np.ndarray:
            asked.append(state)
            return np.arange(count)

        np.testing.assert_array_equal(rows.get(state, compute), np.arange(count))

    for state, count in (("a", 2), ("b", 3), ("a", 2), ("c", 1), ("b", 3), ("large", 9)):
        get(state, count)
    assert asked == ["a", "b", "c", "b", "large"]
    get("large", 9)
    get(None, 1)
    get(None, 1)
    assert asked[5:] == [None, None]
