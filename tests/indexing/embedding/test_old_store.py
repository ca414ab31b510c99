"""Stores, Brain runs and interrupted jobs of version 0.1.0 go on working."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder, store_root
from alphaclip.indexing.store.store import open_store

from .test_update import Counting

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.encoder.encoder import Encoder

OLD = Path(__file__).parents[1] / "data" / "store-0.1.0"
RECORDED = json.loads((OLD / "recorded.json").read_text())
OLD_STORE = OLD / "store" / RECORDED["dataset_id"]
REGIONS, DONE = 12, 6
"""How many there are, and how many of them the interrupted job had embedded."""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fo.Dataset]:
    """The dataset with its Brain runs, which name the old stores: ids are as they were."""
    import fiftyone as fo

    monkeypatch.setenv("ALPHACLIP_STORE", str(tmp_path / "store"))
    shutil.copytree(OLD / "store", tmp_path / "store")
    folder = shutil.copytree(OLD / "dataset", tmp_path / "dataset")
    dataset = fo.Dataset.from_dir(str(folder), fo.types.FiftyOneDataset, progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def counting(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(encoder)
    monkeypatch.setattr("alphaclip.indexing.region_index.encoder_of", lambda *_: counting)
    return counting


class OfThen:
    """Today's encoder with the words' vectors and the fingerprint of those weights of nano that
    the vectors are of, which ship no more."""

    fingerprint = json.loads((OLD_STORE / "regions" / "manifest-000002.json").read_text())["info"][
        "fingerprint"
    ]

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_text(self, texts: list[str]) -> np.ndarray:
        return np.array([RECORDED["texts"][text] for text in texts], np.float32)

    recall_text = encode_text


@pytest.fixture
def of_then(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> OfThen:
    of_then = OfThen(encoder)
    monkeypatch.setattr("alphaclip.indexing.region_index.encoder_of", lambda *_: of_then)
    return of_then


@pytest.mark.usefixtures("of_then")
@pytest.mark.parametrize("query", RECORDED["hits"])
def test_search(old: fo.Dataset, query: str) -> None:
    hits = indexing.load(old).search(query, k=REGIONS)
    label_ids, scores = RECORDED["hits"][query]
    assert hits.label_ids.tolist() == label_ids
    np.testing.assert_allclose(hits.scores, scores, atol=1e-5)


def test_search__with_other_weights_says_what_to_do(old: fo.Dataset) -> None:
    with pytest.raises(AlphaClipError, match=f"built with alphaclip-nano .{OfThen.fingerprint:.8}"):
        indexing.load(old).search("a blue ball")


def test_update__embeds_nothing_anew(old: fo.Dataset, counting: Counting) -> None:
    before = open_store(index_folder(old, "regions"))
    report = indexing.load(old).update()
    assert (report.regions, report.kept, report.added, report.edited) == (REGIONS, REGIONS, 0, 0)
    assert counting.encoded == 0
    after = open_store(index_folder(old, "regions"))
    assert after.info.keys() == before.info.keys()
    assert [s.entry for s in after.segments] == [s.entry for s in before.segments]
    assert after.ids.fingerprints.tolist() == before.ids.fingerprints.tolist()


def test_update__an_edited_region(old: fo.Dataset, counting: Counting) -> None:
    sample = old.last()
    sample.things.detections[1].bounding_box = [0.1, 0.1, 0.5, 0.5]
    sample.save()
    report = indexing.load(old).update()
    assert (report.regions, report.kept, report.edited) == (REGIONS, REGIONS - 1, 1)
    assert counting.encoded == 1


def test_interrupted_build__goes_on(old: fo.Dataset, of_then: OfThen) -> None:
    left = store_root() / RECORDED["dataset_id"] / "interrupted"
    shutil.copytree(left, index_folder(old, "interrupted"))
    again = Counting(of_then)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alphaclip.indexing.region_index.load_encoder", lambda given: given)
        index = indexing.build(old, "things", again, key="interrupted", identify="content")
    assert len(index) == REGIONS
    assert again.encoded == REGIONS - DONE


def test_brain_runs(old: fo.Dataset) -> None:
    assert old.list_brain_runs() == ["given", "regions"]
    results = old.load_brain_results("regions")
    assert results.total_index_size == REGIONS
    assert results.config.type == "similarity"
    words = RECORDED["texts"]["a blue ball"]
    view = old.to_patches("things").sort_by_similarity(words, k=3, brain_key="regions")
    assert view.values("id") == RECORDED["hits"]["a blue ball"][0][:3]
    assert old.load_brain_results("given").total_index_size == RECORDED["given"]
