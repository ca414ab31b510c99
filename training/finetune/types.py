"""What one step of fine-tuning takes: a batch of regions, each with its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """Regions with their texts, row by row.

    Attributes:
        images: uint8 (N, 3, R, R)
        alpha: uint8 (N, 1, R, R); 255 is to be looked at, 0 is not
        tokens: int64 (N, L), the texts, from the model's tokenizer
        negatives: int64 (N, K, L), K texts that are wrong for the row's region; None without.
            A row of zeros in place of tokens is no text and counts for nothing.
        whole: bool (N,), where the sample is a whole picture with its caption, alpha all 255
        keys: where each sample is from, for the report of a bad batch
    """

    images: Tensor
    alpha: Tensor
    tokens: Tensor
    negatives: Tensor | None
    whole: Tensor
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> PairBatch:
        """The same on a device; from pinned memory the copy is asynchronous."""
        images, alpha, tokens, whole = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.images, self.alpha, self.tokens, self.whole)
        )
        negatives = self.negatives
        if negatives is not None:
            negatives = negatives.to(device, non_blocking=True)
        return PairBatch(images, alpha, tokens, negatives, whole, self.keys)

    def split(self, size: int) -> list[PairBatch]:
        """Parts of at most ``size`` rows, in order; one part where ``size`` is 0."""
        if size <= 0 or size >= len(self):
            return [self]
        return [self._rows(start, start + size) for start in range(0, len(self), size)]

    def _rows(self, start: int, stop: int) -> PairBatch:
        return PairBatch(
            self.images[start:stop],
            self.alpha[start:stop],
            self.tokens[start:stop],
            None if self.negatives is None else self.negatives[start:stop],
            self.whole[start:stop],
            self.keys[start:stop],
        )
