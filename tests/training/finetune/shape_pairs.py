"""A set of pairs that a small model can learn: coloured shapes, two in a picture."""

import json
import shutil
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.network.factory import create_model
from alphaclip.regions.region import Region
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.pairs.format.records import PairPicture, PairRegion
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs

COLOURS = {
    "red": (220, 30, 30),
    "green": (20, 160, 40),
    "blue": (40, 60, 220),
    "yellow": (230, 210, 30),
    "white": (250, 250, 250),
    "purple": (140, 30, 160),
    "orange": (250, 140, 20),
    "gray": (120, 120, 120),
}
SHAPES = ("square", "disc")
KINDS = list(product(COLOURS, SHAPES))
SIDE = 64


ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 4514, "width": 32, "heads": 2, "layers": 1},
}


def write_model(folder: Path) -> Path:
    """Writes a small model without training, with nano's tokenizer, as a folder to load."""
    folder.mkdir(parents=True)
    config = folder / "shapes.json"
    config.write_text(json.dumps(ARCHITECTURE))
    shutil.copy(NANO_FOLDER / "merges.txt.gz", folder)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = create_model(config)
    save_file(model.clip.state_dict(), folder / "model.safetensors")
    return folder


def write_shapes(folder: Path, pictures: int = 32, seed: int = 0) -> Path:
    """Writes a set of so many pictures with two pairs each; every kind occurs equally often."""
    settings = PairSettings(per_shard=16, made={"seed": seed})
    write_pairs([(seed, n) for n in range(pictures)], _picture, folder, settings)
    return folder


def config_of(folder: Path, pairs: Path, model: Path, **fields: Any) -> FinetuneConfig:
    """A run of few steps on the CPU, without further processes."""
    start = {
        "model": str(model),
        "pairs": [str(pairs)],
        "output": str(folder),
        "steps": 4,
        "batch_size": 8,
        "warm_up": 1,
        "rate": 1e-4,
        "alpha_rate": 2e-3,
        "workers": 0,
        "log_every": 1,
        "checkpoint_every": 100,
    }
    return FinetuneConfig.from_dict({**start, **fields})


def _picture(item: tuple[int, int]) -> PairPicture:
    seed, number = item
    rng = np.random.default_rng([seed, number])
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    kinds = [KINDS[(2 * number + side) * 5 % len(KINDS)] for side in range(2)]
    masks = [_mask(shape, side, rng) for side, (_, shape) in enumerate(kinds)]
    for (colour, _), mask in zip(kinds, masks, strict=True):
        pixels[mask] = COLOURS[colour]
    names = [f"{colour} {shape}" for colour, shape in kinds]
    regions = tuple(
        PairRegion(Region.from_mask(mask), (f"a {name}",), name, negatives=(f"a {other}",))
        for mask, name, other in zip(masks, names, reversed(names), strict=True)
    )
    caption = f"a {names[0]} and a {names[1]}"
    return PairPicture(f"p{number:03d}", _png(pixels), "png", regions, caption)


def _mask(shape: str, side: int, rng: np.random.Generator) -> np.ndarray:
    radius = rng.integers(9, 14)
    x = 16 + 32 * side + rng.integers(-2, 3)
    y = rng.integers(16, SIDE - 16)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if shape == "square":
        return np.maximum(abs(rows - y), abs(columns - x)) < radius
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def _png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
