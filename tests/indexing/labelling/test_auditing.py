"""How many objects an index cannot see."""

from collections.abc import Sequence

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.detectors.boxes import FoundBox
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import RegionIndex
from alphaclip.indexing.dataset.samples import FOLDER, OBJECTS, load_sample
from alphaclip.indexing.labelling.promise.totals import estimate_total


def test_audit__counts_what_has_no_region(dataset: fo.Dataset, index: RegionIndex) -> None:
    audit = index.audit("excavator", pictures=2)
    assert str(audit.report()) == "none of 2 pictures is looked at yet"
    one, two = audit.pictures
    audit.mark(one, [(0.5, 0.5), (0.1, 0.9)])
    again = index.audit("excavator", pictures=2)
    assert (again.pictures, again.marks) == (audit.pictures, {one: [(0.5, 0.5), (0.1, 0.9)]})
    audit.mark(two, [])
    total = again.report().unseen
    assert total and (total.counted, total.pictures, total.population) == (2, 2, 3)
    assert total.estimate == 3 and total.interval[0] == 2 and total.interval[1] > 3
    assert "by person (2)" in str(again.report())
    audit.unmark(one)
    assert again.report().to_dict()["unseen"]["counted"] == 0
    assert index.audit("crane", pictures=2).marks == {}
    whole = index.audit("excavator")
    for sample_id in whole.pictures:
        whole.mark(sample_id, [(0, 1)])
    assert whole.report().unseen.interval == (3, 3)


def test_audit__by_a_detector(dataset: fo.Dataset, index: RegionIndex) -> None:
    class Seeing:
        name = "seeing"

        def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
            boxes = [(0.1, 0.2, 0.4, 0.7), (0.7, 0.8, 0.9, 1.0)]  # a region, and no region
            return [[FoundBox(box, 0.9) for box in boxes] for _ in phrases]

    audit = index.audit("excavator", pictures=3)
    audit.mark(audit.pictures[0], [])
    assert audit.detect(Seeing(), progress=False) == []
    marks = audit.marks
    assert [len(marks[sample_id]) for sample_id in audit.pictures] == [0, 1, 1]
    assert marks[audit.pictures[1]][0] == pytest.approx((0.8, 0.9))
    assert audit.report().judges == {"person": 1, "seeing": 2}

    class Broken(Seeing):
        def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
            return [[FoundBox((0.5, 0.5, 0.5, 0.5), 0.9)] for _ in phrases]

    broken = index.audit("hole", pictures=2)
    assert ["has no area" in skipped.reason for skipped in broken.detect(Broken())] == [True, True]
    assert broken.marks == {}

    class Slow(Seeing):
        def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
            crowd.mark(crowd.pictures[1], [(0.5, 0.5)])  # as a person does meanwhile
            return super().ground(image, phrases)

    crowd = index.audit("crowd", pictures=2)
    assert crowd.detect(Slow(), progress=False) == []
    assert crowd.report().judges == {"person": 1, "seeing": 1}
    at_once = index.audit("crane", pictures=2, detector=Seeing())
    assert at_once.report().judges == {"seeing": 2}


def test_audit__bad_input(dataset: fo.Dataset, index: RegionIndex) -> None:
    with pytest.raises(AlphaClipError, match="concept is empty"):
        index.audit(" ")
    with pytest.raises(AlphaClipError, match="confidence is 1"):
        index.audit("excavator", confidence=1)
    with pytest.raises(AlphaClipError, match="pictures is 0"):
        index.audit("excavator", pictures=0)
    audit = index.audit("excavator")
    with pytest.raises(AlphaClipError, match="none of those that were drawn"):
        audit.mark("f" * 24, [])
    for points in ([(0.5, 1.1)], [(0.5,)], [(float("nan"), 0.5)], [(0, 0)] * 1001):
        with pytest.raises(AlphaClipError, match="points are"):
            audit.mark(audit.pictures[0], points)


def kept(counts: np.ndarray, pictures: int, runs: int = 200) -> float:
    """In how many of so many draws the interval covers the sum."""
    covers = []
    for seed in range(runs):
        drawn = np.random.default_rng(seed).permutation(counts)[:pictures]
        total = estimate_total(drawn, len(counts))
        assert total is not None
        covers.append(total.interval[0] <= counts.sum() <= total.interval[1])
    return float(np.mean(covers))


@pytest.mark.parametrize(
    ("name", "pictures"),
    [("few", 30), ("few", 100), ("many", 30), ("many", 100), ("in heaps", 100), ("in most", 30)],
)
def test_estimate_total__covers(name: str, pictures: int) -> None:
    rng = np.random.default_rng(1)
    counts = {
        "few": rng.poisson(0.1, 1000),
        "many": rng.poisson(3, 1000),
        "in heaps": rng.negative_binomial(0.5, 0.2, 1000),
        "in most": rng.integers(1, 4, 150),
    }[name]
    assert kept(counts, pictures) >= 0.9


def test_estimate_total__nothing_and_everything() -> None:
    assert estimate_total(np.zeros(0, np.int64), 10) is None
    none = estimate_total(np.zeros(100, np.int64), 10_000)
    # At a rate of 3.0 in the sample, nothing is seen in one of twenty
    assert none and none.interval == (0, pytest.approx(299.6 * np.sqrt(0.99), rel=1e-3))


@pytest.mark.parametrize("gone", [0.05, 0.3])
def test_estimate_total__on_scenes_with_regions_taken_away(gone: float) -> None:
    dataset, rng = load_sample(FOLDER, "auditing"), np.random.default_rng(0)
    labels = dataset.values(f"{OBJECTS}.detections.label")
    counts = np.array([sum(rng.random() < gone for _ in names) for names in labels])
    assert kept(counts, 100) >= 0.9
