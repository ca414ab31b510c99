"""Regions whose nearest neighbours are far."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import build
from alphaclip.indexing.explore.outliers import find_outliers
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.segments import as_text


def test_find_outliers__mean_cosine_to_the_nearest_others(index: RegionIndex) -> None:
    vectors = index.vectors(np.arange(len(index)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    expected = np.sort(cosines, axis=1)[:, -3:].mean(axis=1)
    hits = find_outliers(index, count=5, neighbors=3)
    np.testing.assert_allclose(hits.scores, np.sort(expected)[:5], atol=1e-4)
    lowest = index.ids.take(np.argsort(expected, kind="stable")[:5])
    assert hits.label_ids.tolist() == as_text(lowest.label_ids).tolist()


def test_find_outliers__one_box_on_another_picture(dataset: fo.Dataset, encoder: Encoder) -> None:
    """Eleven boxes with the same content, and one that shows something else."""
    first = dataset.first()
    twelve = [fo.Detection(bounding_box=[0.1, 0.1, 0.3, 0.3]) for _ in range(11)]
    odd = fo.Detection(bounding_box=[0.5, 0.0, 0.1, 0.9])
    first["boxes"] = fo.Detections(detections=[*twelve, odd])
    first.save()
    index = build(dataset.limit(1), "boxes", encoder, key="odd")
    hits = find_outliers(index, count=2)
    assert hits.label_ids[0] == odd.id
    assert hits.scores[0] < 0.99
    assert hits.scores[1] == pytest.approx(1, abs=1e-3)


def test_find_outliers__fewer_regions_than_neighbors(index: RegionIndex) -> None:
    assert len(find_outliers(index, count=50, neighbors=100)) == len(index)


def test_find_outliers__bad_input(index: RegionIndex, dataset: fo.Dataset) -> None:
    for options in ({"count": 0}, {"neighbors": 0}):
        with pytest.raises(AlphaClipError, match="at least 1"):
            find_outliers(index, **options)
    only = dataset.limit(1).filter_labels("boxes", fo.ViewField("label") == "00")
    alone = build(only, "boxes", index.encoder, key="alone")
    with pytest.raises(AlphaClipError, match="holds 1 region"):
        find_outliers(alone)
