"""The sets that describers are judged on: published, a FiftyOne dataset's field, or pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import RegionSet, take_first, with_texts
from alphaclip.training.evaluation.tasks import add_described_options, read_described
from alphaclip.training.finetune.evaluating import read_held_out


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `read_set` reads."""
    add_described_options(parser)
    parser.add_argument(
        "--pairs", type=Path, metavar="FOLDER", help="a set of pairs, in place of --data"
    )


def read_set(args: argparse.Namespace) -> RegionSet:
    """Reads the set that the options name; regions without a text are left out.

    Raises:
        AlphaClipError: it cannot be read, or no region has a text
    """
    if args.pairs is None:
        regions = read_described(args)
    else:
        pictures = args.cache / "pictures"
        regions = take_first(read_held_out(args.pairs, args.pairs.name, pictures), args.limit)
    described = with_texts(regions)
    if not described.examples:
        raise AlphaClipError(f"{regions.name} has no region with a text: name another set")
    return described
