"""The processes of a run, those that ``torchrun`` started or this one alone, and its end.

Each process computes the loss of the whole batch, its own features with gradient among the other
processes' without. The sum of the processes' gradients is then the gradient of that loss, text to
image included, and no gradient has to travel back through the exchange. (With PyTorch's
``DistributedDataParallel``, which averages, it would be too small by the number of processes.)
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.pairs.format.jobs import sole_writer

logger = logging.getLogger(__name__)

LOCK = "run.lock"

PATIENCE = timedelta(hours=3)
"""How long processes wait for each other; the first one also measures and writes."""

_AT_ONCE = 64 * 2**20
"""Numbers in one exchange of gradients: 256 MiB, as few exchanges as fit beside the model."""


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

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether a flag is set in any of the processes; the same answer in all.

        Returns when all processes have come to the same call.
        """
        if self.world == 1:
            return flag
        value = torch.tensor(float(flag), device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())

    def gather_lines(self, lines: list[str]) -> list[str]:
        """The lines of all processes, by rank."""
        if self.world == 1:
            return lines
        gathered: list[list[str]] = [[] for _ in range(self.world)]
        dist.all_gather_object(gathered, lines)
        return [line for some in gathered for line in some]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces gradients by their sum over the processes; the same bits in each of them."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        bundle: list[Tensor] = []
        for number, gradient in enumerate(gradients, 1):
            bundle.append(gradient)
            if sum(member.numel() for member in bundle) < _AT_ONCE and number < len(gradients):
                continue
            flat = torch.cat([member.reshape(-1) for member in bundle])
            dist.all_reduce(flat)
            parts = flat.split([member.numel() for member in bundle])
            for member, part in zip(bundle, parts, strict=True):
                member.copy_(part.view_as(member))
            bundle = []


@contextmanager
def joined_processes() -> Iterator[tuple[Ranks, torch.device]]:
    """Joins the processes that ``torchrun`` started, and leaves them at the end.

    Yields:
        the processes, and the device of this one: the GPU of its number on its machine, or the CPU

    Raises:
        FinetuneError: there are fewer GPUs on this machine than processes
    """
    device = _device()
    if "RANK" not in os.environ or dist.is_initialized():
        yield Ranks.joined(), device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks.joined(), device
    finally:
        dist.destroy_process_group()


def only_run(folder: Path, ranks: Ranks) -> AbstractContextManager[None]:
    """A context in which no other run writes into an output folder.

    Args:
        folder: made if need be
        ranks: of the run; the first process holds the lock, which ends with it

    Raises:
        FinetuneError: another run does, or the folder cannot be written to
    """
    return nullcontext() if ranks.rank else sole_writer(folder, LOCK, FinetuneError)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", 0))
    if number >= torch.cuda.device_count():
        raise FinetuneError(
            f"process {number} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            "start as many with --nproc-per-node"
        )
    return torch.device("cuda", number)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PAUSE = 2.0
"""Seconds: a person who wants to stop at once needs longer to see that the first one was heard."""


class StopRequest:
    """Catches Ctrl-C and SIGTERM while it is entered; one that comes later again acts at once.

    ``torchrun`` passes on a Ctrl-C that its processes have got from the terminal as well: what
    comes within `_PAUSE` seconds is the same request.

    Outside the main thread, where Python catches no signals, nothing is changed.

    Attributes:
        asked: whether the run is to stop
    """

    def __init__(self) -> None:
        self.requested = False
        self._first = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            logger.warning("stopping after this step; again stops at once, and loses some steps")
            self.requested, self._first = True, time.monotonic()
        elif time.monotonic() - self._first > _PAUSE:
            self.__exit__()
            signal.raise_signal(number)
