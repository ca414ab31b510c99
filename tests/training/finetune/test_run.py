"""Whole runs: learning, going on after a stop, several processes, and what goes wrong."""

import json
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.tensorboard.writer import SummaryWriter

import alphaclip
from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.region import Region
from alphaclip.training.finetune import run as run_module
from alphaclip.training.finetune.checkpoints import Checkpoints
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.training.finetune.logs import RowLog
from alphaclip.training.finetune.optimization.steps import TrainingStep
from alphaclip.training.finetune.run import finetune
from alphaclip.training.pairs.format.jobs import Progress
from alphaclip.training.pairs.format.records import PairError

from .run_script import main, main_of_rank
from .shape_pairs import config_of, write_model, write_shapes

FORKING = get_context("forkserver")
"""Starts processes that may be killed. A new one would import PyTorch for seconds; these are forks
of one that has, and nothing else."""
FORKING.set_forkserver_preload(["alphaclip.training.finetune.run", "alphaclip.network.factory"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder / "model")


@pytest.fixture(scope="module")
def shapes(folder: Path) -> Path:
    """64 pairs."""
    return write_shapes(folder / "pairs")


@pytest.fixture(scope="module")
def held_out(folder: Path) -> Path:
    return write_shapes(folder / "held-out", pictures=8, seed=1)


@pytest.fixture(scope="module")
def straight(folder: Path, shapes: Path, model: Path) -> Path:
    """The output of four steps without a stop."""
    return finetune(config_of(folder / "straight", shapes, model)).output


def _weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "last" / "model.safetensors")


