"""The training house's part of the command line."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``train-nano``."""
    parser = subparsers.add_parser(
        "train-nano",
        help="train alphaclip-nano from nothing; run again to go on after an interruption",
    )
    parser.add_argument("folder", type=Path, help="where drawings, checkpoints and logs are kept")
    parser.set_defaults(run=_train_nano)


def _train_nano(args: argparse.Namespace) -> int:
    from alphaclip.training.drawings import fetch
    from alphaclip.training.nano_training import save_nano, train_alpha, train_base
    from alphaclip.training.recipe import NanoRecipe

    logging.basicConfig(level=logging.INFO)
    drawings = args.folder / "drawings"
    fetch(drawings)
    recipe = NanoRecipe()
    base = train_base(recipe, drawings, args.folder)
    save_nano(train_alpha(recipe, base, drawings, args.folder), args.folder / "model.safetensors")
    return 0
