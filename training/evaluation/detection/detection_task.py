"""``alphaclip eval detection``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.sam.masks import AUTOMATIC_LIMITS
from alphaclip.sam.sam import load_sam
from alphaclip.training.datasets.proposals import Proposals, read_proposals
from alphaclip.training.evaluation.detection.detection import DetectionEntry, DetectionProtocol, run
from alphaclip.training.evaluation.detection.detection_rows import proposed_regions
from alphaclip.training.evaluation.detection.detection_truth import (
    BASE,
    NOVEL,
    Truth,
    coco_truth,
    first_pictures,
    lvis_truth,
    split_classes,
    truth_of,
)
from alphaclip.training.evaluation.detection.sam_proposals import (
    kept_in_file,
    masks_of_everything,
    sam_settings,
)
from alphaclip.training.evaluation.task_options import (
    add_dataset_options,
    data_folder,
    read_dataset,
)
from alphaclip.training.evaluation.tasks import Task

SAM_POINTS = 32


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


def load(args: argparse.Namespace) -> Sequence[DetectionEntry]:
    """Reads pictures, objects and proposals.

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if options do not fit together, or a SAM is not there
    """
    if args.predictions_field and not args.dataset:
        raise AlphaClipError("--predictions-field needs --dataset, whose field it is")
    if args.dataset:
        truth, proposals, source = _of_fiftyone(args)
    else:
        data = data_folder(args, "COCO or LVIS")
        truth = first_pictures(_published(args.set, data), args.limit)
        truth, proposals, source = _with_proposals(args, truth)
    protocol = DetectionProtocol(
        background=tuple(args.background),
        gamma=args.gamma,
        max_overlap=args.max_overlap,
        most=100 if truth.federated is None else 300,
        kind=args.compare,
    )
    return [DetectionEntry(truth, proposals, source, protocol)]


def _published(name: str, data: Path) -> Truth:
    if name == "lvis":
        return lvis_truth(data)
    truth = coco_truth(data)
    if name == "coco":
        return truth
    return replace(split_classes(truth, {"novel": NOVEL, "base": BASE}), name=f"ov-{truth.name}")


def _of_fiftyone(args: argparse.Namespace) -> tuple[Truth, Proposals, str]:
    from alphaclip.training.evaluation.detection.fiftyone_proposals import open_predictions

    regions = read_dataset(args)
    truth = truth_of(regions)
    if not args.predictions_field:
        return _with_proposals(args, truth)
    field = args.predictions_field
    found, skipped = open_predictions(args.dataset, field, regions, args.most_proposals)
    return replace(truth, skipped=(*truth.skipped, *skipped)), found, f"field {field}"


def _with_proposals(args: argparse.Namespace, truth: Truth) -> tuple[Truth, Proposals, str]:
    if args.proposals:
        found = read_proposals(args.proposals, args.most_proposals)
        return truth, found, args.proposals.name
    sam = load_sam(args.sam, args.device)
    masks, skipped = kept_in_file(
        truth.examples,
        lambda example: masks_of_everything(sam, example, AUTOMATIC_LIMITS, SAM_POINTS),
        {"set": truth.name, "masks of": "everything"}
        | sam_settings(sam, AUTOMATIC_LIMITS, SAM_POINTS),
        args.cache,
    )
    kept = {picture: some[: args.most_proposals] for picture, some in masks.items()}
    return (
        replace(truth, skipped=(*truth.skipped, *skipped)),
        kept,
        f"masks by {Path(sam.name).name}",
    )


TASK = Task(
    name="detection",
    help="given boxes or masks, named: average precision on COCO, LVIS or a FiftyOne dataset",
    add_arguments=add_arguments,
    load=load,
    run=run,
    regions=lambda entry: proposed_regions(entry.truth, entry.proposals),
)
