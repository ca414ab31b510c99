"""``alphaclip train-captioner``: makes the captioner that ships."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from alphaclip.errors import AlphaClipError

CHECKOUT = Path(__file__).resolve().parents[2]


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``train-captioner``."""
    parser = subparsers.add_parser(
        "train-captioner",
        help="train alphaclip-nano-captioner from nothing; run again to go on",
    )
    parser.add_argument("folder", type=Path, help="for drawings, checkpoints, captioner and card")
    parser.add_argument("--steps", type=int, help="of each course; fewer are for trying it out")
    parser.add_argument("--parts", type=int, help="of 250 drawn scenes; likewise")
    parser.add_argument(
        "--crops", action="store_true",
        help="train the one that alpha is compared with, on crops, into FOLDER/crops",
    )  # fmt: skip
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    """Runs the recipe in a process of its own: recipes stand above all that is installed."""
    if not (CHECKOUT / "recipes" / "captioner").is_dir():
        raise AlphaClipError(
            "train-captioner draws its scenes by this project's recipes, which are not installed: "
            "run it in a checkout of the repository, where `pip install -e '.[training]'` was run"
        )
    numbers = {"--steps": args.steps, "--parts": args.parts}
    options = [f"{name}={value}" for name, value in numbers.items() if value is not None]
    options += ["--crops"] if args.crops else []
    command = [sys.executable, "-m", "recipes.captioner", str(args.folder.resolve()), *options]
    return subprocess.run(command, cwd=CHECKOUT).returncode
