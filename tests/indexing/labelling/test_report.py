"""The report, and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaclip.indexing.calibration import reliability
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.report import ClassLine, LabelReport, assumptions, remarks

SCORES = np.arange(200.0)
KEPT = fix_threshold(SCORES, SCORES > 20, 0.95, candidates=SCORES)
MISSED = fix_threshold(SCORES, SCORES < 0, 0.95, candidates=SCORES)
MOVED = Drift(True, 0.01, 0.001, 0.5, 0.6, (50, 50), "the new regions are not like them")


@pytest.fixture
def report() -> LabelReport:
    return LabelReport(
        run={"dataset": "<b>scenes</b>", "model": "nano"},
        counts={"written": 180, "waiting": 20},
        promise=KEPT,
        classes=(ClassLine("<script>cat</script>", 100, 90, 50, 49), ClassLine("dog", 0, 0)),
        calibration="platt",
        reliability=reliability(np.linspace(0, 1, 100), np.linspace(0, 1, 100) > 0.5),
    )


def test_outcome__follows_promise_and_drift(report: LabelReport) -> None:
    assert report.outcome == "done"
    assert replace(report, promise=MISSED).outcome == "not reachable"
    assert replace(report, promise=None, by_class={"a": MISSED, "b": KEPT}).outcome == "done"
    assert replace(report, promise=None).outcome == "done"
    assert replace(report, drift=MOVED).outcome == "moved"


def test_write__json_holds_what_was_asked_and_found(report: LabelReport, tmp_path: Path) -> None:
    path = report.write(tmp_path / "new" / "folder")
    assert path.name == "labels.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["promise"]["precision"] == 0.95 and found["promise"]["confidence"] == 0.9
    assert found["promise"]["interval"] == list(KEPT.interval)
    assert found["classes"][0]["estimate"] == 0.98 and found["classes"][1]["estimate"] is None
    assert found["assumptions"] == assumptions(report) and found["outcome"] == "done"
    assert found["reliability"]["binning"] == "10 bins of equal count"


def test_assumptions__are_told_in_plain_words(report: LabelReport) -> None:
    told = " ".join(assumptions(report))
    assert "exchangeable" in told and "A new source" in told and "count as wrong" in told
    assert "ranking, not probabilities" in assumptions(LabelReport({}, {}))[0]
    several = replace(report, promise=None, by_class={"a": KEPT, "b": KEPT})
    assert "promise of its own" in " ".join(assumptions(several))
    assert "Tests so far: 3." in " ".join(assumptions(replace(report, tests=3)))
    assert "lower than stated" in " ".join(assumptions(replace(report, spent=1.25)))


def test_remarks__say_what_is_next_and_which_classes_are_too_few() -> None:
    lines = [ClassLine("cat", 50, 0, reviewed=80), ClassLine("dog", 9, 0, reviewed=57)]
    lines += [ClassLine("eel", 3, 0), ClassLine("fox" * 99, 0, 0)]
    failed = LabelReport({}, {}, MISSED, classes=tuple(lines), tests=1, next_sample=248)
    told = remarks(failed)
    assert told[0].endswith("label again: test 2 takes 248 answers.")
    assert told[1:] == [
        "No region was taken for: foxfoxfoxfoxfoxfoxfox....",
        "No reviewed region was taken for, so that nothing is known of: eel.",
        "Too few were reviewed to promise anything of the class by itself, which takes 59: "
        "dog (57).",
    ]
    assert (
        "too small for its test, which needs 72 answers"
        in remarks(replace(failed, next_sample=0))[0]
    )
    some = replace(failed, promise=None, by_class={"cat": KEPT, "dog": MISSED})
    assert "another sample may tell more" in remarks(some)[0]
    assert "with `retrain`: test 2 takes" in remarks(some)[0]
    waits = replace(failed, counts={"sample to review": 3}, tests=0)
    assert not any("label again" in line for line in remarks(waits))
    assert "cannot pass" in remarks(replace(waits, is_lost=True))[0]
    assert remarks(LabelReport({}, {}, classes=tuple(lines))) == []


def test_remarks__of_very_many_classes_name_the_first() -> None:
    lines = tuple(ClassLine(f"class {n}", 0, 0) for n in range(1000))
    (told,) = remarks(LabelReport({}, {}, KEPT, classes=lines))
    assert told.endswith("class 4 and 995 more.")
