"""One step: what it changes, that GradCache is exact, and what it refuses."""

from dataclasses import replace
from functools import partialmethod

import pytest
import torch
from torch import nn

from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.optimization.optimizer import make_optimizer
from alphaclip.training.finetune.optimization.precision import find_dtype
from alphaclip.training.finetune.optimization.steps import (
    NotFiniteError,
    OutOfMemoryError,
    TrainingStep,
)
from alphaclip.training.finetune.optimization.trainable import Trainable, prepare


@pytest.fixture
def make_step(make_model, make_config):
    """A step over a fresh copy of the small model, and the model."""

    def make(kind: str = "vit", **fields) -> tuple[TrainingStep, Trainable]:
        config = make_config(**{"rate": 1e-3, "alpha_rate": 1e-2, **fields})
        trainable = prepare(make_model(kind), config)
        return TrainingStep(
            trainable, make_optimizer(trainable.trained(), config), config
        ), trainable

    return make


def gradients(trainable: Trainable) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in trainable.trained().values()])


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("vit", {}), ("vit", {"negatives": 2}), ("siglip", {}), ("siglip", {"loss": "sigmoid"})],
)
@pytest.mark.parametrize("micro_batch", [1, 3])
def test_cache__has_the_whole_batchs_loss_and_gradient(
    make_step, make_batch, kind, fields, micro_batch
):
    size = 160 if kind == "siglip" else 16
    batch = make_batch(size=size, negatives=fields.get("negatives", 0), distinct=6)
    whole, reference = make_step(kind, **fields)
    cached, trainable = make_step(kind, **fields, gradient="cache", micro_batch=micro_batch)

    expected, result = whole.run(batch, 1.0), cached.run(batch, 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=1e-6)
    assert result.hit == expected.hit
    assert apart(gradients(trainable), gradients(reference)) < 1e-5


def test_accumulate__is_the_mean_over_micro_batches_of_their_own_losses(make_step, make_batch):
    batch = make_batch(rows=6)
    step, trainable = make_step(micro_batch=2)
    parts = []
    for part in batch.split(2):
        single, other = make_step()
        parts.append((single.run(part, 1.0), gradients(other)))

    result = step.run(batch, 1.0)

    assert result.loss == pytest.approx(sum(r.loss for r, _ in parts) / 3, rel=1e-5)
    assert apart(gradients(trainable), sum(g for _, g in parts) / 3) < 1e-5


def test_accumulate__weighs_a_shorter_last_micro_batch_by_its_rows(make_step, make_batch):
    batch = make_batch(rows=5)
    step, trainable = make_step(micro_batch=3)
    parts = []
    for part in batch.split(3):
        single, other = make_step()
        parts.append((len(part) / 5, single.run(part, 1.0), gradients(other)))

    result = step.run(batch, 1.0)

    assert result.loss == pytest.approx(sum(share * r.loss for share, r, _ in parts), rel=1e-5)
    assert apart(gradients(trainable), sum(share * g for share, _, g in parts)) < 1e-5


def test_step__lowers_the_loss_and_leaves_text_and_temperature(make_step, make_batch):
    step, trainable = make_step()
    clip = trainable.model.clip
    fixed = {n: p.clone() for n, p in clip.named_parameters() if not n.startswith("visual.")}
    before = {n: p.detach().clone() for n, p in trainable.trained().items()}
    batch = make_batch()

    losses = [step.run(batch, 1.0).loss for _ in range(12)]

    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(p, fixed[n]) for n, p in clip.named_parameters() if n in fixed)
    assert all(not torch.equal(p, before[n]) for n, p in trainable.trained().items())


def test_step__says_what_the_batch_came_to(make_step, make_batch):
    step, trainable = make_step()

    result = step.run(make_batch(), 1.0)

    assert result.samples == 8
    assert result.gradient_norm == pytest.approx(gradients(trainable).norm().item(), rel=1e-5)
    assert 0 <= result.hit <= 1
    assert not result.skipped


def test_step__scales_both_rates(make_step, make_batch):
    whole, moved = make_step(weight_decay=0.0)
    half, less = make_step(weight_decay=0.0)
    start = {n: p.detach().clone() for n, p in moved.trained().items()}

    whole.run(make_batch(), 1.0)
    half.run(make_batch(), 0.5)

    for name, parameter in moved.trained().items():
        change, halved = parameter - start[name], less.trained()[name] - start[name]
        assert torch.allclose(halved, change / 2, atol=1e-6)


