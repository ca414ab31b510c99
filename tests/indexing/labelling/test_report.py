"""The report as JSON and as a page."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from alphaclip.indexing.labelling.promise.calibration import reliability
from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.report import ClassLine, LabelReport, assumptions, diagram, page

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


class Reader(HTMLParser):
    """Collects tags, and the text outside of style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_outcome__follows_promise_and_drift(report: LabelReport) -> None:
    assert report.outcome == "done"
    assert replace(report, promise=MISSED).outcome == "not reachable"
    assert replace(report, promise=None, by_class={"a": MISSED, "b": KEPT}).outcome == "done"
    assert replace(report, promise=None).outcome == "done"
    assert replace(report, drift=MOVED).outcome == "moved"


def test_write__json_holds_what_was_asked_and_found(report: LabelReport, tmp_path: Path) -> None:
    paths = report.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["labels.json", "labels.html"]
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    assert found["promise"]["precision"] == 0.95 and found["promise"]["confidence"] == 0.9
    assert found["promise"]["interval"] == list(KEPT.interval)
    assert found["classes"][0]["estimate"] == 0.98 and found["classes"][1]["estimate"] is None
    assert found["assumptions"] == assumptions(report) and found["outcome"] == "done"
    assert found["reliability"]["binning"] == "10 bins of equal count"
    assert "<!doctype html>" in paths[1].read_text(encoding="utf-8")


def test_page__needs_nothing_else_and_escapes_names(report: LabelReport) -> None:
    reader = Reader()
    reader.feed(page(report))
    assert {"table", "svg", "circle"} <= set(reader.tags)
    assert not {"script", "link", "img", "b"} & set(reader.tags)
    assert "<script>cat</script>" in reader.text and "<b>scenes</b>" in reader.text
    assert "49 of 50" in reader.text and KEPT.reason in reader.text


def test_page__says_what_is_missing(report: LabelReport) -> None:
    assert "not reachable" in page(replace(report, promise=MISSED))
    bare = LabelReport(run={}, counts={})
    assert "None was asked for" in page(bare) and "<svg" not in page(bare)
    assert MOVED.reason in page(replace(report, drift=MOVED))


def test_diagram__shows_each_bin_where_it_belongs(report: LabelReport) -> None:
    tree = ElementTree.fromstring(diagram(report.reliability))
    circles = [one for one in tree.iter() if one.tag.endswith("circle")]
    assert len(circles) == 10
    first, last = circles[0], circles[-1]
    assert float(first.get("cx")) < float(last.get("cx"))
    assert float(first.get("cy")) == 360 and float(last.get("cy")) == 40, "none, and all, are right"


def test_assumptions__are_told_in_plain_words(report: LabelReport) -> None:
    told = " ".join(assumptions(report))
    assert "exchangeable" in told and "A new source" in told and "count as wrong" in told
    assert "ranking, not probabilities" in assumptions(LabelReport({}, {}))[0]
    several = replace(report, promise=None, by_class={"a": KEPT, "b": KEPT})
    assert "promise of its own" in " ".join(assumptions(several))
    assert "hold together" in " ".join(assumptions(replace(several, at_once=2)))
    assert "lower than stated" in " ".join(assumptions(replace(report, samples=3)))
