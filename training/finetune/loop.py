"""The loop over training steps: batches from other processes, rates, rows for the log, timing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

Figures = Mapping[str, Any]
"""Numbers, or tensors that are read only when a row is logged."""


@dataclass
class Pace:
    """How fast a loop is. Only steps count: not what starts it, nor what comes after a step.

    Attributes:
        steps: that are done
        seconds: that these took, with the wait for their batches; the first batch's not
        waiting: seconds of these in which there was no batch to work on
    """

    steps: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    _since: float = 0.0

    def timed(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches; notes how long each but the first is waited for."""
        source = iter(batches)
        batch = next(source, None)
        self._since = time.monotonic()
        while batch is not None:
            yield batch
            began = time.monotonic()
            batch = next(source, None)
            if batch is not None:
                self._since = began
                self.waiting += time.monotonic() - began

    def count_step(self) -> None:
        """Notes that the step of the last batch is done."""
        self.seconds += time.monotonic() - self._since
        self.steps += 1

    def since(self, earlier: Pace) -> Pace:
        """The pace of the steps after an earlier moment of the same loop."""
        return Pace(
            self.steps - earlier.steps,
            self.seconds - earlier.seconds,
            self.waiting - earlier.waiting,
        )


def run_steps(
    name: str,
    steps: range,
    batches: Dataset[Any],
    step: Callable[[int, Any], Figures],
    log: Callable[[int, Figures, Pace], Mapping[str, str]],
    after: Callable[[int], bool] = lambda done: False,
    log_every: int = 10,
    workers: int | None = None,
    show: bool = True,
) -> Pace:
    """Runs steps in order.

    Args:
        name: shown in the terminal
        steps: first step, and the one after the last
        batches: item ``i`` is the batch of step ``steps.start + i``
        step: trains on the batch of a step, and returns its figures
        log: called every ``log_every`` steps with the step, its figures and the pace so far;
            returns what the terminal shows beside the progress
        after: called with the number of steps done, to keep or to measure; True ends the loop
        log_every (10): steps
        workers (None): see `make_loader`
        show (True): whether the terminal shows progress

    Returns:
        the pace of all steps
    """
    pace = Pace()
    batches_in_time = pace.timed(make_loader(batches, workers))
    bar = tqdm(
        batches_in_time, name, steps.stop, initial=steps.start, mininterval=5, disable=not show
    )
    for index, batch in enumerate(bar, start=steps.start):
        figures = step(index, batch)
        pace.count_step()
        if index % log_every == 0:
            bar.set_postfix(log(index, figures, pace), refresh=False)
        if after(index + 1):
            break
    return pace


def make_loader(batches: Dataset[Any], workers: int | None = None) -> DataLoader[Any]:
    """Loads whole batches ahead of the loop.

    Args:
        batches: each item is a batch
        workers (None): processes that make batches, by default one for two processors, which the
            training processes of this machine share; 0 for none; spawned, since a fork of a
            process whose threads hold locks can hang for ever
    """
    trainers = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    count = max(1, (os.cpu_count() or 1) // 2 // trainers) if workers is None else workers
    # Four batches ahead of each process even out pictures of very different sizes.
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=count,
        prefetch_factor=4 if count else None,
        multiprocessing_context="spawn" if count else None,
    )
