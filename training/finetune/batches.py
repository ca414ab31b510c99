"""Batches of region-text pairs, each made from its own seed: resuming needs only the step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from alphaclip.errors import AlphaClipError
from alphaclip.files import write_atomically
from alphaclip.regions.region import Region
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.training.finetune.processes import Ranks
from alphaclip.training.pairs.format.reading import Pair, PairSet
from alphaclip.training.pairs.format.records import PairError
from alphaclip.views.cutter import Cutter
from alphaclip.views.view import View
from alphaclip.weights.architectures import ModelConfig, build_tokenizer

_TRIES = 20
"""Pairs that are tried in the place of one that cannot be read; beyond it, the set is damaged."""


@dataclass(frozen=True)
class PairBatch:
    """Regions with their texts, row by row.

    With method ``regions`` a row is a picture, and alpha, tokens, negatives and whole have one more
    dimension behind the first, of its regions; those that are missing have no text.

    Attributes:
        images: uint8 (N, 3, R, R)
        alpha: uint8 (N, 1, R, R); 255 is to be looked at, 0 is not
        tokens: int64 (N, L), the texts, from the model's tokenizer
        negatives: int64 (N, K, L), K texts that are wrong for the row's region; None without.
            A row of zeros in place of tokens is no text and counts for nothing.
        whole: bool (N,), where the sample is a whole picture with its caption, alpha all 255
        keys: where each sample is from, for the report of a bad batch
        near: uint8 (N, S, 4, T, T), what a teacher is shown of each region, its alpha map last
    """

    images: Tensor
    alpha: Tensor
    tokens: Tensor
    negatives: Tensor | None
    whole: Tensor
    keys: tuple[str, ...]
    near: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def regions(self) -> int:
        """Regions of a row, those without text among them."""
        return self.tokens[..., 0].numel() // len(self)

    def to(self, device: torch.device | str) -> PairBatch:
        """The same on a device; from pinned memory the copy is asynchronous."""
        moved: dict[str, Any] = {
            name: tensor.to(device, non_blocking=True) for name, tensor in self._tensors().items()
        }
        return replace(self, **moved)

    def split(self, size: int) -> list[PairBatch]:
        """Parts of at most ``size`` rows, in order; one part where ``size`` is 0."""
        if size <= 0 or size >= len(self):
            return [self]
        tensors = {name: tensor.split(size) for name, tensor in self._tensors().items()}
        return [
            replace(
                self,
                **{name: parts[number] for name, parts in tensors.items()},
                keys=self.keys[number * size : (number + 1) * size],
            )
            for number in range(-(-len(self) // size))
        ]

    def save(self, path: Path) -> None:
        """Writes a batch that a step cannot use, to be looked at.

        Args:
            path: of a safetensors file: the tensors by name, and in its metadata ``keys``, a JSON
                list of where each sample is from

        Raises:
            AlphaClipError: it cannot be written
        """
        tensors = {name: t.detach().cpu().contiguous() for name, t in self._tensors().items()}
        content = save(tensors, {"keys": json.dumps(list(self.keys))})
        write_atomically(path, lambda stream: stream.write(content))

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


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
        near: side of the square that the teacher takes, where there is one

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
        near: int = 0,
    ) -> None:
        self._pairs, self._config, self._model, self._size = pairs, config, model, size
        self._near = near
        self._start = start
        self._count = sample_count(config, pairs)
        self._stop = step_count(config, self._count)
        ranks = ranks or Ranks()
        each = ranks.share(config.batch_size)
        self._rows = range(ranks.rank * each, (ranks.rank + 1) * each)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Drawn:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step = self._start + index
        replaced: list[str] = []
        samples = [self._sample(step, row, replaced) for row in self._rows]
        return Drawn(self._batch(samples), tuple(replaced))

    def _sample(self, step: int, row: int, replaced: list[str]) -> list[_Sample]:
        """What a row of a step's batch shows, each with its text."""
        # 1 tells samples from the order of an epoch, which is drawn with 0.
        rng = np.random.default_rng([self._config.seed, 1, step, row])
        for number in self._candidates(step, row):
            try:
                if self._config.method == "regions":
                    together = self._pairs.of(number)
                    return _draw_together(together, self._config, self._size, self._near, rng)
                pair: Pair = self._pairs[number]
                return [_draw(pair, self._config, self._size, rng)]
            except AlphaClipError as error:
                replaced.append(f"step {step}: {error}")
        raise FinetuneError(
            f"step {step}: {_TRIES} pairs one after another cannot be read, the last: "
            f"{replaced[-1]}. `alphaclip pairs check` says what is wrong with the set"
        )

    def _candidates(self, step: int, row: int) -> list[int]:
        """The pair for a row, and those that following steps have in it."""
        size = self._config.batch_size
        epoch, within = divmod(step, self._count // size)
        order = self._order_of(0 if self._config.reference else epoch)
        first = within * size + row
        return [int(order[(first + i * size) % len(order)]) for i in range(_TRIES)]

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._config.seed, 0, epoch])
            self._order = epoch, rng.permutation(self._count)
        return self._order[1]

    @cached_property
    def _tokenizer(self) -> Any:
        """Built in the process that draws, not sent to it."""
        return build_tokenizer(self._model)

    def _batch(self, rows: list[list[_Sample]]) -> PairBatch:
        config, samples = self._config, [sample for row in rows for sample in row]
        tokens = self._tokenizer([sample.text for sample in samples])
        negatives = tokens.new_zeros(len(samples), config.negatives, tokens.shape[1])
        for row, sample in zip(negatives, samples, strict=True):
            if sample.negatives:
                row[: len(sample.negatives)] = self._tokenizer(list(sample.negatives))
        places = torch.tensor([(i, n) for i, row in enumerate(rows) for n in range(len(row))])
        shape = [len(rows), *([config.region_count] if config.method == "regions" else [])]

        def placed(values: Tensor) -> Tensor:
            """Of each sample to its place in the batch; zeros where a picture has no more."""
            empty = values.new_zeros(*shape, *values.shape[1:])
            empty[tuple(places.T[: len(shape)])] = values
            return empty

        return PairBatch(
            torch.stack([row[0].image for row in rows]),
            placed(torch.stack([sample.alpha for sample in samples])),
            placed(tokens),
            placed(negatives) if config.negatives else None,
            placed(torch.tensor([sample.whole for sample in samples])),
            tuple(row[0].key for row in rows),
            placed(torch.stack([sample.near for sample in samples])) if self._near else None,
        )


