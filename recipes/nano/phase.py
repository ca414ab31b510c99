"""One phase of nano's training: its loss, log and checkpoints; it goes on after an interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from alphaclip.training.finetune.checkpoints import read_training, write_training
from alphaclip.training.finetune.logs import RowLog
from alphaclip.training.finetune.loop import Figures, Pace, run_steps
from alphaclip.training.finetune.optimization.optimizer import scale_rates
from recipes.nano.data import Batch, NanoBatches
from recipes.nano.recipe import Phase

logger = logging.getLogger(__name__)

CHECKPOINT_EVERY = 100
"""Steps: some minutes on a CPU, which is what a stop may lose."""


class Outputs(NamedTuple):
    """What the loss is made of.

    Attributes:
        image: (N, D), unit length
        text: (N, D), unit length
        scale: the logit scale
        named: a further loss, of telling the concepts apart by name
    """

    image: Tensor
    text: Tensor
    scale: Tensor
    named: Tensor


Forward = Callable[[Batch], Outputs]


def run_phase(
    name: str,
    phase: Phase,
    model: nn.Module,
    forward: Forward,
    optimizers: list[torch.optim.Optimizer],
    folder: Path,
    batches: Callable[[int, int], NanoBatches],
) -> None:
    """Trains until the phase's last step, starting from its checkpoint if there is one.

    Args:
        name: of the phase; names the checkpoint and the log
        phase: steps and rates
        model: changed in place, on the device where it is
        forward: one batch to what the loss compares
        optimizers: their groups' rates, ``initial_lr``, are scaled along the phase's schedule
        folder: where ``<name>.pt`` and ``<name>.jsonl`` are kept
        batches: first step and stop to the batches between them
    """
    checkpoint, log = folder / f"{name}.pt", RowLog(folder / f"{name}.jsonl")
    first = _resume(checkpoint, model, optimizers)
    log.cut(first)
    loss_of, device = ClipLoss(), next(model.parameters()).device
    model.train()

    def step(index: int, batch: Batch) -> Figures:
        outputs = forward(batch.to(device))
        paired = loss_of(outputs.image, outputs.text, outputs.scale)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (paired + outputs.named).backward()
        for optimizer in optimizers:
            scale_rates(optimizer, phase.scale(index))
            optimizer.step()
        return outputs._asdict() | {"loss": paired}

    def write_row(index: int, figures: Figures, pace: Pace) -> dict[str, str]:
        with torch.no_grad():
            nearest = (figures["image"] @ figures["text"].T).argmax(dim=1)
            own = torch.arange(len(nearest), device=nearest.device)
            hit = (nearest == own).float().mean().item()
        row = {"step": index, "loss": figures["loss"].item(), "named": figures["named"].item()}
        row |= {"hit": hit, "scale": figures["scale"].item(), "seconds": round(pace.seconds, 1)}
        log.append(row)
        return {"loss": f"{row['loss']:.3f}", "hit": f"{hit:.2f}"}

    def keep(done: int) -> bool:
        if done % CHECKPOINT_EVERY == 0 or done == phase.steps:
            states = [optimizer.state_dict() for optimizer in optimizers]
            content = {"step": done, "model": model.state_dict(), "optimizers": states}
            write_training(checkpoint, content)
        return False

    run_steps(name, range(first, phase.steps), batches(first, phase.steps), step, write_row, keep)


def _resume(checkpoint: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    if not checkpoint.exists():
        return 0
    state = read_training(checkpoint)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    logger.info("%s: going on from step %d", checkpoint, state["step"])
    return int(state["step"])
