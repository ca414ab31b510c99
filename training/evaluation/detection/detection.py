"""Open-vocabulary detection: somebody else's boxes or masks, named by the encoder.

``alphaclip eval detection``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.sam.masks import AUTOMATIC_LIMITS
from alphaclip.sam.sam import load_sam
from alphaclip.training.datasets.examples import SIZES, RegionSet, size_of
from alphaclip.training.datasets.proposals import Proposals, read_proposals
from alphaclip.training.evaluation.detection.average_precision import (
    AveragePrecision,
    Detection,
    average_precision,
)
from alphaclip.training.evaluation.detection.naming import (
    DetectionEntry,
    DetectionProtocol,
    detect,
    proposed,
)
from alphaclip.training.evaluation.detection.truth import (
    BASE,
    NOVEL,
    Truth,
    coco_truth,
    first_pictures,
    lvis_truth,
    split_classes,
    truth_of,
)
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row
from alphaclip.training.evaluation.sam_proposals import (
    kept_in_file,
    masks_of_everything,
    sam_settings,
)
from alphaclip.training.evaluation.tasks import (
    Task,
    add_dataset_options,
    data_folder,
    read_dataset,
)

NAMES = {None: "AP", 0.5: "AP50", 0.75: "AP75"}

OVERLAP = 0.5
"""Least IoU of the boxes at which a proposal is of an object."""

NOTHING = "nothing"
"""The truth of a proposal that is of no object."""

SAM_POINTS = 32
"""Prompts along a side of the picture, as in Segment Anything's own automatic masks."""


def run(encoder: str, entry: DetectionEntry, means: Means) -> Outcome:
    """Names the proposals and compares them with the truth.

    Args:
        encoder: its name; its own view is taken
        entry: pictures and proposals
        means: what to run with

    Returns:
        in percent ``AP`` (over IoU 0.50 to 0.95), ``AP50``, ``AP75``, ``AP small`` and so on,
        ``AP novel`` and so on for each group of classes; ``proposals``, how many there are

    Raises:
        AlphaClipError: if masks are compared and a proposal is a box
    """
    if entry.protocol.kind == "segm":
        _check_masks(entry)
    skipped = [*entry.truth.skipped]
    loaded = load(encoder, means.device, means.precision)
    detections = list(detect(loaded, entry, means, skipped))
    judged = average_precision(entry.truth, detections, entry.protocol.kind, entry.protocol.most)
    count = sum(len(entry.proposals.get(e.id, ())) for e in entry.truth.examples)
    return Outcome(
        task="detection",
        set=entry.truth.name,
        encoder=encoder,
        metrics=_figures(judged, entry.truth) | {"proposals": float(count)},
        rows=detection_rows(entry, detections),
        settings=_settings(entry) | {"fingerprint": loaded.fingerprint},
        skipped=tuple(skipped),
        primary="AP",
        estimator="none",
    )


def detection_rows(entry: DetectionEntry, detections: Iterable[Detection]) -> tuple[Row, ...]:
    """One row for each proposal that is left as a detection, with its surest class.

    Average precision is not made of these: it counts every class of a proposal, at several
    overlaps. They say what was taken for what: ``truth`` is the class of the object whose box
    overlaps the proposal's most, ``nothing`` where the IoU is under 0.5.
    """
    truth = entry.truth
    surest: dict[tuple[str, Any], Detection] = {}
    for detection in detections:
        key = (detection.example, detection.box)
        if key not in surest or detection.score > surest[key].score:
            surest[key] = detection
    objects: dict[str, list[Mapping[str, Any]]] = {}
    for one in truth.objects:
        objects.setdefault(str(one["image_id"]), []).append(one)
    rows = []
    for example in truth.examples:
        for number, proposal in enumerate(entry.proposals.get(example.id, ())):
            best = surest.get((example.id, proposal.box))
            if best is None:
                continue
            covered = _covered(best, objects.get(example.id, []))
            predicted = truth.classes[best.category]
            right = NOTHING if covered is None else truth.classes[int(covered["category_id"])]
            rows.append(
                Row(
                    id=f"{example.id}/{number}",
                    example=example.id,
                    correct=float(predicted == right),
                    predicted=predicted,
                    truth=right,
                    score=best.score,
                    group=size_of(best.box[2] * best.box[3]),
                )
            )
    return tuple(rows)


def proposed_regions(entry: DetectionEntry) -> RegionSet:
    """The proposals as regions, whose ids are those of :func:`detection_rows`."""
    proposals = entry.proposals
    examples = (proposed(e, proposals.get(e.id, ()), [])[0] for e in entry.truth.examples)
    return RegionSet(entry.truth.name, tuple(examples))


