"""A build that was ended: what it has embedded is searched, and it goes on."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder, index_keys
from alphaclip.indexing.embedding import building, plans
from alphaclip.indexing.region_index import RegionIndex


class Ended(AlphaClipError):
    """What a Stop button raises."""


class Until:
    """A progress that ends the job once so many regions are embedded.

    Attributes:
        seen: how many regions the index held, each time
    """

    def __init__(self, most: int, dataset: fo.Dataset | None = None) -> None:
        self._most, self._dataset = most, dataset
        self.seen: list[int] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != "regions embedded":
            return
        if self._dataset is not None:
            keys = index_keys(self._dataset)
            self.seen.append(len(indexing.load(self._dataset)) if keys else 0)
        if done >= self._most:
            raise Ended(f"at {done} of {total}")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first shard is one picture's regions, the second those of two."""
    monkeypatch.setattr(plans, "FIRST_REGIONS", 4)


@pytest.fixture
def stopped(dataset: fo.Dataset, encoder: Encoder) -> fo.Dataset:
    with pytest.raises(Ended):
        indexing.build(dataset, "boxes", encoder, progress=Until(8))
    return dataset


def test_build__what_is_embedded_can_be_searched_where_it_was_ended(stopped: fo.Dataset) -> None:
    assert index_keys(stopped) == ["regions"]
    assert not stopped.has_brain_run("regions")
    index = indexing.load(stopped)
    hits = index.search("noise", k=9)
    assert hits.sample_ids.tolist() == [stopped.first().id] * 4
    assert len(hits.view()) == 4
    assert index.info()["report"]["regions"] == 4
    assert index.freshness().missing == 8
    (left,) = indexing.unfinished(stopped)
    assert (left.key, left.field, left.encoder) == ("regions", "boxes", "alphaclip-nano")
    assert (left.done, left.total) == (4, 12)


@pytest.mark.parametrize("go_on", ["resume", "build", "update"])
def test_build__goes_on_without_embedding_twice(
    stopped: fo.Dataset, encoder: Encoder, go_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(*counts: object) -> None:
        told.append(counts)

    if go_on == "resume":
        index = indexing.resume(stopped, progress=tell)
    elif go_on == "build":
        index = indexing.build(stopped, "boxes", encoder, progress=tell)
    else:
        index = indexing.load(stopped)
        index.update(progress=tell)
    assert told[-1] == ("regions embedded", 8, 8)
    report = index.info()["report"]
    assert (len(index), report["added"], report["kept"], report["gone"]) == (12, 12, 0, 0)
    assert stopped.has_brain_run("regions")
    assert indexing.unfinished(stopped) == []
    assert not index.snapshot().version.info.get("unfinished")
    fresh = indexing.build(stopped, "boxes", encoder, key="fresh")
    order = [np.argsort(one.ids.label_ids) for one in (index, fresh)]
    np.testing.assert_array_equal(index.vectors(order[0]), fresh.vectors(order[1]))


def test_build__is_published_on_the_way(
    dataset: fo.Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PUBLISH_SECONDS", 0)
    monkeypatch.setattr(building, "PUBLISH_SHARE", 0)
    until = Until(99, dataset)
    index = indexing.build(dataset, "boxes", encoder, progress=until)
    assert until.seen[0] == 0
    assert 4 in until.seen
    assert index.info()["report"]["added"] == len(index) == 12


def test_resume__as_it_was_begun(dataset: fo.Dataset, encoder: Encoder) -> None:
    view = dataset.limit(2)
    with pytest.raises(Ended):
        indexing.build(view, "boxes", encoder, key="some", progress=Until(8))
    assert len(indexing.resume(dataset, "some")) == 8


def test_resume__an_update_leaves_the_index_as_it_was_until_it_is_done(
    dataset: fo.Dataset, encoder: Encoder
) -> None:
    index = indexing.build(dataset, "boxes", encoder)
    boxes = [[[0.5, 0.1 * j, 0.2, 0.2] for j in range(4)] for _ in range(3)]
    dataset.set_values("boxes.detections.bounding_box", boxes)
    with pytest.raises(Ended):
        index.update(progress=Until(8))
    assert (len(indexing.load(dataset)), index.freshness().edited) == (12, 12)
    (left,) = indexing.unfinished(dataset)
    assert (left.done, left.total) == (4, 12)
    assert indexing.resume(dataset).freshness().is_fresh


def test_resume__nothing_was_begun(index: RegionIndex) -> None:
    assert indexing.unfinished(index.dataset) == []
    with pytest.raises(AlphaClipError, match="no plan"):
        indexing.resume(index.dataset)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99}', None])
def test_unfinished__a_damaged_plan_is_left_out(stopped: fo.Dataset, content: bytes | None) -> None:
    path = index_folder(stopped, "regions") / "work" / "plan.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert indexing.unfinished(stopped) == []
    assert len(indexing.load(stopped)) == 4


def test_unfinished__of_this_dataset_only(stopped: fo.Dataset, dataset_factory) -> None:
    assert indexing.unfinished(dataset_factory()) == []
    clone = stopped.clone()
    assert indexing.unfinished(clone) == []
    clone.delete()


def test_build__ended_index_can_be_deleted(stopped: fo.Dataset) -> None:
    indexing.load(stopped).delete()
    assert (index_keys(stopped), indexing.unfinished(stopped)) == ([], [])
