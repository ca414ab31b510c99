"""An evaluation as one page: plots, and regions that were taken for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import region_protocol
from alphaclip.training.evaluation.outcomes import Outcome
from alphaclip.training.evaluation.report.page import NO_CROPS
from alphaclip.training.evaluation.report.report import write_report


@pytest.fixture
def outcome(colour_set: RegionSet, colour_encoder) -> Outcome:
    """Two of five regions are labelled as what they do not show: both as green."""
    return classify(colour_encoder, colour_set, region_protocol("own"))


def page(folder: Path, outcomes: list[Outcome], sets: list[RegionSet] | None) -> str:
    *_, path = write_report(folder, outcomes, folder / "page.html", sets)
    assert path == folder / "page.html"
    return path.read_text("utf-8")


def test_page__mistakes_beside_a_right_one(
    tmp_path: Path, outcome: Outcome, colour_set: RegionSet
) -> None:
    text = page(tmp_path / "a", [outcome], [colour_set])
    assert text.count("data:image/png") == 2
    # Red and blue for green, and each time the stripe that is green and was taken for it.
    assert text.count("data:image/jpeg") == 4
    assert "2 of 5, the most frequent confusions first" in text
    assert "taken for red" in text and "taken for blue" in text and "a right one" in text
    assert "n = 5, of 3 pictures" in text and NO_CROPS not in text
    assert page(tmp_path / "b", [outcome], [colour_set]) == text


def test_page__pictures_that_are_gone_and_sets_that_are_not_at_hand(
    tmp_path: Path, outcome: Outcome, colour_set: RegionSet
) -> None:
    (tmp_path / "a.png").unlink()
    text = page(tmp_path / "one", [outcome], [colour_set])
    assert text.count("no picture") == 1 and text.count("data:image/jpeg") == 3
    text = page(tmp_path / "two", [outcome], None)
    assert "alphaclip eval TASK" in text and "data:image/jpeg" not in text
    text = page(tmp_path / "three", [outcome], [])
    assert "alphaclip eval TASK" not in text and "Mistaken by" not in text
