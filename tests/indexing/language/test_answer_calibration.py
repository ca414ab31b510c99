"""Answers that become probabilities by what people said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.language.answer_calibration import AnswerCalibration, fit
from alphaclip.indexing.region_index import RegionIndex
from tests.indexing.language.fakes import FakeDescriber

CHOICES = ("yes", "no")
QUIET = {"model": FakeDescriber(), "into": "checked", "progress": lambda *counts: None}


@pytest.fixture
def reviewed(make_dataset: Callable, make_index: Callable) -> RegionIndex:
    """Sixty regions from left to right; people mostly said yes to the right of 0.4, of five
    nothing."""
    lefts = np.linspace(0.05, 0.85, 60).round(4).tolist()
    dataset = make_dataset([[(0, left) for left in lefts]])
    sample = dataset.first()
    for number, (left, label) in enumerate(zip(lefts, sample.boxes.detections, strict=True)):
        is_right = (left > 0.4) != (number % 7 == 0)
        label["checked_by_people"] = None if number % 12 == 5 else CHOICES[not is_right]
        label["sure"] = is_right
    sample.save()
    dataset.add_dynamic_sample_fields()
    return make_index(dataset)


def column(index: RegionIndex, name: str) -> list[Any]:
    index.dataset.reload()
    labels = index.dataset.first().boxes.detections
    return [label[name] if label.has_field(name) else None for label in labels]


def test_ask__reviews_make_scores_probabilities(reviewed: RegionIndex) -> None:
    before = reviewed.ask("right?", CHOICES, **QUIET)
    assert before.calibration is None and max(column(reviewed, "checked_score")) > 0.99

    report = reviewed.ask("right?", CHOICES, reviews="boxes.checked_by_people", **QUIET)
    found = report.calibration
    assert found is not None and found.reviews == 55
    assert 0 <= found.interval[0] <= found.error <= found.interval[1] < 0.3
    assert "probabilities from 55 reviews, calibration error 0." in str(report)
    assert (report.asked, report.written) == (0, 60)
    assert column(reviewed, "checked_score") == [None] * 60
    # The model takes 0.5 for the border, people 0.4; one answer in seven is another
    answers = dict(zip(column(reviewed, "checked"), range(60), strict=True))
    chances = column(reviewed, "checked_p")
    assert chances[0] == pytest.approx(0.86, abs=0.12) and chances[-1] == pytest.approx(
        0.86, abs=0.12
    )
    assert answers["no"] < 33

    again = reviewed.ask("right?", CHOICES, **QUIET)
    assert again.written == 0 and again.calibration == found, "it stays for later runs"


def test_ask__reviewed_regions_outside_of_the_view_are_asked_and_not_written(
    reviewed: RegionIndex,
) -> None:
    report = reviewed.ask("right?", CHOICES, limit=3, reviews="boxes.sure", **QUIET)
    assert (report.asked, report.written, report.calibration.reviews) == (60, 3, 60)
    assert sum(value is not None for value in column(reviewed, "checked")) == 3


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda number, left: number < 40, r"3\d regions are reviewed .* at least 50"),
        (lambda number, left: left > 0.4, "at least 50 reviews, with two different answers"),
    ],
)
def test_ask__too_few_reviews_are_refused(
    reviewed: RegionIndex, keep: Callable, message: str
) -> None:
    sample = reviewed.dataset.first()
    for number, label in enumerate(sample.boxes.detections):
        if not keep(number, label.bounding_box[0]):
            label["checked_by_people"] = None
    sample.save()
    with pytest.raises(AlphaClipError, match=message):
        reviewed.ask("right?", CHOICES, reviews="boxes.checked_by_people", **QUIET)


def drawn(count: int, choices: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods that are three times too sure, answers drawn with the right probabilities,
    and these."""
    rng = np.random.default_rng(seed)
    gains = rng.normal(scale=4, size=(count, choices))
    odds = np.exp(gains / 3)
    chances = odds / odds.sum(axis=1, keepdims=True)
    return gains, np.array([rng.choice(choices, p=row) for row in chances]), chances


@pytest.mark.parametrize("choices", [2, 4])
def test_fit__finds_the_probabilities_that_answers_were_drawn_with(choices: int) -> None:
    gains, truths, _ = drawn(600, choices, seed=0)
    found = fit(gains, truths)
    others, _, chances = drawn(500, choices, seed=1)
    assert np.abs(found.probabilities(others) - chances).mean() < 0.03
    assert found.interval[0] <= 0.02 < found.interval[1] < 0.1
    if choices == 4:
        assert found.temperature == pytest.approx(3, rel=0.2)
    again = AnswerCalibration.from_dict(found.to_dict())
    assert np.array_equal(again.probabilities(others), found.probabilities(others))


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_fit__the_interval_holds_the_true_error(off: float) -> None:
    from alphaclip.indexing.language.answer_calibration import _measured

    rng, held = np.random.default_rng(0), 0
    for _ in range(20):
        sure = rng.uniform(0.6, 0.95, 60)
        _, (low, high) = _measured(sure, rng.random(60) < sure - off)
        held += low <= off <= high
    assert held >= 18


def test_fit__regions_without_an_answer_do_not_count() -> None:
    with pytest.raises(AlphaClipError, match="49 of the reviewed regions have an answer"):
        fit(np.zeros((49, 2)), np.arange(49) % 2)
