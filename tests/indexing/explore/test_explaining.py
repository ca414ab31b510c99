"""Where the encoder looked in a region of an index."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.explaining import explain_region
from alphaclip.indexing.region_index import RegionIndex


def test_explain_region__a_heatmap(dataset: fo.Dataset, index: RegionIndex) -> None:
    sample = dataset.last()
    label = sample.boxes.detections[1].id
    found = explain_region(index, label, "red apple", cells=3)
    assert found.shape == (40, 60)
    assert found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1
    sample["why"] = fo.Heatmap(map=found)
    sample.save()


def test_explain_region__gone(dataset: fo.Dataset, index: RegionIndex) -> None:
    label = dataset.first().boxes.detections[0].id
    dataset.delete_labels(ids=[label])
    with pytest.raises(AlphaClipError, match="is gone from field 'boxes'"):
        explain_region(index, label, "red apple")
    with pytest.raises(AlphaClipError, match="not in index"):
        explain_region(index, "0" * 24, "red apple")
