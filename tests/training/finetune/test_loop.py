"""The loop over steps: what is called when, and how time is counted."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from alphaclip.training.finetune.loop import Pace, make_loader, run_steps


class _Numbers(Dataset[int]):
    """The numbers from ``start``, each after a pause."""

    def __init__(self, start: int, stop: int, pause: float = 0.0) -> None:
        self._numbers, self._pause = range(start, stop), pause

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> int:
        time.sleep(self._pause)
        return self._numbers[index]


def _run(start: int, stop: int, **more: Any) -> tuple[list[tuple[str, Any]], Pace]:
    calls: list[tuple[str, Any]] = []

    def step(index: int, batch: int) -> Mapping[str, Any]:
        calls.append(("step", (index, batch)))
        return {"value": batch}

    def log(index: int, figures: Mapping[str, Any], pace: Pace) -> Mapping[str, str]:
        calls.append(("log", (index, figures["value"], pace.steps)))
        return {}

    def after(done: int) -> bool:
        calls.append(("after", done))
        return done == more.get("ends_at")

    numbers = _Numbers(start, stop, more.get("pause", 0.0))
    pace = run_steps(
        "test", range(start, stop), numbers, step, log, after, log_every=2, workers=0, show=False
    )
    return calls, pace


def test_run_steps__each_step_has_its_batch_and_every_second_is_logged() -> None:
    calls, pace = _run(3, 6)
    assert calls == [
        ("step", (3, 3)),
        ("after", 4),
        ("step", (4, 4)),
        ("log", (4, 4, 2)),
        ("after", 5),
        ("step", (5, 5)),
        ("after", 6),
    ]
    assert pace.steps == 3


def test_run_steps__ends_where_it_is_told_to() -> None:
    calls, pace = _run(0, 10, ends_at=2)
    assert [call for call in calls if call[0] == "after"] == [("after", 1), ("after", 2)]
    assert pace.steps == 2


def test_pace__counts_the_wait_for_all_batches_but_the_first() -> None:
    _, pace = _run(0, 4, pause=0.05)
    assert 0.15 <= pace.waiting <= pace.seconds
    recent = pace.since(Pace(1, 0.05, 0.05))
    assert recent.steps == 3
    assert recent.waiting == pytest.approx(pace.waiting - 0.05)


def test_pace__leaves_out_what_comes_after_a_step() -> None:
    pace = Pace()
    for _ in pace.timed([1, 2, 3]):
        pace.count_step()
        time.sleep(0.1)
    assert pace.steps == 3
    assert pace.seconds < 0.1


def test_make_loader__shares_the_processors_among_the_machines_trainers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert make_loader(_Numbers(0, 1)).num_workers == 2
    for trainers, workers in (("2", 1), ("4", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", trainers)
        assert make_loader(_Numbers(0, 1)).num_workers == workers
    assert make_loader(_Numbers(0, 1), workers=0).num_workers == 0
    assert isinstance(next(iter(make_loader(_Numbers(5, 6), workers=0))), (int, torch.Tensor))
