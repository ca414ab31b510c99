"""Pictures that show some things and not others."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.picture_search import find_pictures
from alphaclip.indexing.region_index import RegionIndex


def best(indexes: list[RegionIndex], text: str) -> dict[str, float]:
    """The highest cosine of each picture."""
    found: dict[str, float] = {}
    for index in indexes:
        hits = index.search(text, k=None)
        for sample, score in zip(hits.sample_ids.tolist(), hits.scores.tolist(), strict=True):
            found[sample] = max(found.get(sample, -1.0), score)
    return found


def test_find_pictures__the_weakest_part_counts(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    indexes = [index, indexing.build(dataset, "shape", encoder, key="shapes")]
    a, b, c = (best(indexes, text) for text in ("apple", "violin", "noise"))
    hits = find_pictures(indexes, ["apple", "violin"], ["noise"])
    score = {sample: min(a[sample], b[sample]) for sample in a}
    order = {sample: score[sample] - 0.5 * c[sample] for sample in a}
    assert hits.sample_ids.tolist() == sorted(order, key=lambda s: -order[s])
    np.testing.assert_allclose(hits.scores, [score[s] for s in hits.sample_ids], atol=1e-5)
    np.testing.assert_allclose(hits.absent_scores, [c[s] for s in hits.sample_ids], atol=1e-5)
    assert hits.view().values("id") == hits.sample_ids.tolist()


def test_find_pictures__limits(dataset: fo.Dataset, index: RegionIndex) -> None:
    everything = find_pictures(index, ["apple", ["violin", "cello"]], ["noise"], k=None)
    assert len(everything) == 3
    least = float(np.sort(everything.scores)[1]) - 1e-6  # a score's last bits may differ
    assert len(find_pictures(index, ["apple", ["violin", "cello"]], min_score=least)) == 2
    most = float(np.sort(everything.absent_scores)[1])
    kept = find_pictures(index, ["apple", ["violin", "cello"]], ["noise"], max_absent=most)
    assert len(kept) == 1 and kept.absent_scores[0] < most
    assert len(find_pictures(index, ["apple"], k=1)) == 1
    view = dataset.skip(2)
    assert find_pictures(index, ["apple"], view=view).sample_ids.tolist() == view.values("id")
    assert len(find_pictures(index, ["apple"], view=dataset.limit(0)).view()) == 0


def test_find_pictures__an_example_in_any_index(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    shapes = indexing.build(dataset, "shape", encoder, key="shapes")
    example = indexing.Example(dataset.last().shape.id)
    hits = find_pictures([index, shapes], [example, "apple"])
    assert len(hits) == 3


def test_find_pictures__bad_input(index: RegionIndex) -> None:
    for present in ("apple", []):
        with pytest.raises(AlphaClipError, match="present is"):
            find_pictures(index, present)
    with pytest.raises(AlphaClipError, match="k is 0"):
        find_pictures(index, ["apple"], k=0)
    with pytest.raises(AlphaClipError, match="indexes is empty"):
        find_pictures([], ["apple"])


def test_find_pictures__says_which_region_is_which(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    indexes = [index, indexing.build(dataset, "shape", encoder, key="shapes")]
    parts = ["apple", ["violin", "cello"]]
    for searched in (indexes, indexes[:1]):
        pictures = find_pictures(searched, parts, ["noise"])
        assert len(pictures.regions) == 2
        for part, regions in zip(parts, pictures.regions, strict=True):
            assert regions.sample_ids.tolist() == pictures.sample_ids.tolist()
            everything = indexing.search(searched, part, k=None)
            for sample, label, score in zip(
                regions.sample_ids, regions.label_ids, regions.scores, strict=True
            ):
                first = everything.sample_ids.tolist().index(sample)
                assert everything.label_ids[first] == label
                assert everything.scores[first] == pytest.approx(score, abs=1e-5)
        lowest = np.min([regions.scores for regions in pictures.regions], axis=0)
        np.testing.assert_allclose(lowest, pictures.scores, atol=1e-6)


def test_find_pictures__are_tagged_or_their_regions(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    pictures = find_pictures(index, ["apple", "violin", "apple"], k=3).take(np.array([1, 0]))
    hits = pictures.hits()
    pairs = zip(pictures.regions[0].region_ids, pictures.regions[1].region_ids, strict=True)
    assert hits.region_ids == list(dict.fromkeys(region for pair in pairs for region in pair))
    assert len(pictures.take(slice(0)).hits()) == 0
    action = indexing.tag(hits, "both")
    assert action.count == dataset.count_label_tags()["both"] == len(hits)
    indexing.undo(dataset, action)
    assert indexing.tag_samples(hits, "both").count == 2
    assert set(dataset.match_tags("both").values("id")) == set(pictures.sample_ids)
