"""Region-text pairs of drawn scenes, for experiments with fine-tuning.

    PYTHONPATH=. .venv/bin/python benchmarks/scene_pairs.py DRAWINGS OUT --scenes 2500

DRAWINGS holds the artists' archives (``recipes.nano.drawings.fetch`` gets them); the kept-out
artist's are not used. Scene ``i`` of a seed is the same however many are asked for.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from alphaclip import Region
from alphaclip.training.pairs.format.records import PairPicture, PairRegion
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs
from recipes.nano.captions import caption_object, caption_scene
from recipes.nano.drawings import concepts
from recipes.nano.scenes import TRAINING, Scene, SpriteBook, compose, training_sets

SEED = 31_000
TEXTS = 3
"""Captions of a region, one of which is drawn each time it is shown."""


def main() -> None:
    """Writes a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drawings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=2500)
    options = parser.parse_args()
    sys.stdout.write(
        f"{options.out}: {write(options.drawings, options.out, range(options.scenes))} pairs\n"
    )


def write(drawings: Path, folder: Path, scenes: range) -> int:
    """Writes the pairs of some scenes, or goes on writing them; returns how many there are."""
    book = SpriteBook(drawings, training_sets())
    settings = PairSettings(per_shard=500, seed=SEED, made={"scenes": "drawn", "seed": SEED})
    with tqdm(total=len(scenes), desc="scenes", disable=None) as bar:
        report = write_pairs(
            scenes,
            lambda number: _picture(book, number),
            folder,
            settings,
            lambda done, total: bar.update(done - bar.n),
        )
    return report.regions


def _picture(book: SpriteBook, number: int) -> PairPicture:
    rng = np.random.default_rng([SEED, number])
    scene = compose(book, rng, TRAINING)
    stream = io.BytesIO()
    Image.fromarray(scene.image).save(stream, "PNG", compress_level=1)
    regions = tuple(_region(scene, place, rng) for place in range(len(scene.objects)))
    caption = caption_scene(scene, rng)
    return PairPicture(f"scene-{number:06d}", stream.getvalue(), "png", regions, caption)


def _region(scene: Scene, place: int, rng: np.random.Generator) -> PairRegion:
    found = scene.objects[place]
    texts = dict.fromkeys(caption_object(found, rng) for _ in range(TEXTS))
    return PairRegion(Region.from_mask(found.mask), tuple(texts), concepts()[found.concept].name)


if __name__ == "__main__":
    main()
