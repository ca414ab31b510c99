"""Trains ``alphaclip-nano-captioner`` from nothing; run again to go on after an interruption.

    alphaclip train-captioner FOLDER

FOLDER keeps drawings, vectors of drawn regions, checkpoint and log, and in the end the captioner
and its card; those of ``--crops`` are in FOLDER/crops. On two quiet cores it takes about an hour.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from recipes.captioner.card import make_captioner
from recipes.captioner.training import CaptionerRecipe
from recipes.nano.drawings import fetch


def main() -> None:
    """Runs the recipe."""
    parser = argparse.ArgumentParser(description="train alphaclip-nano-captioner from nothing")
    parser.add_argument("folder", type=Path, help="where all that is made is kept")
    parser.add_argument("--steps", type=int, help="of each course; for trying it out")
    parser.add_argument("--parts", type=int, help="of drawn scenes; likewise")
    parser.add_argument("--crops", action="store_true", help="of crops without alpha, to compare")
    args = parser.parse_args()
    drawings = args.folder / "drawings"
    folder = args.folder / "crops" if args.crops else args.folder
    recipe = replace(CaptionerRecipe().shortened(args.steps, args.parts), crops=args.crops)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fetch(drawings)
    path = make_captioner(recipe, drawings, folder)
    logging.info("%s and its card are there; alphaclip.language.load takes the file", path)


if __name__ == "__main__":
    main()
