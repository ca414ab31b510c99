"""Label errors where the vectors, not the words, tell the classes apart."""

from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.label_errors import find_label_errors
from alphaclip.indexing.region_index import RegionIndex

TWENTY = [[(kind, 0.02 * (number % 10)) for kind in range(3)] for number in range(20)]
OTHER_WORDS = {"ant": "bee", "bee": "cat", "cat": "ant"}


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    """Three kinds under each other's names, and one region named wrongly."""
    dataset = make_dataset(TWENTY)
    names = [[OTHER_WORDS[name] for name in some] for some in dataset.values(TRUTH)]
    names[4][0] = "cat"
    dataset.set_values("boxes.detections.label", names)
    return dataset


TRUTH = "boxes.detections.truth"


def test_find_label_errors__by_the_regions_of_other_pictures(
    dataset: fo.Dataset, make_index: Callable
) -> None:
    index: RegionIndex = make_index(dataset)
    found = find_label_errors(index, 60, progress=lambda *_: None)
    assert (found.judged_by, found.judged, found.left_out) == ("regions", 60, 0)
    wrong = dataset.skip(4).first().boxes.detections[0].id
    assert (found.hits.label_ids[0], found.given[0], found.suggested[0]) == (wrong, "cat", "bee")
    assert found.is_sure[0] and found.errors == 1
    assert found.agreement == pytest.approx(59 / 60)
    by_words = find_label_errors(index, by="texts", progress=lambda *_: None)
    assert by_words.judged_by == "texts" and by_words.agreement < 0.1


def test_find_label_errors__what_cannot_be_judged_is_counted(
    dataset: fo.Dataset, make_index: Callable
) -> None:
    names = dataset.values("boxes.detections.label")
    names[0][:2] = [None, "nothing"]
    dataset.set_values("boxes.detections.label", names)
    found = find_label_errors(make_index(dataset), 60, by="regions", progress=lambda *_: None)
    assert (found.judged, found.left_out) == (58, 2)
    assert "nothing" not in found.given


def test_find_label_errors__too_little_to_compare(
    make_dataset: Callable, make_index: Callable
) -> None:
    one_picture = make_index(make_dataset([[(0, 0.0), (1, 0.0)]]))
    with pytest.raises(AlphaClipError, match="all regions are of one picture"):
        find_label_errors(one_picture, attribute="truth", by="regions")
    assert len(find_label_errors(one_picture, attribute="truth")) == 2
    apart = make_index(make_dataset([[(0, 0.0)], [(1, 0.0)]]))
    with pytest.raises(AlphaClipError, match="in one picture only"):
        find_label_errors(apart, attribute="truth", by="regions")
    one_class = make_index(make_dataset([[(0, 0.0)], [(0, 0.1)]]))
    with pytest.raises(AlphaClipError, match="1 class"):
        find_label_errors(one_class, attribute="truth")
    assert np.isfinite(find_label_errors(apart, attribute="truth").hits.scores).all()
