"""Captions of scenes and of their objects, phrased in many ways."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from alphaclip.training.datasets.words import article, position_words, size_word
from recipes.nano.drawings import Concept, concepts
from recipes.nano.scenes import Scene, SceneObject

TEMPLATES = (
    "a drawing of {}",
    "{}",
    "a picture of {}",
    "a cartoon of {}",
    "an emoji of {}",
    "there is {} here",
    "this is {}",
    "a small drawing showing {}",
    "look, {}",
    "an icon of {}",
)
"""What goes round a phrase; the first is the one that figures are measured with."""


def caption_object(drawn: SceneObject, rng: np.random.Generator) -> str:
    """A caption of one object, for the region-text pair (scene, mask of the object)."""
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(_phrase(drawn, rng))


def caption_scene(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the whole picture, naming every object in some order."""
    drawn = [scene.objects[i] for i in rng.permutation(len(scene.objects))]
    detailed = rng.random() < 0.3
    phrases = [_phrase(one, rng) if detailed else article(_name(one)) for one in drawn]
    chance = rng.random()
    if len(drawn) > 1 and chance < 0.15:
        said = f"{phrases[0]} {relation(drawn[0], drawn[1])} {phrases[1]}"
    elif chance < 0.25:
        said = f"{COUNTS[len(drawn)]} drawings, {join(phrases)}"
    else:
        said = join(phrases)
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(said)


COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
"""Words for the numbers of drawings that a scene may have."""


def relation(one: SceneObject, other: SceneObject) -> str:
    """Where one is, seen from another, by the direction in which their middles are further apart:
    "left of", "right of", "above" or "below"."""
    across, down = (
        one.box[i] + one.box[i + 2] / 2 - other.box[i] - other.box[i + 2] / 2 for i in (0, 1)
    )
    if abs(across) > abs(down):
        return "left of" if across < 0 else "right of"
    return "above" if down < 0 else "below"


def plain_scene_caption(scene: Scene) -> str:
    """The caption that picture-to-caption recall is measured with: every name, left to right."""
    ordered = sorted(scene.objects, key=lambda o: o.box[0] + o.box[2] / 2)
    return TEMPLATES[0].format(join([article(_name(o)) for o in ordered]))


def join(phrases: Sequence[str]) -> str:
    """``["a", "b", "c"]`` as ``"a, b and c"``."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _name(drawn: SceneObject) -> str:
    return concepts()[drawn.concept].name


def _phrase(drawn: SceneObject, rng: np.random.Generator) -> str:
    noun = _noun(concepts()[drawn.concept], rng)
    if rng.random() < 0.2:
        noun = f"{color_word(drawn.color)} {noun}"
    if rng.random() < 0.1:
        noun = f"{size_word(drawn.box)} {noun}"
    phrase = article(noun) if rng.random() < 0.7 else noun
    if rng.random() < 0.15:
        phrase = f"{phrase} {position_words(drawn.box)}"
    return phrase


def _noun(concept: Concept, rng: np.random.Generator) -> str:
    chance = rng.random()
    if not concept.keywords or chance < 0.8:
        return concept.name
    keyword = concept.keywords[rng.integers(len(concept.keywords))]
    return f"{concept.name}, {keyword}" if chance < 0.92 else f"{keyword} {concept.name}"


def color_word(color: tuple[float, float, float]) -> str:
    """The everyday name of an RGB colour with values in [0, 255]."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in color))
    if lightness < 0.15:
        return "black"
    if lightness > 0.9:
        return "white"
    if saturation < 0.15:
        return "gray"
    if lightness < 0.4 and 0.03 < hue < 0.13:
        return "brown"
    names = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "red")
    edges = (0.03, 0.11, 0.19, 0.44, 0.53, 0.72, 0.83, 0.95)
    return names[int(np.searchsorted(edges, hue))]
