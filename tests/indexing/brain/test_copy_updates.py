"""An index of real vectors that is updated, and its copy with it."""

from pathlib import Path

import pytest

from alphaclip import indexing
from alphaclip.indexing.region_index import RegionIndex

from . import engines_here

pytestmark = pytest.mark.database


def test_update__brings_its_copy_in_step(index: RegionIndex, tmp_path: Path) -> None:
    dataset = index.dataset
    with engines_here.lancedb(tmp_path) as settings:
        indexing.export(index, "lancedb", "copy", **settings)
        there = indexing.load(dataset, engine="copy", **settings)
    assert there.info()["engine"]["recall"]["text"] == there.info()["search"]["recall"]["text"] == 1
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.2, 0.3, 0.4, 0.4]
    sample.save()
    assert there.update(progress=False).edited == 1
    assert there.info()["engine"]["in_step"]
    hits, right = there.search("a box", k=5), indexing.load(dataset).search("a box", k=5)
    assert hits.label_ids.tolist() == right.label_ids.tolist()
    assert hits.scores.tolist() == right.scores.tolist()
