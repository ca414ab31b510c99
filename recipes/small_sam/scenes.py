"""Pictures of plain shapes whose masks are known: what the tests' small SAM knows.

They are drawn by seed alone, so that its training and the tests need no files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

FINER = 4
CONTRAST = 160
"""How far apart two colours that meet are, summed over red, green and blue."""

OUTLINES = {
    "ellipse": [(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 40, endpoint=False)],
    "rectangle": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "cross": [
        (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
        (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
    ],
    "corner": [(-1, -1), (-0.2, -1), (-0.2, 0.2), (1, 0.2), (1, 1), (-1, 1)],
    "arrow": [(0, -1), (1, 0), (0.4, 0), (0.4, 1), (-0.4, 1), (-0.4, 0), (-1, 0)],
}  # fmt: skip
"""Name to points, from -1 to 1."""


@dataclass(frozen=True)
class Shape:
    """A shape in a scene.

    Attributes:
        name: one of :data:`OUTLINES`
        points: its outline, relative ``(x, y)``, (n, 2)
        mask: bool (H, W)
        box: ``[x, y, w, h]`` of the mask, relative
    """

    name: str
    points: np.ndarray
    mask: np.ndarray
    box: list[float]


@dataclass(frozen=True)
class ShapeScene:
    """A picture, uint8 (H, W, 3), and the shapes in it, none of which touch."""

    image: np.ndarray
    shapes: list[Shape]


def draw_scene(rng: np.random.Generator, sides: tuple[int, int] = (72, 128)) -> ShapeScene:
    """Draws one to four shapes on a background that is nearly plain.

    Args:
        rng: the source of chance
        sides: least and most pixels of each side
    """
    height, width = (int(n) for n in rng.integers(sides[0], sides[1] + 1, 2))
    ground = rng.integers(0, 256, 3)
    picture = Image.new("RGB", (width * FINER, height * FINER), tuple(map(int, ground)))
    shapes: list[Shape] = []
    taken = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, 5))):
        shape = _find_room(rng, taken)
        if shape is None:
            continue
        _paint(picture, shape, _color_unlike(ground, rng))
        shapes.append(shape)
        _take(taken, shape)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
    image = pixels + _slope(height, width, rng) + rng.normal(0, 3, pixels.shape)
    return ShapeScene(image.clip(0, 255).astype(np.uint8), shapes)


def _find_room(rng: np.random.Generator, taken: np.ndarray) -> Shape | None:
    height, width = taken.shape
    name = list(OUTLINES)[rng.integers(len(OUTLINES))]
    for _ in range(10):
        size = rng.uniform(0.14, 0.3) * min(height, width)
        turn = rng.uniform(0, 2 * np.pi)
        points = np.array(OUTLINES[name]) * (size, size * rng.uniform(0.6, 1.0))
        points = points @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        low, high = -points.min(axis=0) + 2, (width, height) - points.max(axis=0) - 2
        points = points + rng.uniform(low, high)
        mask = _fill(points, height, width)
        if not (mask & taken).any():
            return Shape(name, points / (width, height), mask, _box(mask))
    return None


def _fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    plane = Image.new("L", (width * FINER, height * FINER))
    ImageDraw.Draw(plane).polygon([tuple(p) for p in points * FINER], fill=255)
    return np.asarray(plane.resize((width, height), Image.Resampling.BOX)) > 127


def _box(mask: np.ndarray) -> list[float]:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
    return [float(value) for value in box]


def _take(taken: np.ndarray, shape: Shape) -> None:
    """Nothing else may come within three pixels."""
    rows, columns = np.nonzero(shape.mask)
    for down in range(-3, 4):
        for right in range(-3, 4):
            near = (rows + down).clip(0, taken.shape[0] - 1)
            taken[near, (columns + right).clip(0, taken.shape[1] - 1)] = True


def _color_unlike(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    while True:
        color = rng.integers(0, 256, 3)
        if np.abs(color - ground).sum() > CONTRAST:
            return color


def _paint(picture: Image.Image, shape: Shape, color: np.ndarray) -> None:
    points = [tuple(p) for p in shape.points * picture.size]
    ImageDraw.Draw(picture).polygon(points, fill=tuple(map(int, color)))


def _slope(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Light that changes a little over the picture."""
    down, right = rng.uniform(-20, 20, 2)
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return ((rows - 0.5) * down + (columns - 0.5) * right)[..., None]
