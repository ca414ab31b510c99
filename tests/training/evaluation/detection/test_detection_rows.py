"""What a proposal was named, beside the object that it covers."""

from collections.abc import Callable

import pytest

from alphaclip.training.datasets.examples import Example, RegionSet
from alphaclip.training.datasets.proposals import Proposal
from alphaclip.training.evaluation.detection.average_precision import Detection
from alphaclip.training.evaluation.detection.detection import (
    NOTHING,
    detection_rows,
    proposed_regions,
)
from alphaclip.training.evaluation.detection.naming import DetectionEntry
from alphaclip.training.evaluation.detection.truth import Truth, truth_of

CLASSES = ("red", "green", "blue")
FIRST, SECOND = Proposal((0.0, 0.0, 10.0, 20.0)), Proposal((10.0, 0.0, 10.0, 20.0))
BETWEEN = Proposal((6.0, 0.0, 10.0, 20.0))
"""Covers 4 of 10 columns of the first stripe and 6 of the second: IoU 4/16 and 6/14."""


@pytest.fixture
def truth(paint: Callable[..., Example]) -> Truth:
    """A red stripe and a green one beside it."""
    return truth_of(RegionSet("colours", (paint("a", "red", "green"),), CLASSES))


def found(proposal: Proposal, name: str, score: float) -> Detection:
    return Detection("a", CLASSES.index(name) + 1, proposal.box, score)


def test_rows__the_surest_class_beside_the_object(truth: Truth) -> None:
    proposals = {"a": [FIRST, SECOND, BETWEEN]}
    detections = [
        found(FIRST, "blue", 0.2),
        found(FIRST, "red", 0.7),
        found(SECOND, "red", 0.6),
        found(BETWEEN, "green", 0.5),
    ]
    first, second, between = detection_rows(DetectionEntry(truth, proposals, ""), detections)
    assert (first.id, first.predicted, first.truth, first.correct) == ("a/0", "red", "red", 1.0)
    assert (second.id, second.predicted, second.truth, second.correct) == ("a/1", "red", "green", 0)
    assert (between.predicted, between.truth, between.correct) == ("green", NOTHING, 0.0)
    assert (first.score, first.example, first.group) == (0.7, "a", "small")


def test_rows__a_suppressed_proposal_has_none(truth: Truth) -> None:
    entry = DetectionEntry(truth, {"a": [FIRST, SECOND]}, "")
    rows = detection_rows(entry, [found(SECOND, "green", 0.9)])
    assert [row.id for row in rows] == ["a/1"]


def test_rows__a_picture_without_objects(paint: Callable[..., Example]) -> None:
    truth = truth_of(RegionSet("colours", (paint("a", "red"),), ("green",)))
    entry = DetectionEntry(truth, {"a": [FIRST]}, "")
    (row,) = detection_rows(entry, [found(FIRST, "red", 0.9)])
    assert row.truth == NOTHING


def test_regions__have_the_ids_of_the_rows(truth: Truth) -> None:
    flat = Proposal((3.0, 3.0, 0.0, 5.0))
    entry = DetectionEntry(truth, {"a": [FIRST, flat, SECOND]}, "")
    (example,) = proposed_regions(entry).examples
    assert [labelled.id for labelled in example.regions] == ["a/0", "a/2"]
