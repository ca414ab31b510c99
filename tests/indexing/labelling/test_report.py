"""The report, and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaclip.indexing.labelling.promise.calibration import reliability
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.report import ClassLine, LabelReport, assumptions

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
    assert "lower than stated" in " ".join(assumptions(replace(report, samples=3)))
