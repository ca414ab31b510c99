"""Batches for ``alphaclip-nano``, each made from its own seed: resuming needs only the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from alphaclip.regions.region import Region
from recipes.nano.augment import PLAIN
from recipes.nano.captions import caption_object, caption_scene
from recipes.nano.scenes import (
    CLOSE_UP,
    TRAINING,
    Scene,
    SceneConfig,
    SpriteBook,
    compose,
    training_sets,
)


@dataclass(frozen=True)
class BatchPlan:
    """What a batch holds.

    Attributes:
        size: pictures in a batch
        regions_per_scene: most objects of one scene that become pictures of their own
        whole: share of whole pictures with the whole caption; in the alpha phase this is r_s
        close_up: chance that a scene is a close-up of one or two drawings
        plain: chance that a scene's drawings stay as their artists made them
        crop: least and most side of an object's crop, in longer box sides
        whole_view: share of an alpha batch's regions seen in the whole picture, not in a crop
        boxes: share of an alpha batch's regions whose alpha map is their box, not their mask
        small_steps: first steps, whose pictures are smaller and cost less
        small_side: side of those, in pixels
    """

    size: int = 64
    regions_per_scene: int = 3
    whole: float = 0.3
    close_up: float = 0.3
    plain: float = 0.4
    crop: tuple[float, float] = (1.1, 2.2)
    whole_view: float = 0.25
    boxes: float = 0.0
    small_steps: int = 0
    small_side: int = 48


@dataclass(frozen=True)
class Batch:
    """Pictures uint8 (N, 3, R, R), alpha maps uint8 (N, 1, R, R) and N captions.

    The whole pictures come last; ``whole`` of them, with alpha 255 everywhere. ``concepts``,
    int64 (N - whole,), says what each region shows.
    """

    images: torch.Tensor
    alpha: torch.Tensor
    captions: list[str]
    concepts: torch.Tensor
    whole: int

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on a device."""
        tensors = {name: getattr(self, name).to(device) for name in ("images", "alpha", "concepts")}
        return replace(self, **tensors)


class NanoBatches(Dataset[Batch]):
    """Item ``i`` is the batch of step ``start + i``.

    Args:
        drawings: the folder of :func:`~recipes.nano.drawings.fetch`
        plan: what a batch holds
        size: side of the pictures, in pixels, after ``plan.small_steps``
        seed: with the step, the seed of everything in a batch
        start: first step
        stop: step after the last
    """

    def __init__(
        self, drawings: Path, plan: BatchPlan, size: int, seed: int, start: int, stop: int
    ) -> None:
        self._drawings, self._plan, self._size = drawings, plan, size
        self._seed, self._start, self._stop = seed, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    @cached_property
    def _book(self) -> SpriteBook:
        """Read in the process that draws, not sent to it."""
        return SpriteBook(self._drawings, training_sets())

    def __getitem__(self, index: int) -> Batch:
        cv2.setNumThreads(1)
        step = self._start + index
        rng = np.random.default_rng([self._seed, step])
        pairs = _Pairs(self._plan.small_side if step < self._plan.small_steps else self._size)
        wholes = round(self._plan.size * self._plan.whole)
        while len(pairs) < self._plan.size - wholes:
            scene = compose(self._book, rng, _scene_config(rng, self._plan))
            room = self._plan.size - wholes - len(pairs)
            _add_regions(pairs, scene, rng, self._plan, room)
            if pairs.wholes < wholes:
                pairs.add_whole(scene, caption_scene(scene, rng))
        while pairs.wholes < wholes:
            scene = compose(self._book, rng, TRAINING)
            pairs.add_whole(scene, caption_scene(scene, rng))
        return pairs.batch()


def square_window(
    shape: Sequence[int], box: Sequence[float], context: float
) -> tuple[float, float, float]:
    """The square crop round a box: left, top and side, in pixels.

    Args:
        shape: height and width of the picture
        box: relative ``[x, y, w, h]``
        context: side of the crop in longer box sides
    """
    height, width = shape[:2]
    side = context * max(box[2] * width, box[3] * height)
    center_x, center_y = (box[0] + box[2] / 2) * width, (box[1] + box[3] / 2) * height
    return center_x - side / 2, center_y - side / 2, side


def _scene_config(rng: np.random.Generator, plan: BatchPlan) -> SceneConfig:
    config = CLOSE_UP if rng.random() < plan.close_up else TRAINING
    return replace(config, augmentation=PLAIN) if rng.random() < plan.plain else config


def _add_regions(
    pairs: _Pairs, scene: Scene, rng: np.random.Generator, plan: BatchPlan, room: int
) -> None:
    fresh = [o for o in scene.objects if o.concept not in pairs.concepts]
    for found in fresh[-min(plan.regions_per_scene, room) :]:
        if rng.random() < plan.whole_view:
            window = square_window(scene.image.shape, (0, 0, 1, 1), 1.0)
        else:
            window = square_window(scene.image.shape, found.box, rng.uniform(*plan.crop))
        boxed = bool(plan.boxes) and rng.random() < plan.boxes
        height, width = found.mask.shape
        mask = Region.from_box(found.box).alpha_map(height, width) if boxed else found.mask
        caption = caption_object(found, rng)
        pairs.add_region(found.concept, np.dstack([scene.image, mask]), window, caption)


class _Pairs:
    """Collects region-text pairs and whole pictures."""

    def __init__(self, size: int) -> None:
        self.concepts: list[int] = []
        self._size = size
        self._regions: list[tuple[np.ndarray, np.ndarray, str]] = []
        self._wholes: list[tuple[np.ndarray, np.ndarray, str]] = []

    def __len__(self) -> int:
        return len(self._regions)

    @property
    def wholes(self) -> int:
        return len(self._wholes)

    def add_region(
        self, concept: int, rgba: np.ndarray, window: tuple[float, float, float], caption: str
    ) -> None:
        self.concepts.append(concept)
        self._regions.append((*_split(_crop(rgba, window, self._size)), caption))

    def add_whole(self, scene: Scene, caption: str) -> None:
        window = square_window(scene.image.shape, (0, 0, 1, 1), 1.0)
        image = _crop(scene.image, window, self._size)
        alpha = np.full((self._size, self._size), 255, np.uint8)
        self._wholes.append((image, alpha, caption))

    def batch(self) -> Batch:
        images, alpha, captions = zip(*self._regions, *self._wholes, strict=True)
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        maps = torch.from_numpy(np.stack(alpha))[:, None]
        return Batch(pixels, maps, list(captions), torch.tensor(self.concepts), self.wholes)


def _crop(pixels: np.ndarray, window: tuple[float, float, float], size: int) -> np.ndarray:
    """Cuts a square window, black beyond the border, and scales it to ``size`` pixels."""
    left, top, side = (round(value) for value in window)
    inside = pixels[max(0, top) : top + side, max(0, left) : left + side]
    square = np.zeros((side, side, pixels.shape[2]), np.uint8)
    row, column = max(0, -top), max(0, -left)
    square[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)


def _split(rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rgba[..., :3], rgba[..., 3]