def _same_weights(one: Path, other: Path) -> bool:
    first, second = _weights(one), _weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def test_finetune__learns_what_the_pairs_say(
    folder: Path, shapes: Path, held_out: Path, model: Path
) -> None:
    config = config_of(
        folder / "learns", shapes, model,
        steps=60, batch_size=16, warm_up=5, rate=3e-3, alpha_rate=1e-2, log_every=5,
        evaluate=[str(held_out)], evaluate_every=30,
    )  # fmt: skip
    report = finetune(config)
    rows = RowLog(report.output / "log.csv").rows()
    losses, hits = [row["loss"] for row in rows], [row["hit"] for row in rows]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    assert np.mean(hits[-3:]) > np.mean(hits[:3]) + 0.2
    assert report.finished
    assert report.after["held-out: mAP"] > report.before["held-out: mAP"] + 20
    measured = RowLog(report.output / "evaluation.csv").rows()
    assert [row["step"] for row in measured] == [0, 30, 60]
    assert report.best == max(row["held-out: mAP"] for row in measured[1:])
    assert report.samples_per_second > 0
    assert 0 <= report.waiting <= 1
    assert (report.output / "curves.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((report.output / "report.json").read_text())
    assert written["after"] == report.after
    assert any(report.output.joinpath("tensorboard").iterdir())


def test_finetune__last_and_best_load_as_models(
    folder: Path, shapes: Path, held_out: Path, model: Path
) -> None:
    config = config_of(folder / "loads", shapes, model, evaluate=[str(held_out)])
    report = finetune(config)
    encoders = [alphaclip.load(report.output / name, device="cpu") for name in ("last", "best")]
    assert [encoder.view.kind for encoder in encoders] == ["image", "image"]
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    regions = [Region.from_box((0, 0, 0.5, 1)), Region.whole_image()]
    last, best = (encoder.encode_regions(picture, regions) for encoder in encoders)
    assert np.array_equal(last, best)
    start = alphaclip.load(model, device="cpu", view=encoders[0].view)
    assert not np.allclose(last, start.encode_regions(picture, regions), atol=1e-4)
    assert np.array_equal(encoders[0].encode_text(["a disc"]), start.encode_text(["a disc"]))
    tower = _weights(report.output)
    assert not (tower["visual.conv1_alpha.weight"] == 0).all()


def test_finetune__killed_twice_it_ends_with_the_same_weights(
    folder: Path, shapes: Path, model: Path, straight: Path
) -> None:
    config = config_of(folder / "killed", shapes, model, checkpoint_every=1)
    path = _write_config(config)
    for last in (1, 3):
        assert _exit_codes(main, [(path, last)]) == [-signal.SIGKILL]
    report = finetune(config)
    assert report.first == 3
    assert report.finished
    assert _same_weights(report.output, straight)
    assert _losses(report.output) == _losses(straight)


def test_finetune__killed_between_checkpoints_it_does_those_steps_again(
    folder: Path, shapes: Path, model: Path, straight: Path
) -> None:
    config = config_of(folder / "between", shapes, model, checkpoint_every=2)
    with pytest.raises(_KilledError):
        finetune(config, progress=_kill_after(3))
    assert [row["step"] for row in RowLog(folder / "between" / "log.csv").rows()] == [0, 1, 2]
    report = finetune(config)
    assert report.first == 2
    assert _same_weights(report.output, straight)
    assert _losses(report.output) == _losses(straight)


class _KilledError(BaseException):
    pass


def _kill_after(last: int) -> Progress:
    def progress(done: int, total: int) -> None:
        if done == last:
            raise _KilledError

    return progress


def test_finetune__sigterm_stops_after_a_step_and_keeps_it(
    folder: Path, shapes: Path, model: Path, straight: Path
) -> None:
    config = config_of(folder / "stopped", shapes, model)
    before = signal.getsignal(signal.SIGTERM)

    def stop(done: int, total: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    report = finetune(config, progress=stop)
    assert not report.finished
    assert report.done == 3
    assert signal.getsignal(signal.SIGTERM) is before
    again = finetune(config)
    assert (again.first, again.done) == (3, 4)
    assert _same_weights(again.output, straight)


def test_finetune__a_finished_run_is_left_as_it_is(
    folder: Path, shapes: Path, model: Path, straight: Path
) -> None:
    before = _weights(straight)
    report = finetune(config_of(straight, shapes, model))
    assert (report.first, report.done) == (4, 4)
    assert all(torch.equal(before[name], tensor) for name, tensor in _weights(straight).items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 5e-5}, "rate is 0.0001 there and 5e-05 here"),
        ({"steps": 5}, "steps is 4 there and 5 here"),
    ],
)
def test_resume__another_configuration_is_refused(
    shapes: Path, model: Path, straight: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(FinetuneError, match=message):
        finetune(config_of(straight, shapes, model, **fields))


def test_resume__other_pairs_are_refused(folder: Path, model: Path, straight: Path) -> None:
    other = write_shapes(folder / "others", pictures=16, seed=2)
    with pytest.raises(
        FinetuneError, match=r"pairs are .*/pairs \(.* there and .*/others \(.* here"
    ):
        finetune(config_of(straight, other, model))


def test_resume__another_model_is_refused(folder: Path, shapes: Path, straight: Path) -> None:
    with pytest.raises(
        FinetuneError, match=r"model to start from is .* there and .*nano \(.* here"
    ):
        finetune(config_of(straight, shapes, Path("alphaclip-nano")))


def test_resume__folders_may_have_moved(
    folder: Path, shapes: Path, model: Path, straight: Path
) -> None:
    moved = [Path(shutil.copytree(path, folder / "moved" / path.name)) for path in (shapes, model)]
    assert finetune(config_of(straight, *moved)).first == 4


def test_resume__another_number_of_processes_is_refused(
    shapes: Path, model: Path, straight: Path
) -> None:
    config = config_of(straight, shapes, model)
    state, _ = Checkpoints(straight, alphaclip.create_model(str(model)), {}).read() or (None, {})
    assert state is not None
    with pytest.raises(FinetuneError, match="number of processes is 1 there and 2 here"):
        state.check_fits(replace(state, world=2, config=config.to_dict()), straight)


@pytest.mark.parametrize(
    "fields",
    [
        {"lora_rank": 2, "negatives": 1},
        {"unfrozen_blocks": 1, "geometry": "context", "box_share": 0.5, "flip": True},
        {"micro_batch": 4, "gradient": "cache", "alpha_init": "random", "clip_norm": 1.0},
        {"use_alpha": False, "activation_checkpointing": True, "precision": "bf16"},
        {"reference": True, "precision": "fp32", "warm_up": 1, "horizon": 3},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_finetune__goes_on_with_every_option(
    folder: Path, shapes: Path, model: Path, fields: dict[str, Any]
) -> None:
    name = next(iter(fields))
    fields = {"steps": 3, "checkpoint_every": 1, "rate": 1e-3, **fields}
    whole = finetune(config_of(folder / f"{name}-whole", shapes, model, **fields))
    config = config_of(folder / f"{name}-stopped", shapes, model, **fields)
    with pytest.raises(_KilledError):
        finetune(config, progress=_kill_after(1))
    report = finetune(config)
    assert report.first == 1
    assert _same_weights(report.output, whole.output)
    start = load_file(model / "model.safetensors")
    changed = {
        n for n, tensor in _weights(report.output).items() if not torch.equal(tensor, start[n])
    }
    assert changed
    assert all(name.startswith("visual.") for name in changed)
    assert np.isfinite(
        alphaclip.load(report.output / "last", device="cpu").encode_text(["a"])
    ).all()


def test_finetune__two_processes_train_as_one(
    folder: Path, shapes: Path, held_out: Path, model: Path
) -> None:
    fields: dict[str, Any] = {"steps": 3, "evaluate": [str(held_out)]}
    alone = finetune(config_of(folder / "alone", shapes, model, **fields)).output
    config = config_of(folder / "together", shapes, model, **fields)
    path = _write_config(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert _exit_codes(main_of_rank, [(rank, 2, port, path) for rank in range(2)]) == [0, 0]
    together = folder / "together"
    assert _losses(together) == pytest.approx(_losses(alone), rel=1e-4)
    ours, theirs = _weights(alone), _weights(together)
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], atol=1e-4), name
    state = json.loads((together / "last" / "state.json").read_text())
    assert (state["world"], state["step"]) == (2, 3)
    with pytest.raises(FinetuneError, match="number of processes is 2 there and 1 here"):
        finetune(config)


def test_finetune__a_loss_that_is_not_finite_keeps_the_batch(
    folder: Path, shapes: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(folder / "bad", shapes, model, checkpoint_every=1)
    encode = run_module.TrainingStep._encode_images

    def break_third(self: TrainingStep, part: Any) -> torch.Tensor:
        counted.append(part)
        return encode(self, part) * (float("nan") if len(counted) == 3 else 1.0)

    counted: list[Any] = []
    monkeypatch.setattr(TrainingStep, "_encode_images", break_third)
    with pytest.raises(FinetuneError, match=r"step 2: the loss is nan.*bad-batch-0.safetensors"):
        finetune(config)
    with safe_open(folder / "bad" / "bad-batch-0.safetensors", "pt") as kept:
        assert torch.equal(kept.get_tensor("images"), counted[2].images)
        assert json.loads(kept.metadata()["keys"]) == list(counted[2].keys)
    monkeypatch.undo()
    assert finetune(config).first == 2


def test_finetune__a_full_disk_keeps_the_checkpoint_before(
    folder: Path, shapes: Path, model: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(folder / "full", shapes, model, checkpoint_every=2)
    save = torch.save

    def save_once(content: Any, path: Any) -> None:
        if content["optimizer"]["state"][0]["step"] > 2:
            raise OSError(28, "No space left on device")
        save(content, path)

    monkeypatch.setattr(torch, "save", save_once)
    with pytest.raises(FinetuneError, match=r"step 4 cannot .*No space left.*stays: of step 2"):
        finetune(config)
    monkeypatch.undo()
    assert sorted(path.name for path in (folder / "full").glob("last*")) == ["last"]
    report = finetune(config)
    assert report.first == 2
    assert _same_weights(report.output, straight)


def test_finetune__own_figures_pick_the_best(folder: Path, shapes: Path, model: Path) -> None:
    values = iter([9.0, 3.0, 5.0, 4.0])

    def measure(encoder: Encoder) -> dict[str, float]:
        return {"other": 1.0, "mine": next(values)}

    config = config_of(folder / "own", shapes, model, steps=3, evaluate_every=1)
    report = finetune(config, evaluate=measure, best_by="mine")
    assert (report.best, report.best_step) == (5.0, 2)
    assert json.loads((folder / "own" / "best" / "card.json").read_text())["steps"] == 2
    assert (report.before["mine"], report.after["mine"]) == (9.0, 4.0)


def test_finetune__an_unknown_figure_is_named(folder: Path, shapes: Path, model: Path) -> None:
    config = config_of(folder / "unknown", shapes, model)
    with pytest.raises(FinetuneError, match=r"best_by is 'recall'.*'mAP'"):
        finetune(config, evaluate=lambda encoder: {"mAP": 1.0}, best_by="recall")


def test_finetune__keeps_only_the_best_where_asked(folder: Path, shapes: Path, model: Path) -> None:
    config = config_of(folder / "lean", shapes, model, keep=["best"])
    report = finetune(config, evaluate=lambda encoder: {"mAP": 1.0})
    assert not (report.output / "last").exists()
    assert (report.output / "best" / "model.safetensors").is_file()


def test_finetune__a_folder_without_pairs_is_named(folder: Path, model: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(PairError, match="empty"):
        finetune(config_of(folder / "none", empty, model))


def test_finetune__another_figure_is_not_compared_with_the_best_one(
    folder: Path, shapes: Path, model: Path
) -> None:
    config = config_of(folder / "figures", shapes, model, steps=2, evaluate_every=1)
    with pytest.raises(_KilledError):
        stopped = replace(config, checkpoint_every=1)
        finetune(stopped, evaluate=lambda encoder: {"old": 90.0}, progress=_kill_after(1))
    report = finetune(config, evaluate=lambda encoder: {"new": 2.0})
    assert (report.first, report.best, report.best_step) == (1, 2.0, 2)


def test_finetune__what_a_dead_run_left_half_written_is_removed(
    folder: Path, shapes: Path, model: Path
) -> None:
    output = folder / "left"
    left = [output / "log.csv.0.part", output / "evaluation" / "vectors" / "a.npz.1.part"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(FinetuneError):  # it cannot start: cleaning comes first all the same
        finetune(config_of(output, shapes, model, batch_size=10**6))
    assert not list(output.rglob("*.part"))


def test_finetune__two_runs_do_not_share_a_folder(folder: Path, shapes: Path, model: Path) -> None:
    config = config_of(folder / "shared", shapes, model, steps=2)

    def again(done: int, total: int) -> None:
        with pytest.raises(FinetuneError, match="another process writes into"):
            finetune(config)
        tried.append(done)

    tried: list[int] = []
    finetune(config, progress=again)
    assert tried == [1, 2]


def test_finetune__an_output_that_is_a_file_is_named(
    folder: Path, shapes: Path, model: Path
) -> None:
    (folder / "file").write_text("")
    with pytest.raises(FinetuneError, match="file cannot be written"):
        finetune(config_of(folder / "file", shapes, model))


def test_finetune__works_without_tensorboard(
    folder: Path, shapes: Path, model: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert SummaryWriter is not None
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    report = finetune(config_of(folder / "plain", shapes, model, steps=2))
    assert report.finished
    assert caplog.text.count("pip install tensorboard") == 1
    assert not (report.output / "tensorboard").exists()


def _write_config(config: FinetuneConfig) -> str:
    path = Path(config.output).with_suffix(".json")
    path.write_text(json.dumps(config.to_dict()))
    return str(path)


def _losses(output: Path) -> list[float]:
    return [row["loss"] for row in RowLog(output / "log.csv").rows()]


def _exit_codes(function: Callable[..., None], runs: list[tuple[Any, ...]]) -> list[int | None]:
    """Runs a function in processes of its own at once, each with other arguments."""
    processes = [FORKING.Process(target=function, args=run) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
