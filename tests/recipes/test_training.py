"""A few steps of each phase, and going on after a stop."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import CLIP

from alphaclip.catalog.zoo import NANO
from alphaclip.network.factory import create_model
from alphaclip.training.finetune import loop
from alphaclip.training.finetune.loop import make_loader
from recipes.nano.data import BatchPlan
from recipes.nano.drawings import concepts
from recipes.nano.parts import join_parts
from recipes.nano.recipe import NanoRecipe, Phase
from recipes.nano.region_queries import save_regions, train_regions, with_regions
from recipes.nano.text_tower import CaptionBatches, CaptionedPictures, train_captions
from recipes.nano.training import nano_tokenizer, train_alpha, train_base


@pytest.fixture
def recipe() -> NanoRecipe:
    plan = BatchPlan(size=8)
    base = Phase(2, 1e-3, warm_up=1, decay=0.0, plan=plan)
    alpha = Phase(2, 1e-4, 1e-3, warm_up=1, decay=0.0, plan=replace(plan, boxes=0.5))
    regions = replace(alpha, plan=BatchPlan(size=3, boxes=0.5))
    sides = (64, 72)
    captions = Phase(2, 1e-3, warm_up=1, decay=0.0, plan=plan)
    return NanoRecipe(
        base=base, alpha=alpha, region_sides=sides, regions=regions, finer=regions,
        captions=captions, caption_parts=2,
    )  # fmt: skip


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
    start = with_regions(nano, recipe, 72).clip.state_dict()
    changed = {name for name in start if not torch.equal(trained[name], start[name])}
    assert "visual.regions.scale.0" in changed
    assert not any(".resblocks.1." in name or "conv1" in name for name in changed)
    assert all(name.startswith("visual.") for name in changed)


@pytest.mark.usefixtures("made_here")
def test_train__captions_change_the_text_tower_alone_and_hardly_what_things_are_called(
    disc_drawings: Path, tmp_path: Path, recipe: NanoRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.nano.text_tower.PART", 5)
    monkeypatch.setattr("recipes.nano.text_tower.make_loader", partial(make_loader, workers=0))
    nano = create_model(NANO)
    regions = with_regions(nano, recipe, 64)
    weights = train_captions(recipe, nano, regions, disc_drawings, tmp_path)
    before = nano.clip.state_dict()
    assert set(weights) == {
        name for name in before if not name.startswith(("visual.", "logit_scale", "attn_mask"))
    }
    assert all(not torch.equal(weight, before[name]) for name, weight in weights.items())
    tokens = nano_tokenizer(nano.clip.context_length)(["a drawing of a cat", "an icon of a tree"])
    stayed = nano.clip.encode_text(tokens, normalize=True)
    nano.clip.load_state_dict(weights, strict=False)
    moved = nano.clip.encode_text(tokens, normalize=True)
    assert (stayed * moved).sum(dim=1).min() > 0.98

    # What is drawn is read when it goes on, and what is missing is drawn.
    parts = sorted((tmp_path / "pictures").iterdir())
    assert [part.name for part in parts] == ["0000.npz", "0001.npz"]
    first, second = (part.read_bytes() for part in parts)
    parts[1].unlink()
    (tmp_path / "captions.pt").unlink()
    again = train_captions(recipe, create_model(NANO), regions, disc_drawings, tmp_path)
    assert [part.read_bytes() for part in parts] == [first, second]
    assert all(torch.equal(weight, again[name]) for name, weight in weights.items())


def test_caption_batches__a_picture_is_found_by_what_is_seen_and_by_what_is_in_it() -> None:
    def pictures(*captions: str) -> CaptionedPictures:
        """Two pictures: one of the first two concepts, one of the third."""
        return CaptionedPictures(
            np.stack([np.full((2, 5), len(caption), np.float16) for caption in captions]),
            np.array(captions),
            np.array(["one", "two", "three"]),
            np.array([0, 1, 2]),
            np.array([2, 1]),
        )

    joined = join_parts([pictures("1", "22"), pictures("333", "4444")])
    assert joined.counts.tolist() == [2, 1, 2, 1]
    batches = CaptionBatches(joined, torch.eye(5), 4, seed=0, start=3, stop=9)
    assert len(batches) == 6
    batch = batches[0]
    names, nano, whole = batch.targets
    assert torch.equal(nano, whole)
    rows = (nano[:, 0].long() - 1).tolist()
    assert sorted(rows) == [0, 1, 2, 3]
    said = [concept.name for concept in concepts()[:3]]
    for row, caption, target in zip(rows, batch.captions, names, strict=True):
        own = [0, 1] if row % 2 == 0 else [2]
        assert target.tolist() == pytest.approx([len(own) ** -0.5 * (i in own) for i in range(5)])
        assert caption == joined.captions[row] or all(said[i] in caption for i in own)
    assert {*batch.captions} - {*joined.captions}
    assert {*batch.objects} == {"one", "two", "three"}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _distance(first: CLIP, second: CLIP) -> float:
    other = second.state_dict()
    return max(float((t - other[n]).abs().max()) for n, t in first.state_dict().items())
