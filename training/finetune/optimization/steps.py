"""One optimiser step: from a batch to changed weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from alphaclip.errors import AlphaClipError
from alphaclip.network.precisions import check_compiler
from alphaclip.training.finetune.batches import PairBatch
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.training.finetune.optimization.losses import (
    Loss,
    Texts,
    batch_loss,
    usable_negatives,
)
from alphaclip.training.finetune.optimization.optimizer import scale_rates
from alphaclip.training.finetune.optimization.precision import (
    fast_attention,
    find_dtype,
    give_fast_projections,
    mixed_precision,
)
from alphaclip.training.finetune.optimization.trainable import Trainable
from alphaclip.training.finetune.processes import Ranks


class OutOfMemoryError(FinetuneError):
    """A step needs more memory than there is; the message says which setting to lower."""


class NotFiniteError(FinetuneError):
    """A step's loss or gradient is infinite or not a number; the weights are as before it."""


@dataclass(frozen=True)
class StepResult:
    """What a step came to, over the batch of all processes.

    Attributes:
        loss: before the step
        hit: share of regions nearest to their own text in the batch (recall@1), before the step
        gradient_norm: length of the gradient, before it is clipped
        samples: in the batch
        skipped: whether fp16's gradient overflowed, so that the weights stay and the next step
            is scaled down; usual in a run's first steps
    """

    loss: float
    hit: float
    gradient_norm: float
    samples: int
    skipped: bool = False


