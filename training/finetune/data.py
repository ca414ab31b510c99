"""Batches of region-text pairs, each made from its own seed: resuming needs only the step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.errors import FinetuneError
from alphaclip.training.finetune.gathering import Ranks
from alphaclip.training.finetune.types import PairBatch
from alphaclip.training.pairs.format.reading import Pair, PairSet
from alphaclip.views.cutter import Cutter
from alphaclip.views.view import View
from alphaclip.weights.architectures import ModelConfig, build_tokenizer

_TRIES = 20
"""Pairs that are tried in the place of one that cannot be read."""


@dataclass(frozen=True)
class Drawn:
    """A process's share of a step's batch.

    Attributes:
        batch: its samples
        replaced: pairs that cannot be read and in whose place others are, a line each
    """

    batch: PairBatch
    replaced: tuple[str, ...]


class PairBatches(Dataset[Drawn]):
    """Item ``i`` is this process's share of the batch of step ``start + i``.

    In each epoch the pairs are in another order, with ``reference`` in the same. A step takes the
    next ``batch_size`` of them; what is left at the end of an epoch is not seen in it. The
    processes take a step's batch in slices, so that together they see what one alone would.

    Args:
        pairs: to train on
        config: how samples are drawn and shown
        model: whose tokenizer is used
        size: side of the square that the model takes, in pixels
        start: first step
        ranks: the processes that share each batch

    Raises:
        FinetuneError: the batch is larger than the set, or cannot be shared evenly
    """

    def __init__(
        self,
        pairs: PairSet,
        config: FinetuneConfig,
        model: ModelConfig,
        size: int,
        start: int = 0,
        ranks: Ranks | None = None,
    ) -> None:
        self._pairs, self._config, self._model, self._size = pairs, config, model, size
        self._start = start
        self._stop = step_count(config, len(pairs))
        self._places = _places(config.batch_size, ranks or Ranks())
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Drawn:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step = self._start + index
        replaced: list[str] = []
        samples = [self._sample(step, place, replaced) for place in self._places]
        return Drawn(self._batch(samples), tuple(replaced))

    def _sample(self, step: int, place: int, replaced: list[str]) -> _Sample:
        """What is shown at a place of a step's batch, with its text."""
        rng = np.random.default_rng([self._config.seed, 1, step, place])
        for number in self._candidates(step, place):
            try:
                pair: Pair = self._pairs[number]
                return _draw(pair, self._config, self._size, rng)
            except AlphaClipError as error:
                replaced.append(f"step {step}: {error}")
        raise FinetuneError(
            f"step {step}: {_TRIES} pairs one after another cannot be read, the last: "
            f"{replaced[-1]}. `alphaclip pairs check` says what is wrong with the set"
        )

    def _candidates(self, step: int, place: int) -> list[int]:
        """The pair for a place, and those that following steps have in it."""
        size = self._config.batch_size
        epoch, within = divmod(step, len(self._pairs) // size)
        order = self._order_of(0 if self._config.reference else epoch)
        first = within * size + place
        return [int(order[(first + i * size) % len(order)]) for i in range(_TRIES)]

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._config.seed, 0, epoch])
            self._order = epoch, rng.permutation(len(self._pairs))
        return self._order[1]

    @cached_property
    def _tokenizer(self) -> Any:
        """Built in the process that draws, not sent to it."""
        return build_tokenizer(self._model)

    def _batch(self, samples: list[_Sample]) -> PairBatch:
        negatives = [self._negatives(sample) for sample in samples]
        return PairBatch(
            torch.stack([sample.image for sample in samples]),
            torch.stack([sample.alpha for sample in samples]),
            self._tokenizer([sample.text for sample in samples]),
            torch.stack(negatives) if self._config.negatives else None,
            torch.tensor([sample.whole for sample in samples]),
            tuple(sample.key for sample in samples),
        )

    def _negatives(self, sample: _Sample) -> Tensor:
        """int64 (K, L); rows of zeros where a sample has fewer texts."""
        tokens = self._tokenizer([*sample.negatives, ""])[:-1]
        rows = tokens.new_zeros(self._config.negatives, tokens.shape[1])
        rows[: len(tokens)] = tokens
        return rows


def step_count(config: FinetuneConfig, pairs: int) -> int:
    """How many steps a run has.

    Args:
        config: ``steps``, or else ``epochs`` of whole batches
        pairs: how many there are

    Raises:
        FinetuneError: there are fewer pairs than a batch has
    """
    if config.batch_size > pairs:
        raise FinetuneError(
            f"batch_size is {config.batch_size}, but there are only {pairs} pairs: set it to "
            f"{pairs} at most, or add pairs"
        )
    return config.steps or max(1, round(config.epochs * (pairs // config.batch_size)))


@dataclass(frozen=True)
class _Sample:
    """Something to look at, and its text."""

    image: Tensor
    alpha: Tensor
    text: str
    negatives: tuple[str, ...]
    whole: bool
    key: str


def _places(batch_size: int, ranks: Ranks) -> range:
    """A process's slice of a step's batch."""
    each = ranks.share(batch_size)
    return range(ranks.rank * each, (ranks.rank + 1) * each)


def _draw(pair: Pair, config: FinetuneConfig, size: int, rng: np.random.Generator) -> _Sample:
    whole = rng.random() < config.whole_share
    text = pair.caption if whole else pair.texts[rng.integers(len(pair.texts))]
    negatives = () if whole else _some(pair.negatives, config.negatives, rng)
    region = Region.whole_image() if whole else pair.region
    view = View(antialias=config.antialias) if whole else _view(config, rng)
    # A region that scaling down loses keeps one pixel: a sample without any says nothing.
    image, alpha = Cutter(pair.image, view, size, keep_tiny=True).cut(region)
    if not config.use_alpha:
        alpha = torch.full_like(alpha, 255)
    if config.flip and rng.random() < 0.5:
        image, alpha = image.flip(-1), alpha.flip(-1)
    return _Sample(image, alpha, text, negatives, whole, pair.key)


def _some(texts: tuple[str, ...], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    chosen = rng.permutation(len(texts))[:count]
    return tuple(texts[place] for place in chosen)


def _view(config: FinetuneConfig, rng: np.random.Generator) -> View:
    alpha: Any = "box" if rng.random() < config.box_share else "region"
    if config.geometry == "pad" or rng.random() >= config.context_share:
        return View("image", antialias=config.antialias, alpha=alpha)
    side = float(rng.uniform(*config.context))
    return View("context", context=side, antialias=config.antialias, alpha=alpha)
