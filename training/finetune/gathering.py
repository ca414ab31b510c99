"""What the processes of a run exchange: features before the loss, gradients after it.

Each process computes the loss of the whole batch, its own features with gradient among the other
processes' without. The sum of the processes' gradients is then the gradient of that loss, text to
image included, and no gradient has to travel back through the exchange. (With PyTorch's
``DistributedDataParallel``, which averages, it would be too small by the number of processes.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from alphaclip.training.finetune.errors import FinetuneError

_AT_ONCE = 64 * 2**20
"""Numbers in one exchange of gradients: 256 MiB."""


@dataclass(frozen=True)
class Ranks:
    """The processes that share each batch.

    Attributes:
        rank: of this one, from 0
        world: how many there are
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """Those of the process group that was set up; this process alone without one."""
        if not dist.is_available() or not dist.is_initialized():
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, batch_size: int) -> int:
        """This process's part of a batch.

        Raises:
            FinetuneError: the batch cannot be shared evenly
        """
        if batch_size % self.world:
            raise FinetuneError(
                f"batch_size is {batch_size}, which {self.world} processes cannot share evenly: "
                f"take a multiple of {self.world}"
            )
        return batch_size // self.world

    def gather(self, tensor: Tensor) -> Tensor:
        """The processes' tensors one after the other, by rank.

        Args:
            tensor: (N, ...), of one shape in all processes

        Returns:
            (world * N, ...); only this process's part has gradient
        """
        if self.world == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor.detach().contiguous())
        parts[self.rank] = tensor
        return torch.cat(parts)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces gradients by their sum over the processes; the same bits in each of them."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        for some in _bundles(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in some])
            dist.all_reduce(flat)
            parts = flat.split([gradient.numel() for gradient in some])
            for gradient, part in zip(some, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def _bundles(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bundle: list[Tensor] = []
    for tensor in tensors:
        bundle.append(tensor)
        if sum(member.numel() for member in bundle) >= _AT_ONCE:
            yield bundle
            bundle = []
    if bundle:
        yield bundle
