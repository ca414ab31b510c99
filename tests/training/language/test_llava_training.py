"""Two stages of a small LLaVA: what moves in each, and what comes of a stop."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alphaclip import Region, language
from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.training.finetune.logs import RowLog
from alphaclip.training.language.llava_config import LlavaConfig
from alphaclip.training.language.llava_training import LlavaReport, train_llava
from alphaclip.training.pairs.format.records import PairError

Make = Callable[..., LlavaConfig]


@pytest.fixture(scope="module")
def make(base: Path, tower: Path, pairs: Path, folder: Path) -> Make:
    def config(output: str, **changed: Any) -> LlavaConfig:
        stated: dict[str, Any] = {
            "model": str(base), "tower": str(tower), "pairs": (str(pairs),),
            "output": str(folder / output), "stage": 2, "lora": 4, "steps": 3, "batch_size": 4,
            "micro_batch": 2, "rate": 1e-2, "checkpoint_every": 1, "log_every": 1,
        }  # fmt: skip
        return LlavaConfig(**{**stated, **changed})

    return config


@pytest.fixture(scope="module")
def straight(make: Make) -> LlavaReport:
    """Three steps of stage 2 with adapters, without a stop."""
    return train_llava(make("straight", alpha="mixed"))


def weights(model: language.Describer) -> dict[str, Tensor]:
    return dict(model.model.state_dict())  # type: ignore[attr-defined]


def trained(output: Path) -> dict[str, Tensor]:
    return weights(language.load(output / "model", device="cpu"))


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_stage_1__moves_the_projector_alone(make: Make, base: Path) -> None:
    config = make("stage-1", stage=1, lora=None, tower=None)
    report = train_llava(config)
    before = weights(language.load(base, device="cpu"))
    changed = moved(before, trained(report.output))
    assert changed == {name for name in before if "multi_modal_projector" in name}
    assert report.weights == sum(before[name].numel() for name in changed)
    assert report.finished
    assert report.lines()[0].startswith("stage 1: trained the projector, ")
    losses = [row["loss"] for row in RowLog(report.output / "log.csv").rows()]
    assert len(losses) == 3
    assert report.losses == (losses[0], losses[-1])


@pytest.mark.parametrize("lora", [4, None])
def test_stage_2__moves_the_language_model_alone(
    lora: int | None, make: Make, base: Path, tower: Path, straight: LlavaReport
) -> None:
    report = straight if lora else train_llava(make("whole", lora=None))
    before = weights(language.load(base, alpha=tower, device="cpu"))
    after = trained(report.output)
    changed = moved(before, after)
    assert changed
    assert all("language_model" in name or name == "lm_head.weight" for name in changed)
    linear = {name for name in changed if name.endswith("_proj.weight")}
    assert (changed == linear) is (lora is not None)
    assert after["model.vision_tower.embeddings.patch_embedding_alpha.weight"].abs().sum() > 0


def test_trained_model__says_another_thing_and_sees_the_region(
    straight: LlavaReport, base: Path, tower: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    regions = [Region.from_box([0, 0, 0.4, 1]), Region.whole_image()]
    before = language.load(base, alpha=tower, device="cpu").ask(image, regions, "red?")
    model = language.load(straight.output / "model", device="cpu")
    assert model.sees == "alpha"
    after = model.ask(image, regions, "red?")
    assert not np.allclose(before.logliks, after.logliks, atol=1e-2)
    assert not np.array_equal(after.logliks[0], after.logliks[1])


def test_killed_run__ends_with_the_same_weights(make: Make, straight: LlavaReport) -> None:
    config = make("killed", alpha="mixed")

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_llava(config, kill)
    output = Path(config.output)
    # As a kill would leave the next one
    shutil.copytree(output / "checkpoint-2", output / "checkpoint-3")
    (output / "checkpoint-3" / "trained.safetensors").write_bytes(b"half")
    report = train_llava(config)
    assert not moved(trained(straight.output), trained(output))
    rows, expected = (RowLog(r.output / "log.csv").rows() for r in (report, straight))
    assert rows == expected
    # And once more, when nothing is left to do
    assert train_llava(config).losses == report.losses
    assert not moved(trained(straight.output), trained(output))


def test_stop__keeps_what_is_done(make: Make, straight: LlavaReport) -> None:
    config = make("stopped", alpha="mixed", checkpoint_every=100)
    report = train_llava(config, lambda done, total: os.kill(os.getpid(), signal.SIGTERM))
    assert (report.done, report.finished) == (1, False)
    assert not (report.output / "model").exists()
    assert train_llava(config).finished
    assert not moved(trained(straight.output), trained(report.output))


def test_output_of_another_run__is_refused(make: Make, straight: LlavaReport) -> None:
    with pytest.raises(PairError, match=r"rate: 0\.01 there, 0\.02 now"):
        train_llava(make("straight", alpha="mixed", rate=0.02))


def test_losses__fall(make: Make) -> None:
    report = train_llava(make("learns", lora=None, steps=12, checkpoint_every=100, rate=3e-3))
    assert report.losses[1] < 0.7 * report.losses[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tower": None}, "has no alpha channel, without which it sees no region"),
        ({"batch_size": 5}, "batch_size is 5, which is no multiple of 1 process"),
        ({"stage": 1}, "lora is for stage 2"),
        ({"stage": 3}, "stage is 3: expected"),
        ({"alpha": "circle"}, "alpha is 'circle': expected one of box, mask, mixed"),
        ({"pairs": "pairs"}, "pairs is 'pairs': expected a list of texts"),
        ({"rate": -1.0}, r"rate is -1\.0: expected a number of at least 0"),
        ({"pairs": ("nowhere",)}, "nowhere has no shards of pairs"),
    ],
)
def test_bad_input__is_refused(changed: dict[str, Any], message: str, make: Make) -> None:
    with pytest.raises(AlphaClipError, match=message):
        train_llava(make("bad", **changed))


def test_command__trains(
    base: Path, tower: Path, pairs: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = f"--stage 2 --lora 4 --tower {tower} --steps 1 --batch-size 2 --seed 1"
    command = f"train-llava --model {base} --pairs {pairs} --output {folder / 'cli'} {options}"
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    assert "stage 2: trained adapters of rank 4 on the language model, " in said
    assert "1 of 1 steps of 2 on 16 pairs; loss " in said
    assert f"use it: alphaclip.language.load('{folder / 'cli' / 'model'}')" in said
