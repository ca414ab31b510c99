"""Method ``regions``: all regions of a picture in one pass of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alphaclip import Region, load
from alphaclip.encoder.pooling import Pooled
from alphaclip.errors import AlphaClipError
from alphaclip.training.finetune.batches import PairBatch, PairBatches
from alphaclip.training.finetune.checkpoints import RunState
from alphaclip.training.finetune.exporting import export_hub
from alphaclip.training.finetune.optimization.optimizer import make_optimizer
from alphaclip.training.finetune.optimization.steps import TrainingStep
from alphaclip.training.finetune.optimization.trainable import prepare
from alphaclip.training.finetune.run import finetune
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.weights.architectures import read_config

from .. import shape_pairs

FIELDS = {"method": "regions", "region_blocks": 2, "region_count": 3, "whole_share": 0.5}
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
BOXES = [Region.from_box(box) for box in ([0.1, 0.1, 0.3, 0.2], [0.5, 0.4, 0.4, 0.5])]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shape_pairs.write_shapes(tmp_path_factory.mktemp("pairs") / "shapes")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shape_pairs.write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shapes: Path, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tuned"
    fields = {**FIELDS, "evaluate": [str(shapes)], "geometry": "context", "context": [1.5, 6.0]}
    fields |= {"image_size": 48, "region_teacher": 1.0, "flip": True}
    config = shape_pairs.config_of(folder, shapes, tiny, alpha_rate=0.3, **fields)
    assert finetune(config).finished
    return folder


def test_run__is_loaded_as_it_was_measured(run: Path, tmp_path: Path) -> None:
    encoder = load(run / "last")
    assert encoder.view.kind == "cover" and encoder.view.context == 3.75
    assert encoder.image_size == 48
    vectors = encoder.encode_regions(PICTURE, BOXES)
    assert vectors @ vectors.T == pytest.approx(np.eye(2), abs=0.9999)
    named = load(f"{run / 'last'}+regions", view=encoder.view)
    np.testing.assert_array_equal(named.encode_regions(PICTURE, BOXES), vectors)
    assert named.fingerprint == encoder.fingerprint
    blind = load(f"{run / 'last'}+cover+maskattn")
    assert blind.fingerprint != encoder.fingerprint
    assert np.abs(blind.encode_regions(PICTURE, BOXES) - vectors).max() > 1e-4
    export_hub(run, tmp_path / "hub")
    shared = load(tmp_path / "hub")
    np.testing.assert_allclose(shared.encode_regions(PICTURE, BOXES), vectors, atol=1e-6)


def test_run__learns_how_much_heads_keep_to_the_masks(run: Path) -> None:
    encoder = load(run / "last")
    scale = encoder._model.clip.visual.regions.scale
    assert len(scale) == 2
    assert all(((one - 1).abs() > 1e-3).any() for one in scale)


def test_batches__a_row_is_a_picture_with_its_regions(shapes: Path, tiny: Path) -> None:
    config = shape_pairs.config_of(Path("x"), shapes, tiny, **FIELDS)
    batch = PairBatches(open_pairs(shapes), config, read_config(tiny / "shapes.json"), 32)[0].batch
    assert batch.images.shape == (8, 3, 32, 32) and batch.alpha.shape == (8, 3, 1, 32, 32)
    assert batch.tokens.shape == (8, 3, 16) and batch.regions == 3 and len(batch.split(3)) == 3
    texts = batch.tokens.any(-1)
    # Two regions of each picture, and a whole picture in about half of the rows.
    assert texts[:, :2].all() and (texts[:, 2] == batch.whole[:, 2]).all()
    assert 0 < int(batch.whole.sum()) < 8
    shown = batch.alpha.flatten(2).any(-1)
    assert (shown == texts).all() and (batch.alpha[batch.whole] == 255).all()


@pytest.mark.parametrize(
    ("fields", "trained"),
    [
        ({}, {"regions.scale.0", "regions.scale.1"}),
        ({"region_bias": "fixed", "region_edge": 1.0, "unfrozen_blocks": 1}, set()),
        ({"region_alpha": True}, {"regions.scale.0", "regions.scale.1", "conv1_alpha.weight"}),
        ({"lora_rank": 2, "region_negatives": False}, {"regions.scale.0", "regions.scale.1"}),
    ],
)
def test_step__trains_what_is_asked_for(
    shapes: Path, tiny: Path, fields: dict, trained: set[str]
) -> None:
    if "lora_rank" in fields:
        pytest.importorskip("peft")
    config = shape_pairs.config_of(Path("x"), shapes, tiny, **FIELDS, **fields)
    model = load(tiny)._model
    trainable = prepare(model, config)
    names = set(trainable.trained())
    assert {n for n in names if n.startswith("regions.") or "alpha" in n} == trained
    batch = PairBatches(open_pairs(shapes), config, model.config, 32)[0].batch
    before = trainable.encode_image(batch.images, batch.alpha).detach()
    step = TrainingStep(trainable, make_optimizer(trainable.trained(), config), config)
    result = step.run(batch, 1.0)
    assert np.isfinite(result.loss) and result.gradient_norm > 0
    assert (trainable.encode_image(batch.images, batch.alpha) - before).abs().max() > 1e-5


def test_step__an_attention_pools_query_learns_to_pass_a_block(
    make_model: Callable, make_config: Callable, make_batch: Callable
) -> None:
    fields = {"region_blocks": 2, "region_count": 2, "batch_size": 4, "alpha_rate": 0.1}
    model, config = make_model("siglip"), make_config(method="regions", **fields)
    rows = make_batch(rows=8, size=160)
    alpha, tokens, whole = (
        tensor.unflatten(0, (4, 2)) for tensor in (rows.alpha, rows.tokens, rows.whole)
    )
    batch = PairBatch(rows.images[:4], alpha, tokens, None, whole, rows.keys[:4])
    trainable = prepare(model, config)
    step = TrainingStep(trainable, make_optimizer(trainable.trained(), config), config)
    losses = [step.run(batch, 1.0).loss for _ in range(3)]
    queries = model.clip.visual.regions
    assert losses[-1] < losses[0] and queries.gate.abs().max() > 0
    assert all((scale != 1).any() for scale in queries.scale)


def test_step__cached_gradient_is_the_whole_batchs(shapes: Path, tiny: Path) -> None:
    gradients = []
    for fields in ({}, {"micro_batch": 3, "gradient": "cache"}):
        config = shape_pairs.config_of(Path("x"), shapes, tiny, **FIELDS, **fields)
        model = load(tiny)._model
        trainable = prepare(model, config)
        batch = PairBatches(open_pairs(shapes), config, model.config, 32)[0].batch
        step = TrainingStep(trainable, make_optimizer(trainable.trained(), config), config)
        gradients.append(step.run(batch, 1.0).gradient_norm)
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


def test_step__a_teacher_draws_regions_to_its_own_vectors(shapes: Path, tiny: Path) -> None:
    fields = {**FIELDS, "region_blocks": 0, "region_teacher": 100.0, "rate": 1e-3}
    config = shape_pairs.config_of(Path("x"), shapes, tiny, **fields)
    teacher, model = load(tiny)._model, load(tiny)._model
    trainable = prepare(model, config, teacher)
    batch = PairBatches(open_pairs(shapes), config, model.config, 32, near=32)[0].batch
    assert batch.near is not None and batch.near.shape == (8, 3, 4, 32, 32)
    there = batch.tokens.flatten(0, 1).any(dim=1)
    taught = trainable.teach(batch.near, len(there))
    assert taught.norm(dim=1).numpy() == pytest.approx(there.float().numpy(), abs=1e-5)

    @torch.no_grad()
    def likeness() -> float:
        vectors = trainable.encode_image(batch.images, batch.alpha)
        return float((vectors * taught).sum(dim=1)[there].mean())

    before = likeness()
    step = TrainingStep(trainable, make_optimizer(trainable.trained(), config), config)
    for _ in range(3):
        step.run(batch, 1.0)
    assert likeness() > before


def test_regions__at_the_beginning_everything_is_the_picture(shapes: Path, tiny: Path) -> None:
    config = shape_pairs.config_of(Path("x"), shapes, tiny, **{**FIELDS, "region_blocks": 0})
    model = load(tiny)._model
    trainable = prepare(model, config)
    images = torch.from_numpy(PICTURE[:32, :32].copy()).permute(2, 0, 1)[None]
    maps = torch.full((1, 2, 1, 32, 32), 255, dtype=torch.uint8)
    with torch.no_grad():
        of_regions = trainable.encode_image(images, maps)
        plain = prepare(load(tiny)._model, shape_pairs.config_of(Path("x"), shapes, tiny))
        expected = plain.encode_image(images, maps[:, 0])
    torch.testing.assert_close(of_regions, expected.expand(2, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"compile": True}, "compile is for method 'alpha'"),
        ({"region_alpha": True, "use_alpha": False}, "region_alpha is true"),
    ],
)
def test_config__says_what_does_not_go_together(fields: dict, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        shape_pairs.config_of(Path("x"), Path("y"), Path("z"), method="regions", **fields)


def test_state__of_a_run_from_before_goes_on() -> None:
    config = shape_pairs.config_of(Path("x"), Path("y"), Path("z")).to_dict()
    older = {name: value for name, value in config.items() if "region" not in name}
    del older["method"]
    state = RunState(step=1, world=1, pairs="p", base="b", config=older)
    state.check_fits(replace(state, config=config), Path("last"))
    with pytest.raises(AlphaClipError, match="method is 'alpha' there and 'regions' here"):
        state.check_fits(replace(state, config={**config, "method": "regions"}), Path("last"))


def test_pooled__untrained_queries_change_no_model(tiny: Path) -> None:
    model = load(tiny)._model
    assert Pooled(model, "regions").pooling == "regions"
    assert not any("regions" in name for name in model.state_dict())
