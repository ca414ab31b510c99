"""The processes of a run: those that ``torchrun`` started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from alphaclip.training.finetune.errors import FinetuneError
from alphaclip.training.finetune.gathering import Ranks

LOCK = "run.lock"

PATIENCE = timedelta(hours=3)
"""How long processes wait for each other; the first one also measures and writes."""


@contextmanager
def joined_processes() -> Iterator[tuple[Ranks, torch.device]]:
    """Joins the processes that ``torchrun`` started, and leaves them at the end.

    Yields:
        the processes, and the device of this one: the GPU of its place on its machine, or the CPU

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


@contextmanager
def only_run(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Makes sure that no other run writes into an output folder at the same time.

    Args:
        folder: made if need be
        ranks: of the run; the first process holds the lock, which ends with it

    Raises:
        FinetuneError: another run does, or the folder cannot be written to
    """
    if ranks.rank:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise FinetuneError(f"{folder}: another run is writing there: wait for its end") from error
    except OSError as error:
        reason = error.strerror or error
        raise FinetuneError(f"{folder} cannot be written to ({reason}): take another") from error
    with lock:
        yield


def any_rank(flag: bool, ranks: Ranks, device: torch.device) -> bool:
    """Whether a flag is set in any of the processes; the same answer in all."""
    if ranks.world == 1:
        return flag
    value = torch.tensor(float(flag), device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def wait_for_first(ranks: Ranks, device: torch.device) -> None:
    """Returns when the first process has come to the same call."""
    any_rank(False, ranks, device)


def gather_lines(lines: list[str], ranks: Ranks) -> list[str]:
    """The lines of all processes, by rank."""
    if ranks.world == 1:
        return lines
    found: list[list[str]] = [[] for _ in range(ranks.world)]
    dist.all_gather_object(found, lines)
    return [line for some in found for line in some]


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place = int(os.environ.get("LOCAL_RANK", 0))
    if place >= torch.cuda.device_count():
        raise FinetuneError(
            f"process {place} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            "start as many with --nproc-per-node"
        )
    return torch.device("cuda", place)
