"""``alphaclip train``: what is stated where, exit codes, and messages."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from alphaclip.cli import Command
from alphaclip.training.finetune import cli as train_cli
from alphaclip.training.finetune import run as run_module
from alphaclip.training.finetune.logs import FinetuneReport

from .shape_pairs import config_of, write_model, write_shapes


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file of two steps."""
    model, pairs = write_model(tmp_path / "model"), write_shapes(tmp_path / "pairs", pictures=8)
    fields = config_of(tmp_path / "run", pairs, model, steps=2).to_dict()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    return path


def _parse(*arguments: object) -> Any:
    parser = Command()
    train_cli.add_parsers(parser.add_subparsers(parser_class=Command))
    return parser.parse_args(["train", *map(str, arguments)])


def _run(*arguments: object) -> int:
    args = _parse(*arguments)
    status: int = args.run(args)
    return status


def test_fields__options_go_over_the_file(config: Path) -> None:
    args = _parse(
        "--config", config, "--steps", 3, "--batch-size", 4, "--set", "rate=1e-5", "flip=true",
        "--set", 'keep=["last"]', "model=other", "--pairs", "a", "b",
    )  # fmt: skip
    fields = train_cli.stated_fields(args)
    assert (fields["steps"], fields["batch_size"], fields["rate"]) == (3, 4, 1e-5)
    assert (fields["flip"], fields["keep"], fields["model"]) == (True, ["last"], "other")
    assert fields["pairs"] == ["a", "b"]
    assert fields["warm_up"] == 1


def test_train__says_what_it_did_and_where_the_model_is(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("--config", config) == 0
    said = capsys.readouterr().out
    assert "2 of 2 steps on 16 pairs" in said
    assert f"alphaclip.load('{config.parent / 'run' / 'last'}')" in said


def test_train__another_process_than_the_first_waits_for_no_file_and_says_nothing(
    tmp_path: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = FinetuneReport(tmp_path / "none-yet", 2, 2, 0, 16, 1.0, 0.0, {}, {}, None, 0, 0)
    monkeypatch.setattr(run_module, "finetune", lambda config: report)
    monkeypatch.setenv("RANK", "1")
    assert _run("--config", config) == 0
    assert capsys.readouterr().out == ""


def test_train__stopped_it_says_how_to_go_on(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run_module._Run._step

    def step_and_stop(self: Any, index: int, drawn: Any) -> Any:
        if index == 0:
            signal.raise_signal(signal.SIGINT)
        return step(self, index, drawn)

    monkeypatch.setattr(run_module._Run, "_step", step_and_stop)
    assert _run("--config", config) == 130
    assert "run the same again to go on" in capsys.readouterr().out
    monkeypatch.undo()
    assert _run("--config", config) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "rate"), "'rate' is not NAME=VALUE"),
        (("--dataset", "mine"), "--dataset and --field go together"),
        (("--dataset", "mine", "--field", "f", "--pairs", "p"), "leave --pairs out"),
        (("--reviews", "auto", "--pairs", "p"), "--reviews needs --dataset and --field"),
    ],
)
def test_train__wrong_usage_exits_with_two(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(*arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_train__a_wrong_field_is_an_error_that_names_it(config: Path) -> None:
    with pytest.raises(ValueError, match="unknown field speed"):
        _run("--config", config, "--set", "speed=3")
    with pytest.raises(ValueError, match="the command line: model, pairs, output missing"):
        _run("--steps", 3)
