"""Logs that are cut, extended and torn, and the curves drawn of them."""

import time
from itertools import count
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alphaclip.training.finetune.logs import RowLog, RunLogs, draw_curves, smooth


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_rows__come_back_as_they_were(tmp_path: Path, name: str) -> None:
    log = RowLog(tmp_path / name)
    rows = [{"step": 0, "loss": 1.5, "rate": 2e-06}, {"step": 10, "loss": -0.25, "rate": 0.0}]
    for row in rows:
        log.append(row)
    assert log.rows() == rows


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_cut__drops_the_steps_that_are_done_again(tmp_path: Path, name: str) -> None:
    log = RowLog(tmp_path / name)
    log.cut(0)
    for step in range(4):
        log.append({"step": step, "loss": step / 2})
    log.cut(2)
    assert [row["step"] for row in log.rows()] == [0, 1]
    log.append({"step": 2, "loss": 7.0})
    assert log.rows()[-1] == {"step": 2, "loss": 7.0}


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_cut__drops_a_line_torn_by_a_kill(tmp_path: Path, name: str) -> None:
    log = RowLog(tmp_path / name)
    for step in (0, 1):
        log.append({"step": step, "loss": 0.5})
    log.path.write_text(log.path.read_text()[:-4])
    log.cut(10)
    assert log.rows() == [{"step": 0, "loss": 0.5}]


def test_csv__gets_new_columns_where_they_are_needed(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "log.csv")
    log.append({"step": 0, "a: mAP": 1.0})
    log.append({"step": 1, "b, by region": 2.0})
    log.append({"step": 2, "a: mAP": 3.0})
    assert log.path.read_text() == 'step,a: mAP,"b, by region"\n0,1.0,\n1,,2.0\n2,3.0,\n'
    assert log.rows()[1] == {"step": 1, "b, by region": 2.0}


def test_run_logs__go_to_tensorboard_and_hide_what_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorBoard orders files of one second by a counter, as text: the tenth before the ninth
    monkeypatch.setattr(time, "time", count(time.time()).__next__)
    for first, value in ((0, 1.0), (1, 5.0)):
        logs = RunLogs(tmp_path, first)
        for step in range(first, 3):
            logs.add_step({"step": step, "loss": value + step})
        logs.add_evaluation({"step": 2, "mAP": 50.0 * value})
        logs.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [(event.step, event.value) for event in shown.Scalars("training/loss")]
    assert losses == [(0, 1.0), (1, 6.0), (2, 7.0)]
    assert RowLog(tmp_path / "log.csv").rows()[1:] == [
        {"step": 1, "loss": 6.0},
        {"step": 2, "loss": 7.0},
    ]
    assert RowLog(tmp_path / "evaluation.csv").rows() == [{"step": 2, "mAP": 250.0}]


def test_run_logs__what_is_measured_before_training_goes_only_with_the_whole_log(
    tmp_path: Path,
) -> None:
    RunLogs(tmp_path, 0).add_evaluation({"step": 0, "mAP": 1.0})
    RunLogs(tmp_path, 2).add_evaluation({"step": 4, "mAP": 2.0})
    assert [row["step"] for row in RowLog(tmp_path / "evaluation.csv").rows()] == [0, 4]
    RunLogs(tmp_path, 0)
    assert RowLog(tmp_path / "evaluation.csv").rows() == []


def test_run_logs__other_processes_write_nothing(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path, 0, writes=False)
    logs.add_step({"step": 0, "loss": 1.0})
    logs.close()
    assert list(tmp_path.iterdir()) == []


def test_draw_curves__has_a_panel_for_what_was_measured(tmp_path: Path) -> None:
    log, evaluation = RowLog(tmp_path / "log.csv"), RowLog(tmp_path / "evaluation.csv")
    for step in range(3):
        log.append({"step": step, "loss": 1.0, "hit": 0.5, "rate": 1e-6, "alpha_rate": 1e-4})
    draw_curves(log, evaluation, tmp_path / "plain.png")
    evaluation.append({"step": 2, "mAP": 40.0})
    draw_curves(log, evaluation, tmp_path / "measured.png")
    widths = [_width(tmp_path / name) for name in ("plain.png", "measured.png")]
    assert widths == [1350, 1800]


def test_smooth__is_the_mean_of_the_last_values() -> None:
    assert smooth([2.0, 4.0, 6.0, 8.0], window=2) == [2.0, 3.0, 5.0, 7.0]


def _width(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[16:20], "big")