def sample_count(config: FinetuneConfig, pairs: PairSet) -> int:
    """What an epoch has of what a batch is made of: pictures with method ``regions``, or pairs."""
    return pairs.picture_count if config.method == "regions" else len(pairs)


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


_NEAR = View("context")
"""What a teacher is shown of a region: as nano and the models of the zoo are."""

_NOTHING = torch.empty(0)


@dataclass(frozen=True)
class _Sample:
    """Something to look at, and its text."""

    image: Tensor
    alpha: Tensor
    text: str
    negatives: tuple[str, ...]
    whole: bool
    key: str
    near: Tensor = _NOTHING


def _draw(pair: Pair, config: FinetuneConfig, size: int, rng: np.random.Generator) -> _Sample:
    whole = rng.random() < config.whole_share
    words = _words(pair, whole, config, rng)
    view = View(antialias=config.antialias) if whole else _view(config, rng)
    # A region that scaling down loses keeps one pixel: a sample without any says nothing.
    cutter = Cutter(pair.image, view, size, keep_tiny=True)
    image, alpha = cutter.cut(Region.whole_image() if whole else pair.region)
    if not config.use_alpha:
        alpha = torch.full_like(alpha, 255)
    sample = _Sample(image, alpha, *words, whole, pair.key)
    return _flipped(sample) if config.flip and rng.random() < 0.5 else sample


def _draw_together(
    pairs: list[Pair], config: FinetuneConfig, size: int, near: int, rng: np.random.Generator
) -> list[_Sample]:
    """Regions of a picture that are shown in the same pixels, the whole picture among them."""
    if not pairs:
        raise PairError("a picture has no region")
    whole = rng.random() < config.whole_share
    view = View(antialias=config.antialias) if whole else _view(config, rng)
    view = replace(view, kind="cover") if view.is_local else view
    regions = [pair.region for pair in pairs]
    cutter = Cutter(pairs[0].image, view, size, keep_tiny=True, regions=regions)
    windows = cutter.windows(regions)
    chosen = windows[rng.integers(len(windows))]
    numbers = [n for n in rng.permutation(len(pairs)) if windows[n] == chosen]
    close = Cutter(pairs[0].image, _NEAR, near, keep_tiny=True) if near else None

    def sample(pair: Pair, region: Region, whole: bool) -> _Sample:
        shown = torch.cat(close.cut(region)) if close is not None else _NOTHING
        words = _words(pair, whole, config, rng)
        return _Sample(*cutter.cut(region), *words, whole, pair.key, shown)

    taken = [pairs[n] for n in numbers[: config.region_count - whole]]
    samples = [sample(pair, pair.region, False) for pair in taken]
    if whole:
        samples.append(sample(pairs[0], Region.whole_image(), True))
    flips = config.flip and rng.random() < 0.5
    return [_flipped(sample) for sample in samples] if flips else samples


def _words(
    pair: Pair, whole: bool, config: FinetuneConfig, rng: np.random.Generator
) -> tuple[str, tuple[str, ...]]:
    """A text of a region, or of its picture, and what is wrong for it."""
    text = pair.caption if whole else pair.texts[rng.integers(len(pair.texts))]
    if whole:
        return text, ()
    chosen = rng.permutation(len(pair.negatives))[: config.negatives]
    return text, tuple(pair.negatives[number] for number in chosen)


def _flipped(sample: _Sample) -> _Sample:
    flipped = {name: getattr(sample, name).flip(-1) for name in ("image", "alpha", "near")}
    return replace(sample, **flipped)


def _view(config: FinetuneConfig, rng: np.random.Generator) -> View:
    alpha: Any = "box" if rng.random() < config.box_share else "region"
    if config.geometry == "pad" or rng.random() >= config.context_share:
        return View("image", antialias=config.antialias, alpha=alpha)
    side = float(rng.uniform(*config.context))
    return View("context", context=side, antialias=config.antialias, alpha=alpha)
