"""Some of the hits of a search."""

import numpy as np

from alphaclip.indexing.explore.picture_search import PictureHits
from alphaclip.indexing.retrieval.hits import Hits

SAMPLES = np.array(["s0", "s0", "s1"])
SCORES = np.array([0.3, 0.2, 0.1], np.float32)


def test_take__by_slice_and_by_place() -> None:
    hits = Hits(
        SAMPLES, np.array(["a", "b", "c"]), np.array(["x", "x", "y"]), SCORES, -SCORES, None
    )
    first = hits.take(slice(2))
    assert first.label_ids.tolist() == ["a", "b"] and first.sample_ids.tolist() == ["s0", "s0"]
    some = hits.take(np.array([2, 0]))
    assert some.label_ids.tolist() == ["c", "a"] and some.fields.tolist() == ["y", "x"]
    np.testing.assert_array_equal(some.scores, SCORES[[2, 0]])
    np.testing.assert_array_equal(some.rank_scores, -SCORES[[2, 0]])
    assert len(hits.take(slice(3, 5))) == 0
    assert hits.take(hits.scores >= 0.15).label_ids.tolist() == ["a", "b"]
    assert len(hits) == 3
    assert repr(hits) == "<3 hits, scores 0.300 to 0.100>"
    assert repr(hits.take(slice(3, 5))) == "<0 hits>"


def test_take__pictures() -> None:
    pictures = np.array(["s0", "s1", "s2"])
    hits = PictureHits(pictures, SCORES, SCORES, SCORES + 1, None).take(slice(1, 3))
    assert hits.sample_ids.tolist() == ["s1", "s2"]
    np.testing.assert_array_equal(hits.absent_scores, SCORES[1:] + 1)
