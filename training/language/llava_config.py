"""Everything that decides what a stage of LLaVA's training does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alphaclip.arguments import COUNT, check_fields
from alphaclip.language.loading import Precision
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.language.conversations import AlphaMaps

FREE = (
    "model", "tower", "pairs", "output", "micro_batch", "workers", "checkpoint_every", "log_every"
)  # fmt: skip
"""What a run may go on with others of: it does not decide the weights but by rounding, or what it
names is compared by its content."""


@dataclass(frozen=True)
class LlavaConfig:
    """A stage of training; the defaults are LLaVA 1.5's.

    Attributes:
        model: a LLaVA, by its name on the Hugging Face Hub or its folder
        pairs: the folders of pairs to train on
        output: the folder for checkpoints, logs, and the model
        stage: 1 trains the projector, on whole pictures with their captions; 2 the language model,
            on regions with their texts
        tower: a checkpoint with an alpha channel, which takes the place of the image encoder before
            anything is trained; None leaves the model's own
        alpha: what stage 2 shows of a region
        lora: rank of the adapters that stage 2 trains in the place of the language model's weights,
            and then adds to them; None trains the weights
        seed: of the order, of texts, and of adapters
        epochs: passes over the pairs; counts where ``steps`` is None
        steps: optimiser steps
        batch_size: conversations in a step, over all processes; None is 256 in stage 1, else 128
        micro_batch: conversations that a process computes at a time
        rate: at its highest; None is 1e-3 in stage 1, 2e-4 for adapters, else 2e-5
        precision: ``auto`` is bf16 or fp16 on a GPU and fp32 on the CPU; weights in training are
            float32
        workers: processes of each that make batches; 0 makes them in the training's own
        checkpoint_every: steps
        log_every: steps
    """

    model: str
    pairs: Sequence[str]
    output: str
    stage: int
    tower: str | None = None
    alpha: AlphaMaps = "box"
    lora: int | None = None
    seed: int = 0
    epochs: float = 1.0
    steps: int | None = None
    batch_size: int | None = None
    micro_batch: int = 8
    rate: float | None = None
    precision: Precision = "auto"
    workers: int = 0
    checkpoint_every: int = 500
    log_every: int = 10

    def __post_init__(self) -> None:
        counts = ("lora", "steps", "batch_size", "micro_batch", "checkpoint_every", "log_every")
        check_fields(
            self,
            stage=(1, 2),
            alpha=AlphaMaps,
            precision=Precision,
            **dict.fromkeys(counts, COUNT),
            **dict.fromkeys(("epochs", "rate", "workers", "seed"), (0, math.inf)),
        )
        if self.stage == 1 and self.lora is not None:
            raise FinetuneError("lora is for stage 2: stage 1 trains the projector itself")

    @property
    def batch(self) -> int:
        """Conversations in a step."""
        return self.batch_size or (256 if self.stage == 1 else 128)

    @property
    def peak_rate(self) -> float:
        """The rate at its highest."""
        return self.rate or (1e-3 if self.stage == 1 else 2e-5 if self.lora is None else 2e-4)
