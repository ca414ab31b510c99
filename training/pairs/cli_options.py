"""What the commands of ``alphaclip pairs`` have in common: options, models, and what is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    from alphaclip.detectors.boxes import Grounder
    from alphaclip.encoder.encoder import Encoder
    from alphaclip.sam.sam import SamModel
    from alphaclip.training.pairs.format.jobs import Progress
    from alphaclip.training.pairs.format.records import Skipped
    from alphaclip.training.pairs.format.reports import PairsReport
    from alphaclip.training.pairs.format.writing import PairSettings

SAM, NONE, ZOO = "sam", "none", "zoo:"
"""What is no name of a model: SAM with the encoder, no encoder, and FiftyOne's zoo."""

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

Run = Callable[[argparse.Namespace], int]


def add_command(
    commands: argparse._SubParsersAction, name: str, text: str, run: Run
) -> argparse.ArgumentParser:
    """Adds a command; what it lacks to run is named with the extra that has it."""

    def with_extras(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except ModuleNotFoundError as error:
            raise AlphaClipError(
                f"{error.name} is not installed: pip install 'alphaclip-fiftyone[training]'"
            ) from error

    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=with_extras)
    return parser


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
    """The settings that the options state.

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


def print_left_out(left_out: Iterable[Skipped]) -> None:
    """Says how many rows were left out before a set was made of the others, by reason."""
    from alphaclip.training.pairs.format.reports import Tally

    tally = Tally()
    for skipped in left_out:
        tally.add(skipped)
    if tally.total:
        print(f"left out: {tally}")


def add_models(parser: argparse.ArgumentParser, encoder: str) -> None:
    """Adds SAM, the encoder with its default, and the device."""
    group = parser.add_argument_group("models")
    group.add_argument("--sam", default="auto", help="SAM's name or file (default: %(default)s)")
    group.add_argument(
        "--encoder",
        default=encoder,
        help="see `alphaclip models`; of `grit` it scores the pairs, none does not "
        "(default: %(default)s)",
    )
    group.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")


def folder_of(path: Path) -> Path:
    """A folder, or that of a file."""
    return path if path.is_dir() else path.parent


def open_sam(args: argparse.Namespace) -> SamModel:
    """The SAM that the options name."""
    from alphaclip.sam.sam import load_sam

    return load_sam(args.sam, args.device)


def open_encoder(args: argparse.Namespace) -> Encoder | None:
    """The encoder that the options name, if any."""
    from alphaclip.encoder.load import load

    return None if args.encoder == NONE else load(args.encoder, args.device)


def open_grounder(args: argparse.Namespace) -> Grounder:
    """What finds phrases: SAM with the encoder, or a detector.

    Raises:
        AlphaClipError: if a model cannot be had; says what to do
    """
    from alphaclip.detectors.boxes import GroundingSettings
    from alphaclip.detectors.phrase_detectors import load_detector
    from alphaclip.training.pairs.captions.grounding import MatchSettings, SamGrounder

    least = args.least_score
    if args.grounder == SAM:
        encoder = open_encoder(args)
        if encoder is None:
            raise AlphaClipError("--grounder sam needs an encoder: leave --encoder none out")
        match = MatchSettings() if least is None else MatchSettings(least_cosine=least)
        return SamGrounder(open_sam(args), encoder, match)
    settings = GroundingSettings() if least is None else GroundingSettings(least_score=least)
    if args.grounder.startswith(ZOO):
        from alphaclip.training.pairs.captions.fiftyone_grounding import find_zoo_detector

        return load_detector(
            find_zoo_detector(args.grounder.removeprefix(ZOO)), args.device, settings
        )
    return load_detector(args.grounder, args.device, settings)
