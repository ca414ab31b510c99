"""Trains ``alphaclip-nano`` from nothing; run again to go on after an interruption.

    python -m recipes.nano FOLDER

FOLDER keeps the drawings, checkpoints and logs, and in the end the model, its card and its curves.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch

from alphaclip.files import write_text
from recipes.nano.card import draw_curves, make_card
from recipes.nano.drawings import fetch
from recipes.nano.recipe import NanoRecipe
from recipes.nano.region_queries import save_regions, train_regions
from recipes.nano.text_tower import train_captions
from recipes.nano.training import save_nano, train_alpha, train_base, with_alpha


def main() -> None:
    """Runs the recipe."""
    parser = argparse.ArgumentParser(description="train alphaclip-nano from nothing")
    parser.add_argument("folder", type=Path, help="where drawings, checkpoints and logs are kept")
    folder: Path = parser.parse_args().folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    drawings = folder / "drawings"
    fetch(drawings)
    recipe = NanoRecipe()
    base = train_base(recipe, drawings, folder, "cuda" if torch.cuda.is_available() else "cpu")
    model = train_alpha(recipe, base, drawings, folder)
    regions = train_regions(recipe, model, drawings, folder)
    text_tower = train_captions(recipe, model, regions, drawings, folder)
    for tower in (model.cpu(), regions.cpu()):
        tower.clip.load_state_dict(text_tower, strict=False)
    save_nano(model, folder / "model.safetensors")
    save_regions(regions, folder / "regions" / "model.safetensors")
    draw_curves(folder, folder / "curves.png")
    card = make_card(model, with_alpha(base.cpu()), regions, recipe, drawings)
    write_text(folder / "card.json", json.dumps(card, indent=1) + "\n")
    logging.info("model.safetensors, regions, card.json and curves.png are in %s", folder)


if __name__ == "__main__":
    main()
