"""Batches of regions to vectors, each picture's trunk run once for all its regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from alphaclip.views.cutting import Row

if TYPE_CHECKING:
    from torch import Tensor

    from alphaclip.encoder.pooling import Sharing

Prepare = Callable[[Sequence["Tensor"]], "Tensor"]
"""uint8 (3, R, R) pictures to one float (P, 3, R, R) of normalised ones."""


class SharedTrunk:
    """Runs a sharing way over a stream of batches.

    Rows with the same tensor of pixels show the same picture, and share its trunk; what that made
    of the last picture is kept, since its next regions may be in the next batch.

    Args:
        way: what runs
        prepare: makes the model's input of pixels
    """

    def __init__(self, way: Sharing, prepare: Prepare) -> None:
        self._way = way
        self._prepare = prepare
        self._last: tuple[Tensor, Tensor] | None = None

    def encode(self, batch: Sequence[Row], maps: Tensor) -> Tensor:
        """Encodes a batch of regions.

        Args:
            batch: the rows, those of a picture one after the other
            maps: float (n, 1, R, R), their alpha maps, in [0, 1]

        Returns:
            (n, dim), before normalisation
        """
        import torch

        shared = self._shared([row.pixels for row in batch])
        vectors = []
        for start, end in _runs(batch):
            whole = [row.is_whole_image for row in batch[start:end]]
            picture = shared[id(batch[start].pixels)]
            vectors.append(self._way.pool(picture, maps[start:end], whole))
        return torch.cat(vectors)

    def _shared(self, pictures: Sequence[Tensor]) -> dict[int, Tensor]:
        """What each picture in a batch shares, by the identity of its pixels."""
        known = {} if self._last is None else {id(self._last[0]): self._last[1]}
        new = {id(p): p for p in pictures if id(p) not in known}
        if new:
            known |= zip(new, self._way.trunk(self._prepare(list(new.values()))), strict=True)
        self._last = pictures[-1], known[id(pictures[-1])].clone()
        return known


def _runs(batch: Sequence[Row]) -> list[tuple[int, int]]:
    """Where rows with the same pixels begin and end."""
    starts = [i for i, row in enumerate(batch) if not i or row.pixels is not batch[i - 1].pixels]
    return list(zip(starts, [*starts[1:], len(batch)], strict=True))
