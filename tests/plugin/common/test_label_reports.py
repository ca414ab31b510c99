"""What the App draws of a labelling run."""

import json
from dataclasses import replace

import fiftyone.operators as foo
import numpy as np
import plotly.graph_objects as go
import pytest

from alphaclip.indexing.calibration import reliability
from alphaclip.indexing.labelling.promise.promise import fix_threshold
from alphaclip.indexing.labelling.promise.recall import Recall
from alphaclip.indexing.labelling.report import ClassLine, LabelReport

from ..conftest import plugin_module

COUNTS = {
    "regions": 500,
    "none of these": 20,
    "written": 412,
    "left as they were": 0,
    "by people": 0,
    "waiting": 88,
    "held back": 0,
    "sample": 100,
    "sample to review": 0,
}
HOSTILE = '<a href="javascript:alert(1)">x</a> ' + "long " * 100


@pytest.fixture
def reports(plugins_dir):
    """The module of the plugin."""
    operator = foo.get_operator("@alphaclip/regions/label_regions")
    return plugin_module(operator, "common.label_reports")


def promise(right=100):
    scores = np.linspace(0, 1, 100)
    correct = np.arange(100) >= 100 - right
    return fix_threshold(scores, correct, 0.9, candidates=np.linspace(0, 1, 400))


def report(**changes):
    recall = Recall(30, 40, (0.612, 0.857))
    lines = (ClassLine("apple", 300, 280, 60, 59, 70, recall), ClassLine("pear", 180, 132, 0, 0))
    made = LabelReport({"into": "auto"}, COUNTS, promise(), classes=lines)
    return replace(made, **changes).to_dict()


def test_rows__of_each_class(reports):
    apple, pear = reports.class_rows(report())
    assert list(apple) == list(reports.CLASS_COLUMNS)
    assert (apple["class"], apple["answered"], apple["written"]) == ("apple", 300, 280)
    assert (apple["seen"], apple["estimated"]) == ("59 of 60", "98.3 %")
    assert apple["interval"] == "92 to 100 %"
    assert apple["recall"] == "75.0 % (61 to 86 %)"
    assert {pear[name] for name in ("seen", "estimated", "interval", "recall")} == {""}
    promised = reports.class_rows(report(by_class={"apple": promise(), "pear": promise(10)}))
    assert [row["promised"] for row in promised] == ["90.0 %", "not reachable"]


def test_rows__of_very_many_classes_the_largest(reports):
    lines = tuple(ClassLine(f"class {n}", n, 0) for n in range(10_000))
    rows = reports.class_rows(report(classes=lines))
    assert len(rows) == reports.MOST_ROWS
    assert rows[0]["class"] == "class 9999"
    drawn = reports.figures(report(classes=lines))["classes"]
    assert len(drawn["layout"]["yaxis"]["ticktext"]) == reports.MOST_DRAWN


def test_figures__are_what_plotly_draws(reports):
    chances, rng = np.linspace(0.5, 1, 100), np.random.default_rng(0)
    found = reliability(chances, rng.random(100) < chances)
    drawn = reports.figures(report(reliability=found))
    assert set(drawn) == {"reliability", "classes"}
    for figure in drawn.values():
        go.Figure(**json.loads(json.dumps(figure)))
    points, counts = drawn["reliability"]["data"]
    assert points["x"] == [one.predicted for one in found.bins]
    assert counts["y"] == [10] * 10
    up, down = (np.array(points["error_y"][side]) for side in ("array", "arrayminus"))
    assert np.allclose(up + down, [high - low for low, high in (b.interval for b in found.bins)])


def test_figures__precision_only_of_classes_in_the_sample(reports):
    points, answered, written = reports.figures(report())["classes"]["data"]
    assert (points["x"], points["y"]) == ([59 / 60], [0])
    assert (answered["x"], written["x"]) == ([300, 180], [280, 132])
    assert reports.figures(report())["classes"]["layout"]["shapes"][0]["x0"] == 0.9


def test_figures__absent_where_there_is_nothing(reports):
    assert reports.figures(report(classes=(), promise=None)) == {}
    lines = (ClassLine("apple", 3, 3),)
    drawn = reports.figures(report(classes=lines, promise=None))["classes"]
    assert [bars["x"] for bars in drawn["data"]] == [[3], [3]]
    go.Figure(**drawn)


def test_names__are_short_and_no_markup(reports):
    made = report(classes=(ClassLine(HOSTILE, 3, 3, 2, 1),))
    (row,) = reports.class_rows(made)
    assert len(row["class"]) <= 120
    (name,) = reports.figures(made)["classes"]["layout"]["yaxis"]["ticktext"]
    assert name.startswith("&lt;a href=") and len(name) < 60 and "<" not in name
