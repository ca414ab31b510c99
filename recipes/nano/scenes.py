"""Scenes: drawings scattered over a background, with the visible mask of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.nano.augment import PLAIN, STRONG, Augmentation, augment
from recipes.nano.backgrounds import background
from recipes.nano.drawings import DRAWING_SETS, DrawingSet, concepts, load_sprites


@dataclass(frozen=True)
class SceneConfig:
    """What a scene looks like.

    Attributes:
        objects: least and most drawings in a scene
        side: least and most pixels of the shorter side
        aspect: largest ratio of the longer side to the shorter
        size: least and most of the shorter side that a drawing's longer side takes
        visible: least share of a drawing that others may leave uncovered
        augmentation: what happens to each drawing
        outside: how far a drawing may reach over the border, as a share of its own side
    """

    objects: tuple[int, int] = (2, 8)
    side: tuple[int, int] = (112, 176)
    aspect: float = 1.5
    size: tuple[float, float] = (0.2, 0.6)
    visible: float = 0.45
    augmentation: Augmentation = STRONG
    outside: float = 0.1


TRAINING = SceneConfig()
CLOSE_UP = SceneConfig(objects=(1, 2), side=(80, 112), aspect=1.2, size=(0.6, 1.0), visible=0.5)
HELD_OUT = SceneConfig(augmentation=PLAIN, size=(0.25, 0.6), visible=0.5, outside=0.0)


@dataclass(frozen=True)
class SceneObject:
    """One drawing in a scene.

    Attributes:
        concept: its place in :func:`~recipes.nano.drawings.concepts`
        artist: name of the drawing set
        mask: uint8 (H, W), 0 to 255, the visible part with soft edges
        box: ``[x, y, w, h]`` of the visible part, relative to the scene
        color: mean RGB of the visible part, 0 to 255
    """

    concept: int
    artist: str
    mask: np.ndarray
    box: tuple[float, float, float, float]
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 (H, W, 3), and what is in it, from back to front."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]


class SpriteBook:
    """The drawings of several artists, asked for by concept.

    Args:
        folder: the artists' archives, see :func:`~recipes.nano.drawings.fetch`
        sets: whose drawings to use
        size (96): side of a sprite in pixels
    """

    def __init__(self, folder: Path, sets: Sequence[DrawingSet], size: int = 96) -> None:
        sprites = {s.name: load_sprites(folder, s, size) for s in sets}
        self._by_concept = [
            [
                (name, drawn[c.code_point])
                for name, drawn in sprites.items()
                if c.code_point in drawn
            ]
            for c in concepts()
        ]
        self.drawn = [i for i, options in enumerate(self._by_concept) if options]

    def draw(self, concept: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """The name of an artist taken at random, and that artist's drawing of the concept."""
        options = self._by_concept[concept]
        return options[rng.integers(len(options))]


def training_sets() -> tuple[DrawingSet, ...]:
    """The artists whose drawings may be trained on."""
    return tuple(s for s in DRAWING_SETS if not s.held_out)


def held_out_sets() -> tuple[DrawingSet, ...]:
    """The artists kept for validation."""
    return tuple(s for s in DRAWING_SETS if s.held_out)


def compose(
    book: SpriteBook,
    rng: np.random.Generator,
    config: SceneConfig = TRAINING,
    target: int | None = None,
) -> Scene:
    """Draws one scene.

    Args:
        book: the drawings to take from
        rng: the source of chance
        config (TRAINING): what scenes look like
        target (None): a concept that must be among the objects

    Returns:
        the scene; its concepts all differ, and ``target``, if given, is among them
    """
    height, width = _canvas_size(rng, config)
    canvas = background(height, width, rng)
    layers: list[_Layer] = []
    for concept in _choose_concepts(book, rng, config, target):
        artist, sprite = book.draw(concept, rng)
        drawing = _find_room(canvas, layers, sprite, rng, config)
        if drawing is None and concept == target:
            layers.clear()
            canvas = background(height, width, rng)
            drawing = _find_room(canvas, layers, sprite, rng, config)
        if drawing is not None:
            layers.append(_paint(canvas, layers, drawing, concept, artist))
    image = canvas.clip(0, 255).astype(np.uint8)
    # Of thin lines that are drawn small hardly anything may be left
    seen = [layer for layer in layers if (layer.mask > 0.5).any()]
    return Scene(image, tuple(_describe(image, layer) for layer in seen))


