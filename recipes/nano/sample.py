"""Draws the sample dataset: scenes that training never saw, with boxes, masks and polygons.

Of the labels 3 % are wrong on purpose; the right name is kept beside each as ``true_label``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from alphaclip.files import write_text
from recipes.nano.drawings import concepts
from recipes.nano.scenes import HELD_OUT, Scene, SceneObject, SpriteBook, compose, training_sets

SEED = 20240611
"""Training's seeds are ``[NanoRecipe.seed + phase, step]``, phase being 0 to 8, of which 3 and 4
are the captioner's."""

NEWER = {"fluent-ink", "fluent-3d", "emojione", "emojione-ink"}
"""Drawings that are younger than the bundled pictures, which are drawn again without them."""

SCENES = 320
WRONG = 0.03
SPRITE_SIZE = 192
CONFIG = replace(HELD_OUT, side=(240, 340))

_ORIENTATIONS = {1: 0, 6: 1, 3: 2, 8: 3}
"""EXIF orientation to the quarter turns, anticlockwise, that the stored picture is turned by."""


def draw_sample(drawings: Path, folder: Path, scenes: int = SCENES, seed: int = SEED) -> int:
    """Writes ``images/*.jpg`` and ``scenes.json``; the same seed gives the same files.

    Args:
        drawings: the artists' archives
        folder: to write into
        scenes (320): pictures to draw
        seed: of everything

    Returns:
        how many regions the scenes hold
    """
    sets = tuple(each for each in training_sets() if each.name not in NEWER)
    book = SpriteBook(drawings, sets, SPRITE_SIZE)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(scenes):
        rng = np.random.default_rng([seed, number])
        scene = compose(book, rng, CONFIG)
        name = f"images/scene-{number:04d}.jpg"
        _write_picture(folder / name, scene, orientation=_orientation(number))
        rows.append({"image": name, "regions": list(_regions(scene, rng))})
    content = {"seed": seed, "scenes": rows}
    write_text(folder / "scenes.json", json.dumps(content, separators=(",", ":")) + "\n")
    return sum(len(row["regions"]) for row in rows)


def _orientation(number: int) -> int:
    """Every tenth picture is stored turned, as a camera held sideways would."""
    return list(_ORIENTATIONS)[1 + number // 10 % 3] if number % 10 == 0 else 1


def _write_picture(path: Path, scene: Scene, orientation: int) -> None:
    stored = Image.fromarray(np.rot90(scene.image, _ORIENTATIONS[orientation]).copy())
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    stored.save(path, quality=82, exif=exif)


def _regions(scene: Scene, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    names = [concept.name for concept in concepts()]
    for drawn in scene.objects:
        label = names[drawn.concept]
        row: dict[str, Any] = {"label": label, "artist": drawn.artist}
        if rng.random() < WRONG:
            others = [name for name in names if name != label]
            row |= {"label": others[rng.integers(len(others))], "true_label": label}
        yield row | _geometry(drawn, rng)


def _geometry(drawn: SceneObject, rng: np.random.Generator) -> dict[str, Any]:
    kind = ("box", "mask", "polygon")[rng.integers(3)]
    if kind == "polygon":
        rings = _outline(drawn.mask)
        if rings:
            return {"polygon": rings}
    geometry: dict[str, Any] = {"box": [round(value, 5) for value in drawn.box]}
    if kind == "mask":
        geometry["mask"] = _runs(drawn)
    return geometry


def _outline(mask: np.ndarray) -> list[list[list[float]]]:
    height, width = mask.shape
    contours, _ = cv2.findContours(
        (mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    rings = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 1.0, True)[:, 0]
        if len(points) >= 3 and cv2.contourArea(contour) > 20:
            scaled = (points + 0.5) / (width, height)
            rings.append(np.round(scaled, 4).tolist())
    return rings


def _runs(drawn: SceneObject) -> dict[str, Any]:
    """The mask inside its box, as an uncompressed COCO RLE."""
    height, width = drawn.mask.shape
    x, y, w, h = drawn.box
    rows = slice(round(y * height), round((y + h) * height))
    columns = slice(round(x * width), round((x + w) * width))
    inside = drawn.mask[rows, columns] > 127
    flat = np.concatenate([[False], inside.T.ravel()])
    changes = np.flatnonzero(np.diff(flat.astype(np.int8)))
    edges = np.concatenate([[0], changes, [inside.size]])
    return {"size": list(inside.shape), "counts": np.diff(edges).tolist()}
