"""What is said of a labelling run."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alphaclip.indexing.labelling.promise.drift import Drift
from alphaclip.indexing.labelling.promise.promise import Promise, fix_threshold
from alphaclip.indexing.labelling.promise.recall import Recall
from alphaclip.indexing.labelling.report import ClassLine, LabelReport
from alphaclip.indexing.labelling.report_words import summarize, summary_lines

COUNTS = {
    "regions": 1500,
    "none of these": 0,
    "written": 1412,
    "left as they were": 0,
    "by people": 0,
    "waiting": 88,
    "held back": 0,
    "sample": 100,
    "sample to review": 0,
}


def promise(right: int = 100) -> Promise:
    scores = np.linspace(0, 1, 100)
    correct = np.arange(100) >= 100 - right
    return fix_threshold(scores, correct, 0.9, candidates=np.linspace(0, 1, 400))


MISSED = promise(right=10)


def report(**changes: Any) -> dict[str, Any]:
    lines = (ClassLine("apple", 300, 280, 60, 59), ClassLine("pear", 180, 132, 30, 30))
    made = LabelReport({"into": "auto"}, COUNTS, promise(), classes=lines)
    return replace(made, **changes).to_dict()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "1,412 labels written into auto: at least 90 % of them right, with 90 % confidence; "
            "88 of 1,500 regions to review.",
        ),
        (
            {"counts": COUNTS | {"written": 1, "left as they were": 1411}},
            "1 label written into auto, 1,411 left as they were: at least 90 % of them right, with "
            "90 % confidence; 88 of 1,500 regions to review.",
        ),
        (
            {"recall": Recall(60, 80, (0.65, 0.83))},
            "1,412 labels written into auto: at least 90 % of them right, with 90 % confidence, "
            "which are 65 % to 83 % of what there is to label; 88 of 1,500 regions to review.",
        ),
        (
            {"promise": None},
            "1,412 labels written into auto as a ranking, which promises nothing; 88 of 1,500 "
            "regions to review.",
        ),
        (
            {"promise": MISSED, "counts": COUNTS | {"written": 0, "waiting": 1500}},
            "0 labels written into auto: 90 % right cannot be promised; 1,500 of 1,500 regions to "
            "review.",
        ),
        (
            {"promise": MISSED, "counts": COUNTS | {"written": 0, "sample to review": 40}},
            "0 labels written into auto: nothing is promised before 40 more of the random sample "
            "are reviewed; 88 of 1,500 regions to review.",
        ),
        (
            {"promise": None, "by_class": {"apple": promise(), "pear": MISSED}},
            "1,412 labels written into auto: 90 % right is promised of 1 of 2 classes, with 90 % "
            "confidence of each; 88 of 1,500 regions to review.",
        ),
    ],
)
def test_summarize__one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert summarize(report(**changes)) == summary_lines(report(**changes))[0] == sentence


def test_lines__a_promise_that_is_kept() -> None:
    _, reason, estimated = summary_lines(report())
    assert reason.startswith("Of the candidates that score at least")
    assert estimated == (
        "Asked 90.0 %, estimated 100.0 % (interval 97.0 % to 100.0 %): of 100 reviewed regions "
        "that pass, 100 are right. 100.0 % of the candidates pass."
    )
    assert "is not reachable" in summary_lines(report(promise=MISSED))[1]


def test_lines__recall_and_reports_of_earlier_versions() -> None:
    every = Recall(60, 80, (0.65, 0.83))
    lines = (
        ClassLine("apple", 300, 280, recall=Recall(40, 50, (0.7, 0.9))),
        ClassLine("pear", 9, 0),
    )
    said = report(recall=every, classes=lines)
    assert summary_lines(said)[-2:] == [
        "Recall is estimated at 75.0 % (interval 65.0 % to 83.0 %): of 80 reviewed regions that "
        "are of a class, 60 are labelled right.",
        "By class: apple 80 % (70 % to 90 %).",
    ]
    del said["recall"]
    assert summary_lines(said) == summary_lines(report())


def test_lines__what_people_said_and_what_was_held_back() -> None:
    counts = COUNTS | {"by people": 3, "held back": 1, "none of these": 20}
    assert summary_lines(report(counts=counts))[1] == (
        "3 regions answered by people; 1 new region held back; 20 taken for none of these."
    )


def test_lines__each_class_names_the_first_that_miss() -> None:
    promises = {"apple": promise(), **{f"class {n}": MISSED for n in range(7)}}
    lines = summary_lines(report(promise=None, by_class=promises))
    assert [line.partition(":")[0] for line in lines[1:6]] == [f"class {n}" for n in range(5)]
    assert lines[6] == "2 more could not be promised."


def test_lines__drift_remarks_and_hostile_names() -> None:
    drift = Drift(True, 0.01, 0.001, 0.002, 0.9, (100, 50), "the new regions are not like them")
    said = {**report(drift=drift), "remarks": ["Too few were reviewed."]}
    assert summary_lines(said)[-2:] == [
        "Too few were reviewed.",
        "The new regions are not like them.",
    ]
    told = summary_lines(report(promise=None, by_class={"x\n" + "long " * 100: MISSED}))[1]
    assert told.startswith("x long long long long...: ")
