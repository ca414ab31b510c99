"""What the commands that write pairs have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alphaclip.training.pairs.format.reports import PairsReport
    from alphaclip.training.pairs.format.writing import PairSettings, Progress

_FILTERS = {
    "least_quality": (float, "least mask quality, a predicted IoU in [0, 1]"),
    "least_clip": (float, "least CLIP score, a cosine in [-1, 1]"),
    "least_area": (float, "least share of the picture that a region has"),
    "most_area": (float, "greatest share of the picture that a region has"),
    "least_pixels": (float, "least area in pixels where the picture's longer side has 224"),
    "most_characters": (int, "longest text, in characters"),
    "most_tokens": (int, "longest text, in CLIP's tokens (CLIP has room for 75)"),
    "duplicate_iou": (float, "IoU from which on the same text is a duplicate"),
}


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Adds the folder, and options of `PairSettings` and `FilterSettings`."""
    from alphaclip.training.pairs.format.filters import FilterSettings

    parser.add_argument("folder", type=Path, help="the set that is written; run again to go on")
    parser.add_argument("--per-shard", type=count, default=1000, help="items of a shard")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    group = parser.add_argument_group("filters")
    for field in fields(FilterSettings):
        kind, text = _FILTERS[field.name]
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            help=f"{text} (default: %(default)s)",
        )


def settings_of(args: argparse.Namespace) -> PairSettings:
    """The settings that were given.

    Raises:
        PairError: if one is out of range
    """
    from alphaclip.training.pairs.format.filters import FilterSettings
    from alphaclip.training.pairs.format.writing import PairSettings

    filters = FilterSettings(**{name: getattr(args, name) for name in _FILTERS})
    return PairSettings(args.per_shard, args.seed, filters)


def count(text: str) -> int:
    """A whole number of at least 1, as argparse takes it."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Progress in the terminal, where there is one."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="", disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def print_reports(reports: Iterable[PairsReport]) -> int:
    """Says what was written and what was left out.

    Returns:
        the exit status: 1 if there is no pair
    """
    total = 0
    for report in reports:
        total += report.regions
        print(*report.lines(), sep="\n")
    if not total:
        print("there is not one pair: statistics.html has the reasons", file=sys.stderr)
    return 0 if total else 1
