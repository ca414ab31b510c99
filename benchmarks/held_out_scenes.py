"""Writes drawn scenes that nano never saw in COCO's format, for ``alphaclip eval regions --data``.

    PYTHONPATH=. .venv/bin/python benchmarks/held_out_scenes.py DRAWINGS OUT

DRAWINGS holds the artists' archives (``recipes.nano.drawings.fetch`` gets them).
``OUT/seen`` gets new scenes by the artists that nano was trained on, ``OUT/unseen`` scenes by the
artist that was kept out. The page ``docs/which-encoder.md`` says what was found on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from alphaclip.regions.rle import encode_rle
from recipes.nano.drawings import concepts
from recipes.nano.figures import held_out_scenes
from recipes.nano.scenes import Scene, SpriteBook, held_out_sets, training_sets

SCENES, SEED = 200, 7002
PICTURES, LABELS = "val2017", "annotations/instances_val2017.json"


def main() -> None:
    """Writes both sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drawings", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    for name, artists in (("seen", training_sets()), ("unseen", held_out_sets())):
        book = SpriteBook(options.drawings, artists)
        count = _write(held_out_scenes(book, SCENES, SEED), options.out / name)
        sys.stdout.write(f"{options.out / name}: {SCENES} pictures, {count} regions\n")


def _write(scenes: Sequence[Scene], folder: Path) -> int:
    """Writes scenes; returns how many regions they have."""
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    (folder / LABELS).parent.mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        name = f"{number:012d}.png"
        Image.fromarray(scene.image).save(folder / PICTURES / name)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for region in _regions(scene):
            regions.append({"id": len(regions) + 1, "image_id": number, **region})
    classes = [{"id": i, "name": concept.name} for i, concept in enumerate(concepts(), 1)]
    content = {"images": images, "annotations": regions, "categories": classes}
    (folder / LABELS).write_text(json.dumps(content), "utf-8")
    return len(regions)


def _regions(scene: Scene) -> Iterator[dict[str, Any]]:
    for thing in scene.objects:
        inside = np.asarray(thing.mask) > 127
        if not inside.any():
            continue
        packed = encode_rle(inside)
        yield {
            "category_id": thing.concept + 1,
            "segmentation": packed,
            "bbox": coco_mask.toBbox(packed).tolist(),
            "area": float(coco_mask.area(packed)),
            "iscrowd": 0,
        }


if __name__ == "__main__":
    main()
