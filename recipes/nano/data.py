"""Batches for ``alphaclip-nano``, each made from its own seed: resuming needs only the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    SceneObject,
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
        boxes: share of regions whose alpha map is their box, not their mask
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
    """Pictures uint8 (P, 3, R, R), alpha maps uint8 (P, S, R, R) and N captions.

    The maps are numbered picture by picture, and ``rows``, int64 (N,), says which of them each
    caption is of. The whole pictures come last; ``whole`` of them, with alpha 255 everywhere.
    ``concepts``, int64 (N - whole,), says what each region shows. ``squares``,
    uint8 (N - whole, 4, 64, 64), has each region of whole pictures with its mask in a square of
    its own; where regions are pictures themselves there are none.
    """

    images: torch.Tensor
    alpha: torch.Tensor
    captions: list[str]
    concepts: torch.Tensor
    whole: int
    rows: torch.Tensor
    squares: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def to(self, device: str | torch.device) -> Batch:
        """The same batch with its tensors on a device."""
        names = ("images", "alpha", "concepts", "rows", "squares")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


_Pair = tuple[np.ndarray, np.ndarray, str]
"""A picture, its alpha map and its caption."""


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
        small = step < self._plan.small_steps
        size = self._plan.small_side if small else self._size
        return self._draw(np.random.default_rng([self._seed, step]), size)

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        """One picture for each caption."""
        plan = self._plan
        pairs, concepts, wholes = list[_Pair](), list[int](), list[_Pair]()
        most_wholes = round(plan.size * plan.whole)
        most_pairs = plan.size - most_wholes
        while len(pairs) < most_pairs or len(wholes) < most_wholes:
            needs_pairs = len(pairs) < most_pairs
            scene = compose(self._book, rng, scene_config(rng, plan) if needs_pairs else TRAINING)
            if not scene.objects:
                continue
            if needs_pairs:
                fresh = [o for o in scene.objects if o.concept not in concepts]
                for drawn in fresh[-min(plan.regions_per_scene, most_pairs - len(pairs)) :]:
                    pairs.append(_region_pair(scene, drawn, rng, plan, size))
                    concepts.append(drawn.concept)
            if len(wholes) < most_wholes:
                image = _crop(scene.image, _all_of(scene), size)
                alpha = np.full((size, size), 255, np.uint8)
                wholes.append((image, alpha, caption_scene(scene, rng)))
        images, alphas, captions = zip(*pairs, *wholes, strict=True)
        maps, rows = torch.from_numpy(np.stack(alphas))[:, None], torch.arange(plan.size)
        truth = torch.tensor(concepts)
        return Batch(_pixels(images), maps, list(captions), truth, len(wholes), rows)


SQUARE = (64, 1.2)
"""Side of a region's own square, in pixels and in longer box sides: as nano sees regions."""


class PictureBatches(NanoBatches):
    """Batches of ``plan.size`` whole pictures, each with its caption, and with all its regions."""

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        plan, most = self._plan, 1 + TRAINING.objects[1]
        images, wholes = list[np.ndarray](), list[str]()
        captions, concepts, rows = list[str](), list[int](), list[int]()
        squares = list[np.ndarray]()
        maps = np.zeros((plan.size, most, size, size), np.uint8)
        maps[:, 0] = 255
        while len(images) < plan.size:
            scene = compose(self._book, rng, scene_config(rng, plan))
            if not scene.objects:
                continue
            for number, drawn in enumerate(scene.objects, start=1):
                mask = _shown_mask(drawn, rng, plan)
                maps[len(images), number] = _crop(mask[..., None], _all_of(scene), size)[..., 0]
                rows.append(len(images) * most + number)
                captions.append(caption_object(drawn, rng))
                concepts.append(drawn.concept)
                window = square_window(scene.image.shape, drawn.box, SQUARE[1])
                squares.append(_crop(np.dstack([scene.image, drawn.mask]), window, SQUARE[0]))
            images.append(_crop(scene.image, _all_of(scene), size))
            wholes.append(caption_scene(scene, rng))
        every = torch.tensor(rows + [most * i for i in range(plan.size)])
        truth, alpha = torch.tensor(concepts), torch.from_numpy(maps)
        pixels, own = _pixels(images), _pixels(squares)
        return Batch(pixels, alpha, captions + wholes, truth, plan.size, every, own)


def _pixels(images: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _all_of(scene: Scene) -> tuple[float, float, float]:
    """The square window round a whole picture."""
    return square_window(scene.image.shape, (0, 0, 1, 1), 1.0)


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


def scene_config(rng: np.random.Generator, plan: BatchPlan) -> SceneConfig:
    """What the next scene of a plan looks like."""
    config = CLOSE_UP if rng.random() < plan.close_up else TRAINING
    return replace(config, augmentation=PLAIN) if rng.random() < plan.plain else config


def _region_pair(
    scene: Scene, drawn: SceneObject, rng: np.random.Generator, plan: BatchPlan, size: int
) -> _Pair:
    if rng.random() < plan.whole_view:
        window = _all_of(scene)
    else:
        window = square_window(scene.image.shape, drawn.box, rng.uniform(*plan.crop))
    mask = _shown_mask(drawn, rng, plan)
    caption = caption_object(drawn, rng)
    rgba = _crop(np.dstack([scene.image, mask]), window, size)
    return rgba[..., :3], rgba[..., 3], caption


def _shown_mask(drawn: SceneObject, rng: np.random.Generator, plan: BatchPlan) -> np.ndarray:
    """The alpha map of a region: its mask, or its box."""
    if not plan.boxes or rng.random() >= plan.boxes:
        return drawn.mask
    return Region.from_box(drawn.box).alpha_map(*drawn.mask.shape)


def _crop(pixels: np.ndarray, window: tuple[float, float, float], size: int) -> np.ndarray:
    """Cuts a square window, black beyond the border, and scales it to ``size`` pixels."""
    left, top, side = (round(value) for value in window)
    inside = pixels[max(0, top) : top + side, max(0, left) : left + side]
    square = np.zeros((side, side, pixels.shape[2]), np.uint8)
    row, column = max(0, -top), max(0, -left)
    square[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    scaled = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return scaled.reshape(size, size, -1)  # OpenCV leaves out a channel that is alone.
