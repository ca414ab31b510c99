"""Regions of drawn scenes: nano's vector of each, and what there is to say of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.region import Region
from recipes.captioner.texts import Facts
from recipes.nano.captions import color_word
from recipes.nano.data import BatchPlan, scene_config
from recipes.nano.parts import join_parts, read_part, write_part
from recipes.nano.scenes import Scene, SceneObject, SpriteBook, compose

logger = logging.getLogger(__name__)

PART = 250
"""Scenes in a file: a minute's work or two, which is what a stop may lose."""


@dataclass(frozen=True)
class SceneRegions:
    """Regions, and what is true of each.

    Attributes:
        vectors: float16 (n, dim), of unit length
        boxes: float32 (n, 4), relative ``[x, y, w, h]``
        concepts: int64 (n,), see :func:`~recipes.nano.drawings.concepts`
        colors: (n,), the everyday name of each one's
        counts: int64 (n,), drawings in its scene
    """

    vectors: np.ndarray
    boxes: np.ndarray
    concepts: np.ndarray
    colors: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def facts(self, number: int) -> Facts:
        """What is true of one of them."""
        concept, count = int(self.concepts[number]), int(self.counts[number])
        return Facts.of(concept, str(self.colors[number]), self.boxes[number].tolist(), count)


def draw_regions(
    encoder: Encoder, book: SpriteBook, folder: Path, parts: range, plan: BatchPlan, seed: int,
    crops: bool = False,
) -> SceneRegions:  # fmt: skip
    """Draws scenes and encodes their regions; parts that are in the folder are read.

    Args:
        encoder: nano
        book: the drawings to take from
        folder: for the parts
        parts: numbers of parts, ``PART`` scenes each; scene i has the seed ``[seed, i]``
        plan: what scenes are like, and which share of regions is seen by its box
        seed: of everything
        crops (False): see :func:`encode_scenes`
    """
    return join_parts([_part(encoder, book, folder, number, plan, seed, crops) for number in parts])


def encode_scenes(
    encoder: Encoder,
    scenes: Sequence[Scene],
    boxed: float = 0.0,
    seed: int = 0,
    crops: bool = False,
) -> SceneRegions:
    """Every object of every scene, in order.

    Args:
        encoder: nano
        scenes: drawn
        boxed (0.0): share of regions that are seen by their box, the others by their mask
        seed: of which these are
        crops (False): to encode each object's box as a picture of its own, all of it meant: what
            describing crops without alpha would be
    """
    rng = np.random.default_rng(seed)

    def region(drawn: SceneObject) -> Region:
        if rng.random() < boxed:
            return Region.from_box(drawn.box)
        return Region.from_mask(drawn.mask > 127)

    items = [(scene.image, [region(drawn) for drawn in scene.objects]) for scene in scenes]
    if crops:
        drawn_in = ((scene.image, drawn.box) for scene in scenes for drawn in scene.objects)
        items = [(_crop(*each), [Region.whole_image()]) for each in drawn_in]
    vectors = np.concatenate(list(encoder.encode_many(items)))
    drawn = [each for scene in scenes for each in scene.objects]
    return SceneRegions(
        vectors.astype(np.float16),
        np.array([each.box for each in drawn], np.float32),
        np.array([each.concept for each in drawn]),
        np.array([color_word(each.color) for each in drawn]),
        np.array([len(scene.objects) for scene in scenes for _ in scene.objects]),
    )


def _crop(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The pixels of a box, relative ``[x, y, w, h]``."""
    height, width = image.shape[:2]
    x, y, w, h = (round(value) for value in np.multiply(box, (width, height, width, height)))
    return np.ascontiguousarray(image[y : y + h, x : x + w])


def _part(
    encoder: Encoder, book: SpriteBook, folder: Path, number: int, plan: BatchPlan, seed: int,
    crops: bool,
) -> SceneRegions:  # fmt: skip
    path = folder / f"part-{number:05d}.npz"
    if not path.exists():
        cv2.setNumThreads(1)
        scenes = list(_scenes(book, plan, seed, number))
        regions = encode_scenes(encoder, scenes, plan.boxes, number, crops)
        write_part(path, regions)
        logger.info("%s: %d regions", path.name, len(regions))
    return read_part(path, SceneRegions)


def _scenes(book: SpriteBook, plan: BatchPlan, seed: int, part: int) -> Iterator[Scene]:
    for number in range(part * PART, (part + 1) * PART):
        rng = np.random.default_rng([seed, number])
        yield compose(book, rng, scene_config(rng, plan))
