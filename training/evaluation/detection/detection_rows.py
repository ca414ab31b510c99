"""What each proposal was named, beside the object that it covers, to look at mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet, size_of
from alphaclip.training.datasets.proposals import Proposals
from alphaclip.training.evaluation.detection.average_precision import Detection
from alphaclip.training.evaluation.detection.detection_truth import Truth
from alphaclip.training.evaluation.outcomes import Row

OVERLAP = 0.5
"""Least IoU of the boxes at which a proposal is of an object."""

NOTHING = "nothing"
"""The truth of a proposal that is of no object."""


def proposed_regions(truth: Truth, proposals: Proposals) -> RegionSet:
    """The proposals as regions of their pictures; those without an area are left out.

    Args:
        truth: the pictures
        proposals: by picture

    Returns:
        regions whose ids are those of :func:`detection_rows`
    """
    return RegionSet(truth.name, tuple(_proposed(e, proposals) for e in truth.examples))


def detection_rows(
    truth: Truth, proposals: Proposals, found: Iterable[Detection]
) -> tuple[Row, ...]:
    """One row for each proposal that is left as a detection, with its surest class.

    Average precision is not made of these: it counts every class of a proposal, at several
    overlaps. They say what was taken for what.

    Args:
        truth: pictures and objects
        proposals: by picture
        found: detections of them

    Returns:
        ``truth`` is the class of the object whose box overlaps the proposal's most, ``nothing``
        where the IoU is under 0.5
    """
    surest = _surest(found)
    objects = _by_picture(truth)
    return tuple(
        _row(f"{example.id}/{place}", surest[example.id, proposal.box], truth, objects)
        for example in truth.examples
        for place, proposal in enumerate(proposals.get(example.id, ()))
        if (example.id, proposal.box) in surest
    )


def _proposed(example: Example, proposals: Proposals) -> Example:
    regions = []
    for place, proposal in enumerate(proposals.get(example.id, ())):
        try:
            region = proposal.region(example)
        except AlphaClipError:
            continue
        area = proposal.box[2] * proposal.box[3]
        regions.append(LabelledRegion(f"{example.id}/{place}", region, area))
    return Example(example.id, example.path, example.width, example.height, tuple(regions))


def _surest(found: Iterable[Detection]) -> dict[tuple[str, Any], Detection]:
    surest: dict[tuple[str, Any], Detection] = {}
    for detection in found:
        key = (detection.example, detection.box)
        if key not in surest or detection.score > surest[key].score:
            surest[key] = detection
    return surest


def _by_picture(truth: Truth) -> dict[str, list[Mapping[str, Any]]]:
    objects: dict[str, list[Mapping[str, Any]]] = {}
    for found in truth.objects:
        objects.setdefault(str(found["image_id"]), []).append(found)
    return objects


def _row(
    name: str,
    detection: Detection,
    truth: Truth,
    objects: Mapping[str, list[Mapping[str, Any]]],
) -> Row:
    covered = _covered(detection, objects.get(detection.example, []))
    predicted = truth.classes[detection.category]
    right = NOTHING if covered is None else truth.classes[int(covered["category_id"])]
    return Row(
        id=name,
        example=detection.example,
        correct=float(predicted == right),
        predicted=predicted,
        truth=right,
        score=detection.score,
        group=size_of(detection.box[2] * detection.box[3]),
    )


def _covered(detection: Detection, objects: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The object whose box overlaps the detection's most, if by enough."""
    from pycocotools.mask import iou

    if not objects:
        return None
    boxes = np.array([found["bbox"] for found in objects], np.float64)
    overlaps = iou(np.array([detection.box], np.float64), boxes, [0] * len(boxes))[0]
    best = int(np.argmax(overlaps))
    return objects[best] if overlaps[best] >= OVERLAP else None
