"""``alphaclip eval referring``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from alphaclip.errors import AlphaClipError
from alphaclip.sam.sam import load_sam
from alphaclip.training.datasets.expressions import ExpressionSet, take_first_expressions
from alphaclip.training.datasets.refcoco_jsonl import SPLITS, read_reclip
from alphaclip.training.datasets.refcoco_refs import read_refs_expressions
from alphaclip.training.datasets.spacy_phrases import MODEL, load_parser
from alphaclip.training.evaluation.referring.referring import (
    ReferringEntry,
    ReferringProtocol,
    mean_of_splits,
    run,
    true_regions,
)
from alphaclip.training.evaluation.referring.referring_views import REPRESENTATIONS
from alphaclip.training.evaluation.task_options import data_folder
from alphaclip.training.evaluation.tasks import Task

ALL_SPLITS = tuple(f"{name}-{split}" for name, splits in SPLITS.items() for split in splits)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what to judge on and how."""
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=ALL_SPLITS,
        default=list(ALL_SPLITS),
        metavar="SPLIT",
        help=f"default: all eight, {', '.join(ALL_SPLITS)}",
    )
    parser.add_argument(
        "--proposals",
        choices=("detector", "annotated"),
        default="detector",
        help="boxes to choose from: MAttNet's (the published protocol), or the annotated objects",
    )
    parser.add_argument(
        "--refs",
        action="store_true",
        help="read refer's files, refs(unc).p and so on, not ReCLIP's; annotated objects only",
    )
    _add_protocol(parser)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=("parse", "plain"),
        default="parse",
        help=f"parse: relations and superlatives, needs spaCy and {MODEL}; plain: without",
    )
    parser.add_argument("--parser", default=MODEL, metavar="MODEL", help=f"default: {MODEL}")
    parser.add_argument(
        "--representations",
        nargs="+",
        choices=list(REPRESENTATIONS),
        default=["full", "blur"],
        help="how a box is shown; their scores are added (default: full blur)",
    )
    parser.add_argument(
        "--sam",
        metavar="NAME",
        help="finds the boxes' masks, such as sam-vit-h (published); without it boxes are masks",
    )


def load(args: argparse.Namespace) -> Sequence[ReferringEntry]:
    """Reads the splits.

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if options do not fit together, or the parser or the SAM is not there
    """
    data_folder(args, "ReCLIP's or refer's files")
    if args.refs and args.proposals != "annotated":
        raise AlphaClipError("--refs has no detector's boxes: add `--proposals annotated`")
    protocol = ReferringProtocol(tuple(args.representations), args.method)
    parser, version = load_parser(args.parser) if args.method == "parse" else (None, "")
    sam = load_sam(args.sam, args.device) if args.sam else None
    splits = (take_first_expressions(_read(args, name), args.limit) for name in args.splits)
    return [ReferringEntry(read, protocol, parser, version, sam) for read in splits]


def _read(args: argparse.Namespace, name: str) -> ExpressionSet:
    dataset, split = name.rsplit("-", 1)
    if args.refs:
        return read_refs_expressions(args.data, dataset, split)
    return read_reclip(args.data, dataset, split, args.proposals)


TASK = Task(
    name="referring",
    help="which box is meant? RefCOCO, RefCOCO+ and RefCOCOg by ReCLIP's protocol",
    add_arguments=add_arguments,
    load=load,
    run=run,
    summarize=mean_of_splits,
    regions=true_regions,
)