class TrainingStep:
    """Runs steps; the same ones on one process and on several, to rounding.

    Args:
        trainable: on its device
        optimizer: over ``trainable.trained()``
        config: of the run
        ranks: the processes that share each batch

    Raises:
        FinetuneError: the device cannot compute as configured
    """

    def __init__(
        self,
        trainable: Trainable,
        optimizer: torch.optim.Optimizer,
        config: FinetuneConfig,
        ranks: Ranks | None = None,
    ) -> None:
        self._trainable = trainable
        self._optimizer = optimizer
        self._config = config
        self._ranks = ranks or Ranks()
        self._parameters = list(trainable.trained().values())
        self.device = trainable.scale.device
        self._dtype = find_dtype(config.precision, self.device)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype is torch.float16)
        give_fast_projections(trainable.model.clip, self.device, self._dtype)
        if config.compile:
            _compile(trainable, self.device)

    def run(self, batch: PairBatch, rate_scale: float) -> StepResult:
        """Takes one step.

        Args:
            batch: this process's share, as many rows as every other process has
            rate_scale: what the rates are multiplied with, in [0, 1]

        Raises:
            NotFiniteError: loss or gradient is not finite; the weights are as before
            OutOfMemoryError: says which setting to lower
        """
        scale_rates(self._optimizer, rate_scale)
        self._optimizer.zero_grad(set_to_none=True)
        attention = fast_attention(self.device, self._dtype)
        with attention, _memory_advice(self._config, len(batch)):
            loss = self._backward(batch.to(self.device))
            self._ranks.sum_gradients(self._parameters)
            self._scaler.unscale_(self._optimizer)
            norm = clip_grad_norm_(self._parameters, self._config.clip_norm or float("inf"))
            result = self._result(loss, norm, len(batch))
            self._check(result)
            self._scaler.step(self._optimizer)
            self._scaler.update()
        return result

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on: tensors, numbers and names, for ``weights_only`` loading."""
        return {
            "trained": {name: p.detach() for name, p in self._trainable.trained().items()},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`'s content.

        Raises:
            FinetuneError: it belongs to another model or other settings
        """
        self._trainable.load_trained(state["trained"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _backward(self, batch: PairBatch) -> Loss:
        """Adds up the gradient of the batch's loss."""
        parts = batch.split(self._config.micro_batch)
        if len(parts) > 1 and self._config.gradient == "cache":
            return self._backward_cached(parts)
        losses = []
        for part in parts:
            loss = self._loss(self._encode_images(part), self._encode_texts(part))
            share = len(part) / len(batch)
            self._scaler.scale(loss.value * share).backward()
            losses.append(torch.stack([loss.value.detach(), loss.hit]) * share)
        return Loss(*torch.stack(losses).sum(dim=0))

    def _backward_cached(self, parts: list[PairBatch]) -> Loss:
        """GradCache (arXiv 2101.06983): the loss's gradient by the vectors, then theirs.

        Loss and gradient are the whole batch's, to rounding.
        """
        with torch.no_grad():
            image = torch.cat([self._encode_images(part) for part in parts])
        image.requires_grad_()
        loss = self._loss(image, Texts.joined([self._encode_texts(part) for part in parts]))
        (gradient,) = torch.autograd.grad(self._scaler.scale(loss.value), image)
        rows = gradient.split([len(part) * part.regions for part in parts])
        for part, some in zip(parts, rows, strict=True):
            self._encode_images(part).backward(some)
        return Loss(loss.value.detach(), loss.hit)

    def _loss(self, image: Tensor, texts: Texts) -> Loss:
        """Of the rows of all processes."""
        trainable, ranks = self._trainable, self._ranks
        image, texts, pictures = ranks.gather(image), texts.gathered(ranks), None
        if self._config.method == "regions":
            (used,) = texts.tokens.any(dim=1).nonzero(as_tuple=True)
            image, texts = image[used], texts.of(used)
            if not self._config.region_negatives:
                pictures = used // self._config.region_count
        loss = batch_loss(
            image, texts, trainable.scale, trainable.bias, self._config, ranks.world, pictures
        )
        if not texts.taught.numel():
            return loss
        apart = trainable.scale * (1 - (image * texts.taught).sum(dim=1)).mean()
        return Loss(loss.value + self._config.region_teacher * apart, loss.hit)

    def _encode_images(self, part: PairBatch) -> Tensor:
        with mixed_precision(self.device, self._dtype):
            return self._trainable.encode_image(part.images, part.alpha)

    def _encode_texts(self, part: PairBatch) -> Texts:
        """Each text once, however many rows have it."""
        tokens = part.tokens.flatten(0, -2)
        count, length = tokens.shape
        wrong = tokens.new_empty(count, 0, length)
        if part.negatives is not None:
            wrong = part.negatives.flatten(0, -3)
        every = torch.cat([tokens, wrong.flatten(0, 1)])
        distinct, inverse = every.unique(dim=0, return_inverse=True)
        with mixed_precision(self.device, self._dtype):
            own, others = self._trainable.encode_text(distinct)[inverse].tensor_split([count])
            taught = self._trainable.teach(part.near, count)
        negatives = others.unflatten(0, wrong.shape[:2])
        return Texts(own, tokens, negatives, usable_negatives(wrong, tokens), taught)

    def _result(self, loss: Loss, gradient_norm: Tensor, rows: int) -> StepResult:
        value, hit, norm = torch.stack([loss.value, loss.hit, gradient_norm]).tolist()
        overflowed = self._scaler.is_enabled() and not math.isfinite(norm)
        return StepResult(value, hit, norm, rows * self._ranks.world, overflowed)

    def _check(self, result: StepResult) -> None:
        """fp16's scale halves at each overflow; one below 1 says that it is not the scale."""
        is_usual = result.skipped and self._scaler.get_scale() >= 1
        is_finite = math.isfinite(result.gradient_norm) or is_usual
        if math.isfinite(result.loss) and is_finite:
            return
        raise NotFiniteError(
            f"the loss is {result.loss:g} and its gradient's length {result.gradient_norm:g}; the "
            "weights are as before this step. Look at the batch; if nothing is wrong with it, "
            "lower rate and alpha_rate, or take precision 'bf16' or 'fp32'"
        )


def _compile(trainable: Trainable, device: torch.device) -> None:
    try:
        check_compiler(device)
    except AlphaClipError as error:
        raise FinetuneError(f"compile is set, and cannot be had: {error}") from error
    trainable.model.clip.visual.compile()


@contextmanager
def _memory_advice(config: FinetuneConfig, rows: int) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not is_memory and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemoryError(_advice(config, rows)) from error


def _advice(config: FinetuneConfig, rows: int) -> str:
    """Which setting to change: those that leave the result as it is come first."""
    at_once = min(config.micro_batch or rows, rows)
    start = f"{at_once} pairs at once need more memory than there is: "
    if not config.activation_checkpointing:
        return start + "set activation_checkpointing, or micro_batch to less with gradient 'cache'"
    lower = f"set micro_batch to {max(1, at_once // 2)} or less"
    if config.gradient == "cache":
        return start + lower
    return f"{start}{lower}, and gradient to 'cache' so that the loss stays the whole batch's"
