"""Makes ``alphaclip-nano-captioner`` and its card: figures, recipe, sources."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip import language, load
from alphaclip.encoder.encoder import Encoder
from alphaclip.files import write_text
from alphaclip.language.vector_captioner import save_captioner
from recipes.captioner.figures import measure
from recipes.captioner.regions import draw_regions, encode_scenes
from recipes.captioner.texts import QUESTIONS
from recipes.captioner.training import NAME, CaptionerRecipe, learnt_words, near_names, train
from recipes.nano.drawings import concepts, sources
from recipes.nano.figures import FIGURE_SEED, held_out_scenes
from recipes.nano.scenes import SpriteBook, held_out_sets, training_sets

logger = logging.getLogger(__name__)

FILE, CARD, LICENCE = "captioner.safetensors", "captioner.json", "Apache-2.0"
SCENES = 250
SETS = {
    "held-out scenes": (training_sets, 0.0),
    "kept-out artist": (held_out_sets, 0.0),
    "held-out scenes, by boxes": (training_sets, 1.0),
}
"""What is measured on: whose drawings, and which share of regions is seen by its box, the others by
their mask."""


def make_captioner(
    recipe: CaptionerRecipe, drawings: Path, folder: Path, scenes: int = SCENES
) -> Path:
    """Draws, trains and measures; what is there already is not made again.

    Args:
        recipe: what to do
        drawings: the artists' archives
        folder: for all that is made
        scenes (250): to measure on, of each kind

    Returns:
        where the captioner is
    """
    encoder = load("alphaclip-nano", device="cpu", precision="fp32")
    near, words, path = near_names(encoder), learnt_words(), folder / FILE
    book = SpriteBook(drawings, training_sets())
    regions = draw_regions(
        encoder, book, folder / "regions", range(recipe.parts), recipe.scenes, recipe.seed,
        recipe.crops,
    )  # fmt: skip
    network = train(recipe, regions, words, near, folder)
    save_captioner(network, words, encoder, path, LICENCE)
    numbers = sum(parameter.numel() for parameter in network.parameters())
    card = {
        "name": NAME,
        "licence": LICENCE,
        "reads": f"vectors of {encoder.name}",
        "parameters": numbers,
        "regions": len(regions),
        "figures": measure_captioner(path, encoder, near, drawings, scenes, recipe.crops),
        "questions": QUESTIONS,
        "names": [one.name for one in concepts()],
        "recipe": recipe.to_dict(),
        "sources": sources(),
    }
    write_text(folder / CARD, json.dumps(card, indent=1) + "\n")
    return path


def measure_captioner(
    path: Path, encoder: Encoder, near: np.ndarray, drawings: Path, scenes: int, crops: bool
) -> dict[str, Any]:
    """Figures on scenes that training never saw, see ``SETS``.

    Args:
        path: of the captioner, which is measured as it is shipped
        encoder: nano
        near: the nearest names of each concept
        drawings: the artists' archives
        scenes: of each kind
        crops: see `CaptionerRecipe`
    """
    model = language.load(path, device="cpu")
    figures = {}
    for title, (sets, boxed) in SETS.items():
        drawn = held_out_scenes(SpriteBook(drawings, sets()), scenes, FIGURE_SEED)
        regions = encode_scenes(encoder, drawn, boxed, crops=crops)
        figures[title] = measure(model, encoder, regions, near, FIGURE_SEED)
        logger.info("%s: %s", title, figures[title])
    return figures
