"""A few steps of both phases, and going on after a stop."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from open_clip import CLIP

from alphaclip.catalog.zoo import NANO
from alphaclip.network.factory import create_model
from alphaclip.training.finetune import loop
from alphaclip.training.finetune.loop import make_loader
from recipes.nano.data import BatchPlan
from recipes.nano.recipe import NanoRecipe, Phase
from recipes.nano.training import (
    save_regions,
    train_alpha,
    train_base,
    train_regions,
    with_regions,
)


@pytest.fixture
def recipe() -> NanoRecipe:
    plan = BatchPlan(size=8)
    base = Phase(2, 1e-3, warm_up=1, decay=0.0, plan=plan)
    alpha = Phase(2, 1e-4, 1e-3, warm_up=1, decay=0.0, plan=replace(plan, boxes=0.5))
    regions = replace(alpha, plan=BatchPlan(size=3, boxes=0.5))
    return NanoRecipe(base=base, alpha=alpha, region_side=32, regions=regions)


@pytest.fixture
def made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are made in this process; one that is started for them takes seconds to import."""
    monkeypatch.setattr(loop, "make_loader", lambda batches, _: make_loader(batches, workers=0))


@pytest.mark.usefixtures("made_here")
def test_train__alpha_fine_tune_leaves_the_text_tower_alone(
    disc_drawings: Path, tmp_path: Path, recipe: NanoRecipe
) -> None:
    base = train_base(recipe, disc_drawings, tmp_path)
    model = train_alpha(recipe, base, disc_drawings, tmp_path)
    tuned, start = model.clip.state_dict(), base.state_dict()
    changed = {name for name in start if not torch.equal(tuned[name], start[name])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)
    assert tuned["visual.conv1_alpha.weight"].abs().max() > 0


def test_train__goes_on_where_it_stopped(
    disc_drawings: Path,
    tmp_path: Path,
    recipe: NanoRecipe,
    request: pytest.FixtureRequest,
) -> None:
    whole = train_base(recipe, disc_drawings, _folder(tmp_path / "whole"))
    request.getfixturevalue("made_here")
    short = replace(recipe, base=replace(recipe.base, steps=1))
    stopped = _folder(tmp_path / "stopped")
    train_base(short, disc_drawings, stopped)
    with (stopped / "base.jsonl").open("a") as log:
        log.write('{"step": 1, "loss": 4.0}\n')
    resumed = train_base(recipe, disc_drawings, stopped)
    assert _distance(whole, resumed) < 1e-6
    rows = [json.loads(line) for line in (stopped / "base.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]


@pytest.mark.usefixtures("made_here")
def test_train__region_queries_are_a_file_of_changes_to_nano(
    disc_drawings: Path, tmp_path: Path, recipe: NanoRecipe
) -> None:
    nano = create_model(NANO)
    model = train_regions(recipe, nano, disc_drawings, tmp_path)
    path = tmp_path / "model.safetensors"
    save_regions(model, path)
    assert path.stat().st_size < 5_000_000
    loaded = create_model(NANO, changes=path).clip.state_dict()
    trained = model.clip.state_dict()
    assert {n for n, t in loaded.items() if (t - trained[n]).abs().max() > 2e-3} == set()
    start = with_regions(nano, recipe).clip.state_dict()
    changed = {name for name in start if not torch.equal(trained[name], start[name])}
    assert "visual.regions.scale.0" in changed
    assert not any(".resblocks.1." in name or "conv1" in name for name in changed)
    assert all(name.startswith("visual.") for name in changed)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _distance(first: CLIP, second: CLIP) -> float:
    other = second.state_dict()
    return max(float((t - other[n]).abs().max()) for n, t in first.state_dict().items())