def _covered(detection: Detection, objects: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The object whose box overlaps the detection's most, if by enough."""
    from pycocotools.mask import iou

    if not objects:
        return None
    boxes = np.array([one["bbox"] for one in objects], np.float64)
    overlaps = iou(np.array([detection.box], np.float64), boxes, [0] * len(boxes))[0]
    best = int(np.argmax(overlaps))
    return objects[best] if overlaps[best] >= OVERLAP else None


def _check_masks(entry: DetectionEntry) -> None:
    without = [one["id"] for one in entry.truth.objects if not one.get("segmentation")]
    if without:
        raise AlphaClipError(
            f"{entry.truth.name}: {len(without)} objects have no mask, the first is {without[0]}: "
            "compare boxes ('bbox')"
        )
    boxes = sum(p.rle is None for some in entry.proposals.values() for p in some)
    if boxes:
        raise AlphaClipError(
            f"{entry.source}: {boxes} proposals have no mask: compare boxes ('bbox'), or take "
            "proposals with masks, such as SAM's"
        )


def _figures(judged: AveragePrecision, truth: Truth) -> dict[str, float]:
    parts: Mapping[str, Any] = {"": None, **truth.groups}
    figures = {
        f"{name} {group}".strip(): judged.mean(categories, threshold)
        for group, categories in parts.items()
        for threshold, name in NAMES.items()
    }
    return figures | {f"AP {size}": judged.mean(size=size) for size in SIZES}


def _settings(entry: DetectionEntry) -> dict[str, Any]:
    protocol, usual = entry.protocol, DetectionProtocol()
    unusual = []
    for name in ("templates", "background", "logit_scale", "gamma", "max_overlap"):
        value = getattr(protocol, name)
        if value != getattr(usual, name):
            unusual.append(f"{name} {' / '.join(value) if isinstance(value, tuple) else value}")
    return {
        "setting": ", ".join([entry.source, protocol.kind, *unusual]),
        "proposals": entry.source,
        "classes": len(entry.truth.classes),
        "rules": "COCO's" if entry.truth.federated is None else "LVIS's federated",
        **asdict(protocol),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what to find, among which proposals."""
    parser.add_argument(
        "--set",
        choices=("coco", "ov-coco", "lvis"),
        default="coco",
        help="coco: val2017, 80 classes; ov-coco: the 48 base and 17 novel of OVR-CNN; lvis: v1 "
        "val, rare classes being the novel ones. Not used with --dataset",
    )
    add_dataset_options(parser)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--proposals", type=Path, help="JSON in COCO's format of results")
    given.add_argument("--sam", metavar="NAME", help="automatic masks, such as of sam-vit-b")
    given.add_argument("--predictions-field", metavar="FIELD", help="of the FiftyOne dataset")
    parser.add_argument("--compare", choices=("bbox", "segm"), default="bbox")
    parser.add_argument(
        "--most-proposals", type=int, default=300, help="of a picture, the surest (default: 300)"
    )
    parser.add_argument("--background", nargs="*", default=[], metavar="PROMPT")
    parser.add_argument("--gamma", type=float, default=1.0, help="of objectness (default: 1)")
    parser.add_argument(
        "--max-overlap", type=float, default=0.5, help="within a class (default: 0.5; 1: any)"
    )


def read_entries(args: argparse.Namespace) -> Sequence[DetectionEntry]:
    """Reads pictures, objects and proposals."""
    if args.predictions_field and not args.dataset:
        raise AlphaClipError("--predictions-field needs --dataset, whose field it is")
    if args.dataset:
        regions = read_dataset(args)
        truth = truth_of(regions)
    else:
        data = data_folder(args, "COCO or LVIS")
        truth = lvis_truth(data) if args.set == "lvis" else coco_truth(data)
        if args.set == "ov-coco":
            truth = split_classes(truth, {"novel": NOVEL, "base": BASE})
            truth = replace(truth, name=f"ov-{truth.name}")
        truth = first_pictures(truth, args.limit)
    proposals, source, skipped = _proposals(args, truth, regions if args.dataset else None)
    protocol = DetectionProtocol(
        background=tuple(args.background),
        gamma=args.gamma,
        max_overlap=args.max_overlap,
        most=100 if truth.federated is None else 300,
        kind=args.compare,
    )
    truth = replace(truth, skipped=(*truth.skipped, *skipped))
    return [DetectionEntry(truth, proposals, source, protocol)]


def _proposals(
    args: argparse.Namespace, truth: Truth, regions: RegionSet | None
) -> tuple[Proposals, str, Sequence[str]]:
    """What is named, where it comes from, and what of it could not be read."""
    most = args.most_proposals
    if args.predictions_field and regions is not None:
        from alphaclip.training.evaluation.fiftyone_regions import open_predictions

        field = args.predictions_field
        proposals, skipped = open_predictions(args.dataset, field, regions, most)
        return proposals, f"field {field}", skipped
    if args.proposals:
        return read_proposals(args.proposals, most), args.proposals.name, ()
    sam = load_sam(args.sam, args.device)
    settings = sam_settings(sam, AUTOMATIC_LIMITS, SAM_POINTS)
    masks, skipped = kept_in_file(
        truth.examples,
        lambda example: masks_of_everything(sam, example, AUTOMATIC_LIMITS, SAM_POINTS),
        {"set": truth.name, "masks of": "everything"} | settings,
        args.cache,
    )
    first = {picture: some[:most] for picture, some in masks.items()}
    return first, f"masks by {Path(sam.name).name}", skipped


TASK = Task(
    name="detection",
    help="given boxes or masks, named: average precision on COCO, LVIS or a FiftyOne dataset",
    add_arguments=add_arguments,
    load=read_entries,
    run=run,
    regions=proposed_regions,
)
