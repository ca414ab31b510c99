"""Figures and curves, on drawings that are discs."""

import json
from pathlib import Path

import numpy as np
import pytest
from open_clip import CLIP
from PIL import Image

from alphaclip.network.model import AlphaCLIP
from alphaclip.views.view import View
from recipes.nano.card import PHASES, draw_curves, make_card
from recipes.nano.drawings import concepts
from recipes.nano.figures import ALPHAS, encode_scenes, held_out_scenes, measure
from recipes.nano.recipe import NanoRecipe
from recipes.nano.region_queries import with_regions
from recipes.nano.scenes import Scene, SpriteBook, training_sets
from recipes.nano.training import NANO_FOLDER, with_alpha


@pytest.fixture(scope="module")
def untrained() -> AlphaCLIP:
    config = json.loads((NANO_FOLDER / "alphaclip-nano.json").read_text("utf-8"))
    return with_alpha(CLIP(**config))


@pytest.fixture(scope="module")
def regions(untrained: AlphaCLIP) -> AlphaCLIP:
    return with_regions(untrained, NanoRecipe(), 64)


@pytest.fixture(scope="module")
def scenes(disc_drawings: Path) -> list[Scene]:
    return held_out_scenes(SpriteBook(disc_drawings, training_sets()), 4, 1)


def test_encode_scenes__without_an_alpha_channel_alpha_does_not_count(
    untrained: AlphaCLIP, scenes: list[Scene]
) -> None:
    mask, box, ones = (encode_scenes(untrained, scenes, View("image"), a) for a in ALPHAS)
    assert len(mask) == sum(len(scene.objects) for scene in scenes)
    assert np.array_equal(mask, ones)
    assert np.array_equal(box, ones)


def test_measure__counts_and_ranges(
    untrained: AlphaCLIP, regions: AlphaCLIP, scenes: list[Scene]
) -> None:
    figures = measure(untrained, untrained, regions, scenes, View("context", 1.5))
    assert figures["regions"] == sum(len(scene.objects) for scene in scenes)
    assert figures["mask alpha"] == figures["all-ones alpha"]
    for way in (*(f"{alpha} alpha" for alpha in ALPHAS), "one pass, mask", "one pass, box"):
        row = figures[way]
        assert 0 <= row["recall@1"] <= row["recall@10"] <= 1
        assert 0 < row["map"] <= 1


def test_make_card__describes_the_model(
    untrained: AlphaCLIP,
    regions: AlphaCLIP,
    disc_drawings: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recipes.nano.card.fetch", lambda folder: None)
    monkeypatch.setattr("recipes.nano.card.held_out_sets", training_sets)
    card = make_card(untrained, untrained, regions, NanoRecipe(), disc_drawings, scenes=4)
    assert len(card["concepts"]) == len(concepts()) >= 400
    captions = card["figures"]["picture to caption, recall@1"]
    assert captions["base"] == captions["alpha fine-tune, all-ones alpha"]
    assert View(**card["default_view"])


def test_draw_curves__one_panel_for_each_phase(tmp_path: Path) -> None:
    row = {"step": 0, "loss": 4.0, "named": 6.0, "hit": 0.1}
    for name in PHASES:
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    draw_curves(tmp_path, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1500, 800)
