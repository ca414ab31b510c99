"""What a batch of regions and texts is compared by.

Both losses are functions of the whole batch, whatever number of processes encoded it. Without
equal texts, negatives and smoothing they are open_clip's ``ClipLoss`` and ``SigLipLoss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.processes import Ranks


@dataclass(frozen=True)
class Texts:
    """A batch's texts, encoded.

    Attributes:
        vectors: float32 (N, D), unit length
        tokens: int64 (N, L); tells which are equal
        negatives: float32 (N, K, D), unit length; K may be 0
        usable: bool (N, K), which negatives are texts, and others than the row's own
        taught: float32 (N, D), a teacher's vectors of the regions, unit length; (N, 0) without one
    """

    vectors: Tensor
    tokens: Tensor
    negatives: Tensor
    usable: Tensor
    taught: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """One batch of several, in order."""
        return cls(*map(torch.cat, zip(*(part._tensors() for part in parts), strict=True)))

    def of(self, rows: Tensor) -> Texts:
        """Those of some rows."""
        return Texts(*(tensor[rows] for tensor in self._tensors()))

    def gathered(self, ranks: Ranks) -> Texts:
        """Those of all processes."""
        return Texts(*map(ranks.gather, self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.vectors, self.tokens, self.negatives, self.usable, self.taught


class Loss(NamedTuple):
    """What a batch came to.

    Attributes:
        value: (), with gradient
        hit: (), share of regions nearest to their own text in the batch, negatives among it
    """

    value: Tensor
    hit: Tensor


def batch_loss(
    image: Tensor,
    texts: Texts,
    scale: Tensor,
    bias: Tensor | None,
    config: FinetuneConfig,
    world: int = 1,
    pictures: Tensor | None = None,
) -> Loss:
    """The loss of a whole batch.

    Regions with equal texts are not each other's negatives, except with ``reference``.

    Args:
        image: float32 (N, D), unit length, of all processes
        texts: of all processes
        scale: what cosines are multiplied with
        bias: what is added then; for the sigmoid loss
        config: which loss, and how
        world: the number of processes; with ``reference`` the released code's exchange leaves
            text-to-image without gradient where there are several
        pictures (None): int64 (N,), of which picture each row is, where the texts of its other
            regions are not to count as wrong
    """
    allowed = _allowed(texts.tokens, as_released=config.reference)
    if pictures is not None:
        own = torch.eye(len(pictures), dtype=torch.bool, device=allowed.device)
        allowed = allowed & (own | (pictures[:, None] != pictures[None]))
    logits = scale * image @ texts.vectors.T
    if config.loss == "sigmoid":
        biased = logits if bias is None else logits + bias
        return Loss(_sigmoid(biased, allowed), _hit(biased, allowed))
    columns = logits.detach() if config.reference and world > 1 else logits
    of_text = _cross_entropy(columns.T, allowed, config.label_smoothing)
    wrong = scale * torch.einsum("nd,nkd->nk", image, texts.negatives)
    rows = torch.cat([logits, wrong], dim=1)
    allowed = torch.cat([allowed, texts.usable], dim=1)
    of_image = _cross_entropy(rows, allowed, config.label_smoothing)
    return Loss((of_image + of_text) / 2, _hit(rows, allowed))


def usable_negatives(negatives: Tensor, tokens: Tensor) -> Tensor:
    """Which negatives count: texts, and others than the row's own.

    Args:
        negatives: int64 (N, K, L); zeros are no text
        tokens: int64 (N, L), the rows' own

    Returns:
        bool (N, K)
    """
    return (negatives != 0).any(-1) & (negatives != tokens[:, None]).any(-1)


def _allowed(tokens: Tensor, as_released: bool) -> Tensor:
    """Bool (N, N): a row's own column, and those of other texts."""
    own = torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)
    if as_released:
        return torch.ones_like(own)
    _, text = tokens.unique(dim=0, return_inverse=True)
    return own | (text[:, None] != text[None, :])


def _cross_entropy(logits: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """PyTorch's, of (N, M) logits whose right column is the row's own number.

    Columns that are not allowed are left out, of the smoothing as well, where PyTorch's own would
    count them as infinitely wrong.
    """
    likely = logits.masked_fill(~allowed, float("-inf")).log_softmax(dim=1)
    right = likely.diagonal()
    if smoothing:
        spread = likely.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1)
        right = (1 - smoothing) * right + smoothing * spread
    return -right.mean()


def _sigmoid(logits: Tensor, allowed: Tensor) -> Tensor:
    """SigLIP's loss (arXiv 2303.15343, algorithm 1): each pair is right or wrong by itself."""
    signs = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
    return -logsigmoid(signs * logits).masked_fill(~allowed, 0.0).sum() / len(logits)


def _hit(logits: Tensor, allowed: Tensor) -> Tensor:
    nearest = logits.detach().masked_fill(~allowed, float("-inf")).argmax(dim=1)
    return (nearest == torch.arange(len(logits), device=logits.device)).float().mean()
