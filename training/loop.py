"""The training loop of one phase: rates, log, checkpoints, and going on after an interruption."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from alphaclip.training.nano_data import Batch, NanoBatches
from alphaclip.training.recipe import Phase
from open_clip.loss import ClipLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

logger = logging.getLogger(__name__)


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

CHECKPOINT_EVERY = 100


def run_phase(
    name: str,
    phase: Phase,
    model: nn.Module,
    forward: Forward,
    optimizers: list[torch.optim.Optimizer],
    folder: Path,
    batches: Callable[[int, int], NanoBatches],
    workers: int | None = None,
) -> None:
    """Trains until the phase's last step, starting from its checkpoint if there is one.

    Args:
        name: of the phase; names the checkpoint and the log
        phase: steps and rates
        model: changed in place, on the device where it is
        forward: one batch to what the loss compares
        optimizers: their groups' rates are scaled along the phase's schedule
        folder: where ``<name>.pt`` and ``<name>.jsonl`` are kept
        batches: first step and stop to the batches between them
        workers (None): processes that draw batches, by default one for two processors; spawned,
            since a fork of a process whose threads hold locks can hang for ever
    """
    checkpoint, log = folder / f"{name}.pt", folder / f"{name}.jsonl"
    full_rates = _rates(optimizers)
    first = _resume(checkpoint, model, optimizers)
    _cut_log(log, first)
    loader = DataLoader(
        batches(first, phase.steps),
        batch_size=None,
        num_workers=workers or max(1, (os.cpu_count() or 1) // 2),
        prefetch_factor=4,
        multiprocessing_context="spawn",
    )
    loss_of, device = ClipLoss(), next(model.parameters()).device
    model.train()
    started = time.monotonic()
    bar = tqdm(loader, desc=name, initial=first, total=phase.steps, mininterval=5)
    for step, batch in enumerate(bar, start=first):
        _scale_rates(optimizers, full_rates, phase.scale(step))
        outputs = forward(batch.to(device))
        paired = loss_of(outputs.image, outputs.text, outputs.scale)
        loss = paired + outputs.named
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        if step % 10 == 0:
            hits = _hits(outputs.image, outputs.text)
            row = {"step": step, "loss": paired.item(), "named": outputs.named.item()}
            row |= {"hit": hits, "scale": outputs.scale.item()}
            row["seconds"] = round(time.monotonic() - started, 1)
            _append(log, row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", hit=f"{hits:.2f}")
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == phase.steps:
            _save(checkpoint, step + 1, model, optimizers)


def _hits(image_features: Tensor, text_features: Tensor) -> float:
    with torch.no_grad():
        nearest = (image_features @ text_features.T).argmax(dim=1)
        own = torch.arange(len(nearest), device=nearest.device)
        return (nearest == own).float().mean().item()


def _rates(optimizers: Iterable[torch.optim.Optimizer]) -> list[list[float]]:
    return [[group["initial_lr"] for group in o.param_groups] for o in optimizers]


def _scale_rates(
    optimizers: list[torch.optim.Optimizer], rates: list[list[float]], scale: float
) -> None:
    for optimizer, full in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, full, strict=True):
            group["lr"] = rate * scale


def _resume(checkpoint: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    logger.info("%s: going on from step %d", checkpoint, state["step"])
    return int(state["step"])


def _save(
    checkpoint: Path, step: int, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = checkpoint.with_suffix(".partial")
    with partial.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(checkpoint)


def _cut_log(log: Path, first: int) -> None:
    """Drops the rows of steps that are done again."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    kept = [f"{line}\n" for line in lines if json.loads(line)["step"] < first]
    log.write_text("".join(kept), "utf-8")


def _append(log: Path, row: dict[str, float]) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
