"""Options that several tasks share: the folder of a published data set, or a FiftyOne dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import RegionSet


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset`` and ``--field``."""
    parser.add_argument("--dataset", help="a FiftyOne dataset, in place of --data")
    parser.add_argument("--field", help="its field with the regions")


def read_dataset(args: argparse.Namespace, **attributes: Any) -> RegionSet:
    """Reads the field of the dataset.

    Args:
        args: parsed
        attributes: which attributes of a label are meant, see
            :func:`~alphaclip.training.evaluation.fiftyone_regions.open_field`

    Raises:
        AlphaClipError: if options do not fit together, or there is no such dataset
    """
    from alphaclip.training.evaluation.fiftyone_regions import open_field

    if args.data is not None or args.field is None:
        raise AlphaClipError("--dataset NAME goes with --field FIELD, and without --data")
    return open_field(args.dataset, args.field, limit=args.limit, **attributes)


def data_folder(args: argparse.Namespace, what: str) -> Path:
    """The folder given as ``--data``.

    Args:
        args: parsed
        what: is in it, for the message

    Raises:
        AlphaClipError: if it was not given
    """
    if args.data is None:
        raise AlphaClipError(f"--data is missing: name the folder of {what}")
    return Path(args.data)
