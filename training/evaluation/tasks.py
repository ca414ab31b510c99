"""What an evaluation task is to the command line, and the options that several tasks share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.datasets.refcoco import read_refs_regions
from alphaclip.training.datasets.visual_genome import read_visual_genome
from alphaclip.training.evaluation.outcomes import Means, Outcome

DESCRIBED = ("refcoco", "refcoco+", "refcocog", "visual-genome")
"""Published sets whose regions have descriptions."""


@dataclass(frozen=True)
class Task:
    """A task of ``alphaclip eval``.

    ``--encoder`` (or ``--predictions``, ``--model``), ``--data``, ``--out``, ``--limit``,
    ``--cache``, ``--device`` and ``--precision`` are added for every task.

    Attributes:
        name: as typed
        help: one line
        add_arguments: adds the task's own options
        load: reads the data once; each entry is a set in a setting and gives one outcome for each
            encoder. Raises :class:`MissingDataError` where a file is not there
        run: judges one encoder (its name, or the path of a file of predictions, or a describer's
            name) on one entry
        subjects: what is judged
        summarize: outcomes of one encoder on all entries to further ones, such as a mean of splits
        regions: the regions of an entry whose ids are those of the outcome's rows, so that a
            FiftyOne dataset of mistakes can be made; None where rows are of something else
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    load: Callable[[argparse.Namespace], Sequence[Any]]
    run: Callable[[str, Any, Means], Outcome]
    subjects: Literal["encoder", "predictions", "model"] = "encoder"
    summarize: Callable[[Sequence[Outcome]], Sequence[Outcome]] | None = None
    regions: Callable[[Any], RegionSet] | None = None


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset`` and ``--field``."""
    parser.add_argument("--dataset", help="a FiftyOne dataset, in place of --data")
    parser.add_argument("--field", help="its field with the regions")


def read_dataset(args: argparse.Namespace, **attributes: Any) -> RegionSet:
    """Reads the field of the FiftyOne dataset that the options name; ``attributes`` as in
    :func:`~alphaclip.training.evaluation.fiftyone_regions.open_field`.
    """
    from alphaclip.training.evaluation.fiftyone_regions import open_field

    if args.data is not None or args.field is None:
        raise AlphaClipError("--dataset NAME goes with --field FIELD, and without --data")
    return open_field(args.dataset, args.field, limit=args.limit, **attributes)


def data_folder(args: argparse.Namespace, what: str) -> Path:
    """The folder given as ``--data``; ``what`` is in it is said where it was not given.

    Raises:
        AlphaClipError: if it is missing, or options are there that only a dataset has a use for
    """
    of_dataset = [f"--{name}" for name in ("field", "truth", "text") if getattr(args, name, None)]
    if of_dataset:
        raise AlphaClipError(f"{', '.join(of_dataset)} goes with --dataset NAME: that is missing")
    if args.data is None:
        raise AlphaClipError(f"--data is missing: name the folder of {what}")
    return Path(args.data)


def add_described_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a published set with descriptions, and of a FiftyOne dataset."""
    parser.add_argument(
        "--format", choices=DESCRIBED, default="refcocog", help="of --data (default: %(default)s)"
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


def read_described(args: argparse.Namespace) -> RegionSet:
    """Reads the described regions that `add_described_options` names."""
    if args.dataset is not None:
        return read_dataset(args, text=args.text)
    data = data_folder(args, f"{args.format}'s files")
    if args.format == "visual-genome":
        return read_visual_genome(data, args.limit)
    return read_refs_regions(data, args.format, args.split, shape=args.shape, limit=args.limit)
