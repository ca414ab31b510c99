"""What the commands of the two pipelines have in common: models, and fetching."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.sources.http_client import FetchSettings

if TYPE_CHECKING:
    from alphaclip.encoder.encoder import Encoder
    from alphaclip.sam.sam import SamModel
    from alphaclip.training.pairs.captions.grounding import Grounder
    from alphaclip.training.pairs.sources.fetching import PictureStore

SAM, NONE = "sam", "none"
_ZOO = "zoo:"
FETCHED = "pictures"
"""Folder of fetched pictures, beside what is written."""

_FETCHING = {
    "timeout": (float, "seconds without any answer from a server"),
    "most_seconds": (float, "seconds for a picture in all"),
    "most_bytes": (int, "largest file of a picture, in bytes"),
    "most_pixels": (int, "most pixels of a picture"),
    "threads": (int, "pictures that are fetched at a time"),
}


def add_model_options(parser: argparse.ArgumentParser, encoder: str) -> None:
    """Adds SAM, the encoder, whose default is given, and the device."""
    group = parser.add_argument_group("models")
    group.add_argument("--sam", default="auto", help="SAM's name or file (default: %(default)s)")
    group.add_argument(
        "--encoder",
        default=encoder,
        help="see `alphaclip models`; of `grit` it scores the pairs, none does not "
        "(default: %(default)s)",
    )
    group.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")


def add_fetching_options(parser: argparse.ArgumentParser) -> None:
    """Adds options of `FetchSettings`, and the cache."""
    group = parser.add_argument_group("fetching")
    group.add_argument(
        "--cache",
        type=Path,
        help="folder of fetched pictures (default: pictures in the folder that is written)",
    )
    defaults = FetchSettings()
    for name, (kind, text) in _FETCHING.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=getattr(defaults, name),
            help=f"{text} (default: %(default)s)",
        )
    for name, text in (
        ("allow-private", "fetch from private networks too, and through proxies"),
        ("allow-refused", "fetch pictures whose site refuses training"),
        ("retry", "try again what failed for a reason that may be gone"),
    ):
        group.add_argument(f"--{name}", action="store_true", help=text)


def open_store(args: argparse.Namespace, data: Path, fetched: Path | None = None) -> PictureStore:
    """What opens pictures by address, or by path.

    Args:
        args: with the options of fetching
        data: folder that paths are in, or a file in it
        fetched (None): folder of what was fetched by an earlier command; taken if it is there
    """
    from alphaclip.training.pairs.sources.fetching import PictureStore

    given = {field.name: getattr(args, field.name, None) for field in fields(FetchSettings)}
    settings = FetchSettings(**{name: value for name, value in given.items() if value is not None})
    kept = fetched if fetched is not None and fetched.is_dir() else args.folder / FETCHED
    return PictureStore(args.cache or kept, settings, folder_of(data))


def folder_of(path: Path) -> Path:
    """A folder, or that of a file."""
    return path if path.is_dir() else path.parent


def open_sam(args: argparse.Namespace) -> SamModel:
    """The SAM that was asked for."""
    from alphaclip.sam.sam import load_sam

    return load_sam(args.sam, args.device)


def open_encoder(args: argparse.Namespace) -> Encoder | None:
    """The encoder that was asked for, if any."""
    from alphaclip.encoder.load import load

    return None if args.encoder == NONE else load(args.encoder, args.device)


def open_grounder(args: argparse.Namespace) -> Grounder:
    """What finds phrases: SAM with the encoder, or a detector.

    Raises:
        AlphaClipError: if a model cannot be had; says what to do
    """
    from alphaclip.training.pairs.captions.grounding import (
        GroundingSettings,
        MatchSettings,
        SamGrounder,
    )
    from alphaclip.training.pairs.captions.phrase_detectors import load_detector

    if args.grounder == SAM:
        encoder = open_encoder(args)
        if encoder is None:
            raise AlphaClipError("--grounder sam needs an encoder: leave --encoder none out")
        match = MatchSettings()
        if args.least_score is not None:
            match = replace(match, least_cosine=args.least_score)
        return SamGrounder(open_sam(args), encoder, match)
    settings = GroundingSettings()
    if args.least_score is not None:
        settings = replace(settings, least_score=args.least_score)
    if args.grounder.startswith(_ZOO):
        from alphaclip.training.pairs.captions.fiftyone_grounding import load_zoo_detector

        return load_zoo_detector(args.grounder.removeprefix(_ZOO), args.device, settings)
    return load_detector(args.grounder, args.device, settings)
