"""One phase of nano's training: its loss, log and checkpoints; it goes on after an interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from alphaclip.training.finetune.checkpoints import read_training, write_training
from alphaclip.training.finetune.logs import RowLog
from alphaclip.training.finetune.loop import Figures, Pace, run_steps
from alphaclip.training.finetune.optimization.optimizer import scale_rates
from recipes.nano.recipe import Phase

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY = 100
"""Steps: some minutes on a CPU, which is what a stop may lose."""


Forward = Callable[[Any], Figures]
"""From a batch to its figures; ``loss``, a tensor, is what is trained on."""


def run_phase(
    name: str,
    phase: Phase,
    model: nn.Module,
    forward: Forward,
    optimizers: list[torch.optim.Optimizer],
    folder: Path,
    batches: Callable[[int, int], Dataset[Any]],
    row: Callable[[Figures], Mapping[str, float]],
    workers: int | None = None,
) -> None:
    """Trains until the phase's last step, starting from its checkpoint if there is one.

    Args:
        name: of the phase; names the checkpoint and the log
        phase: steps and rates
        model: changed in place, on the device where it is
        forward: see :data:`Forward`
        optimizers: their groups' rates, ``initial_lr``, are scaled along the phase's schedule
        folder: where ``<name>.pt`` and ``<name>.jsonl`` are kept
        batches: first step and stop to the batches between them
        row: from figures to what is logged of them, ``loss`` first
        workers (None): see `alphaclip.training.finetune.loop.make_loader`
    """
    checkpoint, log = folder / f"{name}.pt", RowLog(folder / f"{name}.jsonl")
    first = _resume(checkpoint, model, optimizers)
    log.cut(first)
    model.train()

    def step(index: int, batch: Any) -> Figures:
        figures = forward(batch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        figures["loss"].backward()
        for optimizer in optimizers:
            scale_rates(optimizer, phase.scale(index))
            optimizer.step()
        return figures

    def write_row(index: int, figures: Figures, pace: Pace) -> dict[str, str]:
        with torch.no_grad():
            said = row(figures)
        log.append({"step": index, **said, "seconds": round(pace.seconds, 1)})
        return {name: f"{value:.3f}" for name, value in said.items()}

    def keep(done: int) -> bool:
        if done % CHECKPOINT_EVERY == 0 or done == phase.steps:
            states = [optimizer.state_dict() for optimizer in optimizers]
            content = {"step": done, "model": model.state_dict(), "optimizers": states}
            write_training(checkpoint, content)
        return False

    steps = range(first, phase.steps)
    run_steps(name, steps, batches(first, phase.steps), step, write_row, keep, workers=workers)


def _resume(checkpoint: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    if not checkpoint.exists():
        return 0
    state = read_training(checkpoint)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    logger.info("%s: going on from step %d", checkpoint, state["step"])
    return int(state["step"])
