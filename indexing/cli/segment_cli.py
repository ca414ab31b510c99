"""``alphaclip segment``: masks for boxes or of all there is, parts of segmentations, SAM itself."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.samples import open_dataset

if TYPE_CHECKING:
    from alphaclip.indexing.masks.mask_fields import MaskReport
    from alphaclip.sam.masks import MaskLimits

LIMITS = ("min_quality", "min_stability", "min_area", "max_area", "max_overlap")


def add_segment_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``segment``."""
    segment = subparsers.add_parser(
        "segment", help="make masks with Segment Anything: for boxes, or of all there is"
    )
    segment.add_argument("dataset", nargs="?", help="name of a FiftyOne dataset")
    segment.add_argument(
        "field",
        nargs="?",
        help="whose boxes get masks; of a Segmentation, its connected parts; without: all there is",
    )
    segment.add_argument("--concepts", nargs="+", default=(), help="words: masks of what they name")
    segment.add_argument("--detector", help="of words: a folder, or a name on the Hugging Face Hub")
    segment.add_argument("--least-score", type=float, default=0.35, help="of the detector")
    segment.add_argument("--into", default="masks", help="the field to write")
    segment.add_argument(
        "--model", default="auto", help="an installed SAM, a file, or a SAM of FiftyOne's zoo"
    )
    segment.add_argument("--min-quality", type=float, help="the lowest predicted IoU, in [0, 1]")
    segment.add_argument("--min-stability", type=float, help="of automatic masks, in [0, 1]")
    segment.add_argument("--min-area", type=float, help="the smallest share of the picture")
    segment.add_argument("--max-area", type=float, help="the largest share of the picture")
    segment.add_argument("--max-overlap", type=float, help="IoU above which a mask is a duplicate")
    segment.add_argument("--points", type=int, default=32, help="a side, for automatic masks")
    segment.add_argument("--overwrite", action="store_true", help="make all masks of --into again")
    segment.add_argument(
        "--install",
        metavar="NAME",
        help="download sam-vit-b, -l or -h, or take --file under a new name (sam-...), and stop",
    )
    segment.add_argument(
        "--file", type=Path, help="with --install: your copy of the released file, or your own SAM"
    )
    segment.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.install:
        return _install(args)
    if not args.dataset:
        raise AlphaClipError("name a dataset, or say --install NAME")
    report = _segment(args)
    print_masks(report)
    return 1 if report.skipped and not report.added + report.done_before else 0


def _install(args: argparse.Namespace) -> int:
    from alphaclip.sam.checkpoints import install_sam

    path = install_sam(args.install, args.file)
    print(f"{args.install} is installed: {path}")
    return 0


def _segment(args: argparse.Namespace) -> MaskReport:
    from alphaclip.indexing.masks.materializing import materialize, segmentation_fields
    from alphaclip.indexing.masks.segmenting import segment

    dataset = open_dataset(args.dataset)
    if args.field in segmentation_fields(dataset):
        smallest = args.min_area or 0.0
        return materialize(dataset, args.field, args.into, smallest, args.overwrite)
    return segment(
        dataset,
        args.field,
        args.into,
        args.model,
        _limits(args),
        args.points,
        args.overwrite,
        concepts=args.concepts,
        detector=args.detector,
        least_score=args.least_score,
    )


def _limits(args: argparse.Namespace) -> MaskLimits:
    from alphaclip.sam.masks import AUTOMATIC_LIMITS, PROMPTED_LIMITS, MaskLimits

    usual = vars(PROMPTED_LIMITS if args.field or args.concepts else AUTOMATIC_LIMITS)
    chosen = {name: value for name in LIMITS if (value := getattr(args, name)) is not None}
    return MaskLimits(**{**usual, **chosen})


def print_masks(report: MaskReport) -> None:
    """Says what was made, and what gave nothing and why."""
    print(
        f"{report.added} masks added to {report.into!r}, {report.samples} samples in "
        f"{report.seconds} s, {report.done_before} of them were done before"
    )
    if report.dropped:
        print("left out: " + ", ".join(f"{n} for {why}" for why, n in report.dropped.items()))
    for skipped in report.skipped:
        print(f"skipped {skipped.filepath} {skipped.label_id}: {skipped.reason}")