def test_step__clips_the_gradient(make_step, make_batch):
    step, trainable = make_step(clip_norm=0.01)

    result = step.run(make_batch(), 1.0)

    assert result.gradient_norm > 0.1
    assert gradients(trainable).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_step__goes_on_from_its_state_to_the_same_bits(make_step, make_batch, tmp_path):
    fields = {"lora_rank": 2, "alpha_init": "random"}
    step, trainable = make_step(**fields)
    step.run(make_batch(), 1.0)
    torch.save(step.state_dict(), tmp_path / "state.pt")
    step.run(make_batch(seed=1), 0.7)

    again, other = make_step(**fields)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again.run(make_batch(seed=1), 0.7)

    for name, parameter in trainable.trained().items():
        assert torch.equal(parameter, other.trained()[name])


def test_state__of_another_selection_is_refused(make_step):
    step, _ = make_step(unfrozen_blocks=1)
    other, _ = make_step(unfrozen_blocks=2)

    with pytest.raises(FinetuneError, match=r"transformer\.resblocks\.1\..* differ"):
        other.load_state_dict(step.state_dict())


@pytest.mark.parametrize("gradient", ["accumulate", "cache"])
def test_loss_that_is_not_finite__stops_before_the_weights_change(make_step, make_batch, gradient):
    step, trainable = make_step(gradient=gradient, micro_batch=4)
    trainable.model.clip.visual.ln_post.weight.data[0] = float("nan")
    before = {n: p.detach().clone() for n, p in trainable.trained().items()}
    batch = make_batch()

    with pytest.raises(NotFiniteError, match=r"the loss is nan.*weights are as before"):
        step.run(batch, 1.0)

    for name, parameter in trainable.trained().items():
        assert torch.equal(parameter.nan_to_num(), before[name].nan_to_num())


def test_gradient_that_is_not_finite__stops_as_well(make_step, make_batch):
    step, trainable = make_step()
    trainable.trained()["proj"].register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(NotFiniteError, match="gradient's length"):
        step.run(make_batch(), 1.0)


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({}, "8 pairs at once .* set activation_checkpointing"),
        ({"activation_checkpointing": True}, "micro_batch to 4 or less, and gradient to 'cache'"),
        (
            {"activation_checkpointing": True, "gradient": "cache", "micro_batch": 4},
            "4 pairs at once .* set micro_batch to 2 or less$",
        ),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory__says_which_setting_to_lower(
    make_step, make_batch, monkeypatch, fields, advice, error
):
    step, trainable = make_step(**fields)

    def fail(*_):
        raise error

    monkeypatch.setattr(trainable, "encode_image", fail)

    with pytest.raises(OutOfMemoryError, match=advice):
        step.run(make_batch(), 1.0)


def test_other_errors__come_through_as_they_are(make_step, make_batch):
    step, _ = make_step()
    batch = make_batch(size=24)

    with pytest.raises(ValueError, match="takes 16 x 16 pixels"):
        step.run(batch, 1.0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activation_checkpointing__changes_no_gradient(make_step, make_batch, precision):
    plain, reference = make_step(precision=precision)
    saving, trainable = make_step(precision=precision, activation_checkpointing=True)

    plain.run(make_batch(), 1.0)
    saving.run(make_batch(), 1.0)

    assert trainable.model.clip.visual.transformer.grad_checkpointing
    assert apart(gradients(trainable), gradients(reference)) < 1e-6


def test_bf16__is_near_fp32(make_step, make_batch):
    exact, _ = make_step()
    short, trainable = make_step(precision="bf16")

    expected, result = exact.run(make_batch(), 1.0), short.run(make_batch(), 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=0.02)
    assert result.loss != expected.loss
    assert all(p.dtype is torch.float32 for p in trainable.trained().values())


@pytest.mark.slow
def test_compile__changes_no_gradient(make_step, make_batch, monkeypatch):
    # The trace is of our code; the machine code made of it takes minutes, and is PyTorch's affair
    traced = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", traced)
    plain, reference = make_step("one block")
    compiled, trainable = make_step("one block", compile=True, gradient="cache", micro_batch=4)

    plain.run(make_batch(), 1.0)
    compiled.run(make_batch(), 1.0)

    assert apart(gradients(trainable), gradients(reference)) < 1e-5


def test_precision__is_what_the_device_can():
    cpu = torch.device("cpu")

    assert find_dtype("auto", cpu) is torch.float32
    assert find_dtype("bf16", cpu) is torch.bfloat16
    with pytest.raises(FinetuneError, match="'fp16', which is trained on GPUs only"):
        find_dtype("fp16", cpu)


def test_batch__is_left_as_it_was(make_step, make_batch):
    step, _ = make_step(gradient="cache", micro_batch=4)
    batch = make_batch(negatives=1)
    copy = replace(batch, images=batch.images.clone(), tokens=batch.tokens.clone())

    step.run(batch, 1.0)

    assert torch.equal(batch.images, copy.images)
    assert torch.equal(batch.tokens, copy.tokens)
