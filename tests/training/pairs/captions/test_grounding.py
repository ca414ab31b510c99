"""Boxes for phrases: SAM's masks and an encoder of colours on drawn scenes, and detectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.sam.masks import MaskLimits
from alphaclip.sam.sam import SamModel, load_sam
from alphaclip.training.pairs.captions.fiftyone_grounding import find_zoo_detector
from alphaclip.training.pairs.captions.grounding import (
    MatchSettings,
    SamGrounder,
)
from recipes.small_sam.scenes import ShapeScene, draw_scene

WEIGHTS = Path(__file__).parents[3] / "sam_vit_nano.safetensors"
LIMITS = MaskLimits(min_quality=0.7, min_stability=0.9, max_area=0.5)
SCENES = 8
RIGHT_SHARE = 0.8
"""Of 51 shapes in 25 scenes, at 16 points a side, 48 were found, with IoU above one half."""


class WordColours:
    """A region's vector is its mean colour; a phrase's the colour it stands for."""

    name = "colours"

    def __init__(self, colours: dict[str, np.ndarray]) -> None:
        self._colours = colours

    def encode_regions(self, image: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
        maps = [region.alpha_map(*image.shape[:2]) > 127 for region in regions]
        return self._unit([image[mask].mean(axis=0) for mask in maps])

    def encode_text(self, phrases: Sequence[str], templates: object) -> np.ndarray:
        return self._unit([self._colours[phrase] for phrase in phrases])

    def _unit(self, colours: Sequence[np.ndarray]) -> np.ndarray:
        rows = np.array(colours, np.float64) - 128
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


def scenes() -> Iterator[tuple[ShapeScene, dict[str, np.ndarray]]]:
    """Scenes, and the colours of their shapes by a name."""
    for number in range(SCENES):
        scene = draw_scene(np.random.default_rng(3_000_000 + number))
        yield (
            scene,
            {
                f"{place} {shape.name}": scene.image[shape.mask].mean(axis=0)
                for place, shape in enumerate(scene.shapes)
            },
        )


def grounder(small: SamModel, colours: dict[str, np.ndarray], **settings: float) -> SamGrounder:
    match = MatchSettings(
        **{"least_cosine": 0.9, "least_margin": 0.0, **settings},
        points_per_side=8,
        limits=LIMITS,
    )
    return SamGrounder(small, WordColours(colours), match)


def test_sam_grounder__finds_most_shapes_by_their_colours(small: SamModel) -> None:
    right = []
    for scene, colours in scenes():
        found = grounder(small, colours).ground(scene.image, list(colours))
        for boxes, shape in zip(found, scene.shapes, strict=True):
            x, y, w, h = shape.box
            truth = torch.tensor([[x, y, x + w, y + h]])
            right.append(bool(boxes) and box_iou(torch.tensor([boxes[0].corners]), truth) > 0.5)
    assert len(right) >= 15
    assert np.mean(right) >= RIGHT_SHARE


def test_sam_grounder__what_is_not_there_or_not_alone_is_not_found(small: SamModel) -> None:
    scene, colours = next(found for found in scenes() if len(found[0].shapes) > 1)
    names = list(colours)
    far = {"nothing": 255.0 - colours[names[0]]}
    assert grounder(small, far, least_cosine=0.999).ground(scene.image, ["nothing"]) == [[]]
    strict = grounder(small, colours, least_margin=1.99)
    assert strict.ground(scene.image, names[:1]) == [[]]
    assert strict.ground(scene.image, []) == []


def test_sam_grounder__its_name_has_all_that_decides(small: SamModel) -> None:
    names = {grounder(small, {}, least_cosine=value).name for value in (0.1, 0.2)}
    assert len(names) == 2
    assert all("colours" in name and small.name in name for name in names)


def test_find_zoo_detector__by_the_zoos_name() -> None:
    assert find_zoo_detector("grounding-dino-tiny-torch") == "IDEA-Research/grounding-dino-tiny"
    with pytest.raises(AlphaClipError, match="has no model 'no-such-model'"):
        find_zoo_detector("no-such-model")
    with pytest.raises(AlphaClipError, match="no zero-shot detector"):
        find_zoo_detector("resnet50-imagenet-torch")
