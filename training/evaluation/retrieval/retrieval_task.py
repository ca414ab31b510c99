"""The task ``retrieval`` of ``alphaclip eval``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.outcomes import Means, Outcome
from alphaclip.training.evaluation.retrieval.retrieval import DIRECTIONS, Direction, retrieve
from alphaclip.training.evaluation.task_options import (
    add_dataset_options,
    data_folder,
    read_dataset,
)
from alphaclip.training.evaluation.tasks import Task

FORMATS = ("refcoco", "refcoco+", "refcocog", "visual-genome")


@dataclass(frozen=True)
class Entry:
    """Described regions in a direction.

    Attributes:
        regions: the set
        direction: what is asked with what
        templates: that descriptions are put into
    """

    regions: RegionSet
    direction: Direction
    templates: tuple[str, ...] | None


def _run(encoder: str, entry: Entry, means: Means) -> Outcome:
    return retrieve(encoder, entry.regions, entry.direction, entry.templates, means)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=FORMATS, default="refcocog", help="of --data (default: %(default)s)"
    )
    parser.add_argument("--split", default="val", help="of RefCOCO's files (default: %(default)s)")
    parser.add_argument(
        "--shape",
        choices=("mask", "box"),
        default="mask",
        help="what RefCOCO's regions are; Visual Genome has boxes only (default: %(default)s)",
    )
    add_dataset_options(parser)
    parser.add_argument(
        "--text",
        metavar="ATTRIBUTE",
        help="attribute of its labels with descriptions (default: their label)",
    )
    parser.add_argument(
        "--template",
        nargs="+",
        help='that descriptions are put into, such as "a photo of {}" (default: as they are)',
    )


def _load(args: argparse.Namespace) -> Sequence[Entry]:
    regions = _read(args)
    templates = tuple(args.template) if args.template else None
    return [Entry(regions, direction, templates) for direction in DIRECTIONS]


def _read(args: argparse.Namespace) -> RegionSet:
    from alphaclip.training.datasets.refcoco_refs import read_refs_regions
    from alphaclip.training.datasets.visual_genome import read_visual_genome

    if args.dataset is not None:
        return read_dataset(args, text=args.text)
    data = data_folder(args, f"{args.format}'s files")
    if args.format == "visual-genome":
        return read_visual_genome(data, args.limit)
    return read_refs_regions(data, args.format, args.split, shape=args.shape, limit=args.limit)


def _regions(entry: Entry) -> RegionSet:
    return entry.regions


RETRIEVAL = Task(
    name="retrieval",
    help="find regions by their descriptions, and descriptions by their regions",
    add_arguments=_add_arguments,
    load=_load,
    run=_run,
    regions=_regions,
)
"""Text to region and region to text."""
