"""How the scores of a query are spread."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.scores import (
    Distribution,
    count_above,
    distribution,
    find_and_measure,
)
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.snapshot import SAMPLED, sampled

QUERY = ["red apple", "noise"]


def test_distribution__counts_every_region(dataset: fo.Dataset, index: RegionIndex) -> None:
    scores = index.search(QUERY, k=None).scores
    counts, edges = distribution(index, QUERY, bins=5)
    assert counts.shape == (5,) and edges.shape == (6,)
    assert counts.sum() == 12
    assert edges[0] == pytest.approx(scores.min()) and edges[-1] == pytest.approx(scores.max())
    assert distribution(index, QUERY, view=dataset.limit(1))[0].sum() == 4
    with pytest.raises(AlphaClipError, match="bins is 0"):
        distribution(index, QUERY, bins=0)


def test_count_above__is_what_a_search_finds(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search(QUERY, k=None)
    for limit in map(float, hits.scores):
        expected = len(index.search(QUERY, k=None, min_score=limit))
        assert count_above(index, QUERY, limit) == expected
    view = dataset.limit(1)
    limit = float(hits.scores[6])
    expected = len(index.search(QUERY, k=None, min_score=limit, view=view))
    assert count_above(index, QUERY, limit, view) == expected


def test_measure__a_slider_needs_no_second_scan(index: RegionIndex) -> None:
    scores = index.search(QUERY, k=None).scores
    _, spread = find_and_measure(index, index.ranking(QUERY), 5)
    assert len(spread) == 12
    for limit in np.linspace(scores.min() - 0.01, scores.max() + 0.01, 40).round(4):
        assert spread.above(limit) == (scores >= limit).sum()
    assert spread.above(-1) == 12 and spread.above(1) == 0


def test_measure__of_nothing(dataset: fo.Dataset, index: RegionIndex) -> None:
    _, spread = find_and_measure(index, index.ranking(QUERY), 5, dataset.limit(0))
    assert len(spread) == spread.above(-1) == 0
    assert spread.histogram(3)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("negative", [None, ["pear", "stone"]])
@pytest.mark.parametrize("query", ["apple", QUERY, [f"word {i}" for i in range(6)]])
@pytest.mark.parametrize("k", [1, 5, 50, None])
def test_find_and_measure__is_a_search_and_its_spread(
    dataset: fo.Dataset, index: RegionIndex, query: object, negative: object, k: int | None
) -> None:
    for view in (None, dataset.limit(2), dataset.limit(0)):
        hits, spread = find_and_measure(index, index.ranking(query, negative), k, view)
        expected = index.search(query, k, view, negative)
        assert hits.label_ids.tolist() == expected.label_ids.tolist()
        np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(hits.rank_scores, expected.rank_scores, atol=1e-6)
        counts, edges = distribution(index, query, 7, view)
        np.testing.assert_array_equal(spread.histogram(7)[0], counts)
        np.testing.assert_allclose(spread.histogram(7)[1], edges, atol=1e-6)


def test_joined__counts_of_several_indexes() -> None:
    parts = [Distribution.of([np.array(scores, np.float32)]) for scores in ([0.1, 0.3], [], [0.2])]
    spread = Distribution.joined(parts)
    assert (len(spread), spread.above(0.15)) == (3, 2)
    assert (spread.lowest, spread.highest) == (pytest.approx(0.1), pytest.approx(0.3))
    assert len(Distribution.joined(parts[1:2])) == 0


def test_find_and_measure__of_a_large_index(
    dataset: fo.Dataset, index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best are counted, and the others by a sample: here it has all of them, and many twice."""
    ranking = index.ranking(index.vectors([0])[0])  # None of its scores is rounded near zero
    views = (None, dataset.limit(2))
    counted = [find_and_measure(index, ranking, 3, view) for view in views]
    monkeypatch.setattr("alphaclip.indexing.explore.scores.COUNTED", 5)
    monkeypatch.setattr("alphaclip.indexing.explore.scores.BEST", 4)
    for view, (hits, spread) in zip(views, counted, strict=True):
        found, estimate = find_and_measure(index, ranking, 3, view)
        assert found.region_ids == hits.region_ids
        assert len(estimate) == len(spread)
        # Half of the share that 1.96 deviations of 32,768 draws are off, of at most 8: rounded up
        assert (spread.error, estimate.error) == (0, 1)
        assert (estimate.lowest, estimate.highest) == pytest.approx((spread.lowest, spread.highest))
        assert np.abs(np.cumsum(estimate.cells - spread.cells)).max() <= 1


def test_standing_for__counts_add_up() -> None:
    scores = np.random.default_rng(0).normal(0.2, 0.05, 1000).astype(np.float32)
    spread = Distribution.of([scores])
    assert len(spread.standing_for(1_000_003)) == 1_000_003
    assert spread.standing_for(1_000_003).above(0.2) / 1e6 == pytest.approx(
        (scores >= 0.2).mean(), abs=2e-3
    )


def test_sampled__is_spread_over_all_rows() -> None:
    rows = np.arange(7, 1_000_007)
    chosen = sampled(rows)
    assert len(chosen) == SAMPLED and (np.diff(chosen) >= 0).all()
    assert np.abs(chosen - np.linspace(7, 1_000_007, SAMPLED, endpoint=False)).max() < 31.6