@dataclass
class _Layer:
    concept: int
    artist: str
    mask: np.ndarray
    area: float
    uncovered: float


def _canvas_size(rng: np.random.Generator, config: SceneConfig) -> tuple[int, int]:
    shorter = int(rng.integers(config.side[0], config.side[1] + 1))
    longer = int(shorter * rng.uniform(1.0, config.aspect)) if rng.random() < 0.6 else shorter
    return (shorter, longer) if rng.random() < 0.5 else (longer, shorter)


def _choose_concepts(
    book: SpriteBook, rng: np.random.Generator, config: SceneConfig, target: int | None
) -> list[int]:
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    chosen = [int(c) for c in rng.choice(book.drawn, count, replace=False)]
    if target is not None and target not in chosen:
        chosen[int(rng.integers(count))] = target
    return chosen


_Drawing = tuple[np.ndarray, int, int]
"""Pixels as :func:`~recipes.nano.augment.augment` makes them, and where: top, left."""


def _find_room(
    canvas: np.ndarray,
    layers: list[_Layer],
    sprite: np.ndarray,
    rng: np.random.Generator,
    config: SceneConfig,
) -> _Drawing | None:
    height, width = canvas.shape[:2]
    low, high = config.size
    for shrink in (1.0, 0.6):  # A smaller one, where the first finds no room in eight tries.
        side = rng.uniform(low, max(low, high * shrink)) * min(height, width)
        pixels = augment(sprite, side, rng, config.augmentation)[:height, :width]
        for _ in range(8):
            drawing = _position(pixels, rng, height, width, config.outside)
            if _leaves_enough(layers, drawing, config.visible):
                return drawing
    return None


def _position(
    pixels: np.ndarray, rng: np.random.Generator, height: int, width: int, outside: float
) -> _Drawing:
    reach_y, reach_x = (int(outside * n) for n in pixels.shape[:2])
    top = int(rng.integers(-reach_y, height - pixels.shape[0] + reach_y + 1))
    left = int(rng.integers(-reach_x, width - pixels.shape[1] + reach_x + 1))
    uncovered = pixels[max(0, -top) : height - top, max(0, -left) : width - left]
    return uncovered, max(0, top), max(0, left)


def _window(drawing: _Drawing) -> tuple[slice, slice]:
    pixels, top, left = drawing
    return np.s_[top : top + pixels.shape[0], left : left + pixels.shape[1]]


def _leaves_enough(layers: list[_Layer], drawing: _Drawing, visible: float) -> bool:
    window, covering = _window(drawing), drawing[0][..., 3]
    return all(
        layer.uncovered - np.vdot(layer.mask[window], covering) >= visible * layer.area
        for layer in layers
    )


def _paint(
    canvas: np.ndarray, layers: list[_Layer], drawing: _Drawing, concept: int, artist: str
) -> _Layer:
    window, pixels = _window(drawing), drawing[0]
    alpha = pixels[..., 3:]
    canvas[window] = canvas[window] * (1 - alpha) + pixels[..., :3] * alpha
    for layer in layers:
        layer.mask[window] *= 1 - alpha[..., 0]
        layer.uncovered = float(layer.mask.sum())
    mask = np.zeros(canvas.shape[:2], np.float32)
    mask[window] = alpha[..., 0]
    area = float(mask.sum())
    return _Layer(concept, artist, mask, area, area)


def _describe(image: np.ndarray, layer: _Layer) -> SceneObject:
    mask = (layer.mask * 255).round().astype(np.uint8)
    height, width = mask.shape
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    box = (
        columns[0] / width,
        rows[0] / height,
        (columns[-1] + 1 - columns[0]) / width,
        (rows[-1] + 1 - rows[0]) / height,
    )
    red, green, blue = image[mask > 127].mean(axis=0)
    return SceneObject(layer.concept, layer.artist, mask, box, (red, green, blue))
