"""The report of a labelling run in pictures: for the App, and as one HTML file.

Public: :func:`report_content` and :func:`write_label_page`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.labelling.report_words import Report, name_recall, summary_lines
from alphaclip.indexing.retrieval.hit_listing import list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.pages.page import Crop, Section, Share, write_page
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

MOST_CLASSES = 40
"""Classes that are drawn, those with the most reviews: a run may have thousands."""

NOTHING = "none of these"

Picked = Mapping[str, Any]
"""A region of a report in JSON values, see ``pick_regions``."""


def report_content(report: Report) -> dict[str, Any]:
    """What the report of a run shows, in JSON values.

    Args:
        report: as of :meth:`LabelReport.to_dict`, or as it is kept with a labelling

    Returns:
        ``sentence`` and ``lines``, what is said; and the regions that are drawn, see
        :func:`alphaclip.indexing.labelling.report_pictures.pick_regions`. A report of an earlier
        version has none
    """
    sentence, *lines = summary_lines(report)
    none: dict[str, Any] = {"least_sure": [], "random": [], "confusions": []}
    pictures = none | {"reviewed": 0, "wrong": 0} | dict(report.get("pictures") or {})
    return {"sentence": sentence, "lines": lines, **pictures}


def write_label_page(dataset: fo.Dataset, report: Report, path: Path) -> Path:
    """Writes the report of a run as one HTML file of less than 3 MB, and returns its path.

    A region or a picture that is gone is said in its place.

    Args:
        dataset: that was labelled
        report: see :func:`report_content`
        path: of the file

    Raises:
        StoreError: if it cannot be written
    """
    content, run = report_content(report), report["run"]
    picked = [*content["least_sure"], *content["random"]]
    picked += [one[end] for one in content["confusions"] for end in ("mistake", "example")]
    listed = _listed(dataset, run.get("field"), filter(None, picked))
    spell = "score {:.2f}".format if report["calibration"] == "ranking" else "{:.1%} sure".format

    def crop(one: Picked, title: str | None, text: str = "") -> Crop:
        image, region = listed.get((one["sample_id"], one["label_id"]), ("", None))
        return Crop(image, region, title or NOTHING, text)

    def written(name: str) -> list[list[Crop]]:
        return [[crop(one, one["label"], spell(one["score"]))] for one in content[name]]

    facts = ("dataset", "index", "index_version", "model", "into", "run", "time")
    rests_on = [*report["assumptions"], ", ".join(f"{one} {run.get(one)}" for one in facts)]
    sections = [
        Section("What came out", content["lines"]),
        Section("The least sure of what was written", _if_none(content), written("least_sure")),
        Section("Written, drawn at random", _if_none(content), written("random")),
        Section("Taken for something else", [_reviewed(content)], _confused(content, crop)),
        _classes(report),
        *([_reliability(report)] if report["reliability"] else []),
        Section("What this rests on", rests_on, is_folded=True),
    ]
    title = f"Labels of {run['dataset']}"
    return write_page(path, title, content["sentence"], sections)


def _listed(
    dataset: fo.Dataset, field: str | None, picked: Iterable[Picked]
) -> dict[tuple[str, str], tuple[str, Region | None]]:
    """Picture and region as they are now, by sample and label id; none of a field that is gone."""
    ids = sorted({(one["sample_id"], one["label_id"]) for one in picked})
    if not ids or field not in region_fields(dataset):
        return {}
    samples, labels = (np.array(column) for column in zip(*ids, strict=True))
    scores = np.zeros(len(ids), np.float32)
    hits = Hits(samples, labels, np.full(len(ids), field), scores, scores, dataset)
    return {(hit.sample_id, hit.label_id): (hit.image, hit.region) for hit in list_hits(hits)}


def _confused(content: Mapping[str, Any], crop: Callable[..., Crop]) -> list[list[Crop]]:
    pairs = []
    for one in content["confusions"]:
        times, example = f", {one['count']:,} times" if one["count"] > 1 else "", one["example"]
        taken_for = f"taken for {one['answer'] or NOTHING}{times}"
        pairs.append([crop(one["mistake"], one["truth"], taken_for)])
        if example is not None:
            about = "a right one" if example["reviewed"] else "the surest, not reviewed"
            pairs[-1].append(crop(example, example["label"], about))
    return pairs


def _if_none(content: Mapping[str, Any]) -> list[str]:
    return [] if content["random"] else ["Nothing was written yet."]


def _reviewed(content: Mapping[str, Any]) -> str:
    reviewed, wrong = content["reviewed"], content["wrong"]
    if not reviewed:
        return "No region was reviewed yet: review some, in the App or with add_reviews."
    if not wrong:
        return f"All {reviewed:,} reviewed regions were taken for what they are."
    return (
        f"{wrong:,} of {reviewed:,} reviewed regions, those that the scorer learned from judged by "
        "one that did not see them. The most frequent confusions first: a region that was "
        "mistaken, and one to compare it with."
    )


def _classes(report: Report) -> Section:
    written = [line for line in report["classes"] if line["written"]]
    reviewed = [line for line in report["classes"] if line["passed"]]
    told = [
        "Of the sample's regions that pass and were taken for the class, the share that is right, "
        "with its 90 % interval; the dashed line is what was asked for."
    ]
    others = len([line for line in written if not line["passed"]])
    counts = report["counts"]
    if not reviewed and counts["sample"] > counts["sample to review"]:
        told = ["No region of the sample passes, so there is no share of any class to tell."]
    elif not reviewed:
        told = ["No random sample was reviewed, so what share is right is not known of any class."]
    elif others:
        told.append(
            f"Labels of {others:,} more classes were written, of which no region of the sample "
            "passes."
        )
    most = heapq.nlargest(MOST_CLASSES, reviewed, key=lambda line: line["passed"])
    if len(reviewed) > len(most):
        told.append(f"The {len(most)} of {len(reviewed):,} with the most reviewed regions.")
    asked = report["promise"] or next(iter(report["by_class"].values()), None)
    target = None if asked is None else asked["precision"]
    shares = [
        Share(
            line["name"], line["passed"], line["estimate"], line["interval"], target,
            f"{line['written']:,} written of {line['answered']:,} taken for it{_recall(line)}",
        )
        for line in most
    ]  # fmt: skip
    return Section("Each class", told, shares=shares)


def _recall(line: Mapping[str, Any]) -> str:
    recall = line.get("recall")
    if not recall:
        return ""
    return f"; recall {name_recall(recall)}, of {recall['total']:,} reviewed"


def _reliability(report: Report) -> Section:
    told = (
        "Reviewed regions of like probability: the share that is right, with its 90 % interval; "
        "where probabilities hold, it is at the dashed line."
    )
    shares = [
        Share(f"{one['predicted']:.1%} sure", one["count"], one["right"], one["interval"],
              one["predicted"])
        for one in report["reliability"]["bins"]
    ]  # fmt: skip
    return Section("Do the probabilities hold?", [told], shares=shares)
