"""What captions say."""

import re

import numpy as np
import pytest

from recipes.nano.captions import caption_scene, color_word, join, plain_scene_caption
from recipes.nano.drawings import DRAWING_SETS, concepts
from recipes.nano.recipe import NanoRecipe, Phase
from recipes.nano.scenes import Scene, SceneObject, held_out_sets, training_sets


def scene(*names: str) -> Scene:
    places = {concept.name: i for i, concept in enumerate(concepts())}
    mask = np.ones((4, 4), np.uint8)
    objects = (
        SceneObject(places[name], "noto", mask, (0.8 - 0.2 * i, 0, 0.2, 1), (200, 0, 0))
        for i, name in enumerate(names)
    )
    return Scene(np.zeros((4, 4, 3), np.uint8), tuple(objects))


def test_concepts__at_least_400_and_each_once() -> None:
    names = [concept.name for concept in concepts()]
    assert len(names) >= 400
    assert len(set(names)) == len(names)
    assert len({concept.code_point for concept in concepts()}) == len(names)


def test_drawing_sets__the_kept_out_artist_is_not_trained_on() -> None:
    assert {s.artist for s in held_out_sets()} == {"OpenMoji"}
    assert not {s.artist for s in held_out_sets()} & {s.artist for s in training_sets()}
    assert len(training_sets()) + len(held_out_sets()) == len(DRAWING_SETS)


def test_join() -> None:
    assert join(["a"]) == "a"
    assert join(["a", "b"]) == "a and b"
    assert join(["a", "b", "c"]) == "a, b and c"


def test_plain_scene_caption__names_everything_left_to_right() -> None:
    assert plain_scene_caption(scene("dog", "owl")) == "a drawing of an owl and a dog"


def test_caption_scene__names_everything() -> None:
    caption = caption_scene(scene("dog", "owl", "pizza"), np.random.default_rng(0))
    assert all(name in caption for name in ("dog", "owl", "pizza"))


def test_caption_scene__says_how_many_there_are_or_where_one_is_from_another() -> None:
    # The dog is drawn 0.2 of the picture to the right of the owl.
    captions = {
        caption_scene(scene("dog", "owl"), np.random.default_rng(seed)) for seed in range(100)
    }
    said = " / ".join(captions)
    assert "two drawings, " in said
    assert re.search(r"dog[^/]* right of [^/]*owl", said)
    assert re.search(r"owl[^/]* left of [^/]*dog", said)
    assert not re.search("above|below|owl[^/]* right of|dog[^/]* left of", said)


@pytest.mark.parametrize(
    ("color", "word"),
    [
        ((255, 0, 0), "red"),
        ((0, 200, 0), "green"),
        ((0, 0, 255), "blue"),
        ((10, 10, 10), "black"),
        ((250, 250, 250), "white"),
        ((128, 128, 128), "gray"),
        ((110, 60, 20), "brown"),
    ],
)
def test_color_word(color: tuple[float, float, float], word: str) -> None:
    assert color_word(color) == word


def test_phase__rates_rise_stay_and_fall() -> None:
    phase = Phase(steps=100, rate=1.0, warm_up=10, decay=0.5)
    assert phase.scale(0) == pytest.approx(0.1)
    assert phase.scale(30) == 1
    assert phase.scale(75) == pytest.approx(0.5)
    assert phase.scale(99) == pytest.approx(0.02)


def test_recipe__is_json() -> None:
    import json

    recipe = NanoRecipe()
    assert json.loads(json.dumps(recipe.to_dict()))["alpha"]["steps"] == recipe.alpha.steps
