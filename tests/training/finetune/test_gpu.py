"""Training on a CUDA device: the CPU's step, the shorter types, and whole runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from alphaclip.training.finetune.logs import RowLog
from alphaclip.training.finetune.optimization.optimizer import make_optimizer
from alphaclip.training.finetune.optimization.steps import TrainingStep
from alphaclip.training.finetune.optimization.trainable import Trainable, prepare
from alphaclip.training.finetune.run import finetune

from .shape_pairs import config_of, write_model, write_shapes

pytestmark = pytest.mark.gpu
SCRIPT = Path(__file__).with_name("run_script.py")


@pytest.fixture
def make_step(make_model, make_config):
    """A step over a fresh copy of the small model on a device, and the model."""

    def make(device: str = "cuda", kind: str = "vit", **fields) -> tuple[TrainingStep, Trainable]:
        config = make_config(**{"rate": 1e-3, "alpha_rate": 1e-2, "precision": "fp32", **fields})
        trainable = prepare(make_model(kind), config).to(device)
        optimizer = make_optimizer(trainable.trained(), config)
        return TrainingStep(trainable, optimizer, config), trainable

    return make


def gradients(trainable: Trainable) -> torch.Tensor:
    return torch.cat([p.grad.flatten().cpu() for p in trainable.trained().values()])


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_gpu__takes_the_step_of_the_cpu(make_step, make_batch, kind):
    batch = make_batch(size=160 if kind == "siglip" else 16)
    step, reference = make_step("cpu", kind)
    expected = step.run(batch, 1.0)
    ours, trainable = make_step("cuda", kind)
    result = ours.run(batch, 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=1e-3)
    assert apart(gradients(trainable), gradients(reference)) < 1e-2


@pytest.mark.parametrize(("precision", "distance"), [("bf16", 0.1), ("fp16", 0.02)])
def test_gpu__shorter_types_have_nearly_the_same_gradient(
    make_step, make_batch, precision, distance
):
    step, reference = make_step()
    expected = step.run(make_batch(), 1.0)
    ours, trainable = make_step(precision=precision)
    result = ours.run(make_batch(), 1.0)
    while result.skipped:
        result = ours.run(make_batch(), 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=0.02)
    assert apart(gradients(trainable), gradients(reference)) < distance
    losses = [ours.run(make_batch(), 1.0).loss for _ in range(12)]
    assert losses[-1] < 0.7 * expected.loss


def test_gpu__fp16_that_overflows_leaves_the_weights_and_goes_on(make_step, make_batch):
    step, trainable = make_step(precision="fp16")
    step._scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    before = {n: p.detach().clone() for n, p in trainable.trained().items()}

    result = step.run(make_batch(), 1.0)

    assert result.skipped
    assert all(torch.equal(p, before[n]) for n, p in trainable.trained().items())
    results = [step.run(make_batch(), 1.0) for _ in range(40)]
    assert not results[-1].skipped
    assert results[-1].loss < result.loss


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gpu__cache_has_the_whole_batchs_gradient(make_step, make_batch, precision):
    whole, reference = make_step(precision=precision)
    cached, trainable = make_step(precision=precision, gradient="cache", micro_batch=3)
    expected, result = whole.run(make_batch(), 1.0), cached.run(make_batch(), 1.0)
    while result.skipped or expected.skipped:
        expected, result = whole.run(make_batch(), 1.0), cached.run(make_batch(), 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=1e-3)
    assert apart(gradients(trainable), gradients(reference)) < 1e-2


@pytest.mark.parametrize("fields", [{"compile": True}, {"activation_checkpointing": True}])
def test_gpu__faster_or_smaller_is_the_same_step(make_step, make_batch, fields):
    plain, reference = make_step()
    other, trainable = make_step(**fields)
    expected, result = plain.run(make_batch(), 1.0), other.run(make_batch(), 1.0)

    assert result.loss == pytest.approx(expected.loss, rel=1e-3)
    assert apart(gradients(trainable), gradients(reference)) < 1e-2


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_gpu__a_run_goes_on_after_a_stop(tmp_path: Path, precision: str) -> None:
    model, pairs = write_model(tmp_path / "model"), write_shapes(tmp_path / "pairs")
    fields: dict[str, Any] = {"precision": precision, "checkpoint_every": 2}
    straight = finetune(config_of(tmp_path / "straight", pairs, model, **fields)).output
    config = config_of(tmp_path / "killed", pairs, model, **fields)
    path = tmp_path / "killed.json"
    path.write_text(json.dumps(config.to_dict()))
    killed = subprocess.run([sys.executable, str(SCRIPT), str(path), "3"], capture_output=True)
    assert killed.returncode == -9, killed.stderr

    report = finetune(config)

    assert (report.first, report.done) == (2, 4)
    ours, theirs = (
        load_file(out / "last" / "model.safetensors") for out in (report.output, straight)
    )
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-3), name


def test_gpu__torchrun_trains_through_nccl(tmp_path: Path) -> None:
    model, pairs = write_model(tmp_path / "model"), write_shapes(tmp_path / "pairs")
    alone = finetune(config_of(tmp_path / "alone", pairs, model, precision="fp32")).output
    config = config_of(tmp_path / "together", pairs, model, precision="fp32")
    path = tmp_path / "together.json"
    path.write_text(json.dumps(config.to_dict()))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "1", str(SCRIPT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    losses = [
        [row["loss"] for row in RowLog(out / "log.csv").rows()]
        for out in (alone, tmp_path / "together")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
