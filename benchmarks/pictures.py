"""Pictures with regions and their names: the bundled scenes, blood cells, and scenes drawn anew."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.dataset.samples import FOLDER
from alphaclip.regions.region import Region
from alphaclip.regions.rle import decode_rle

if TYPE_CHECKING:
    from recipes.nano.scenes import SpriteBook

CELLS = {"RBC": "a red blood cell", "WBC": "a white blood cell", "Platelets": "a platelet"}

Picture = tuple[Any, list[Region], list[str]]
"""An image, its regions, and their names."""


def sample_pictures() -> Iterator[Picture]:
    """The bundled scenes, by the names that are right."""
    for scene in json.loads((FOLDER / "scenes.json").read_text())["scenes"]:
        regions, names = [], []
        for row in scene["regions"]:
            names.append(row.get("true_label", row["label"]))
            if "polygon" in row:
                regions.append(Region.from_polygon(row["polygon"]))
            elif "mask" in row:
                mask = decode_rle(row["mask"]).astype(bool)
                regions.append(Region.from_mask(mask, box=row["box"]))
            else:
                regions.append(Region.from_box(row["box"]))
        yield FOLDER / scene["image"], regions, names


def cell_pictures(folder: Path) -> Iterator[Picture]:
    """BCCD's blood cells."""
    for path in sorted((folder / "annotations").rglob("*.xml")):
        root = ElementTree.parse(path).getroot()
        width, height = (float(root.findtext(f"size/{n}", "")) for n in ("width", "height"))
        regions, names = [], []
        for cell in root.iter("object"):
            corners = ("xmin", "ymin", "xmax", "ymax")
            left, top, right, bottom = (float(cell.findtext(f"bndbox/{c}", "")) for c in corners)
            if right > left and bottom > top:
                box = left / width, top / height, (right - left) / width, (bottom - top) / height
                regions.append(Region.from_box(box))
                names.append(cell.findtext("name", ""))
        yield next((folder / "images").glob(f"{path.stem}.*")), regions, names


def drawn_pictures(book: SpriteBook, seed: int, count: int) -> Iterator[Picture]:
    """Scenes as the bundled ones are; scene ``i`` of a seed is the same whatever the count."""
    from recipes.nano.drawings import concepts
    from recipes.nano.sample import CONFIG
    from recipes.nano.scenes import compose

    names = [concept.name for concept in concepts()]
    for number in range(count):
        scene = compose(book, np.random.default_rng([seed, number]), CONFIG)
        regions = [Region.from_mask(thing.mask) for thing in scene.objects]
        yield scene.image, regions, [names[thing.concept] for thing in scene.objects]
