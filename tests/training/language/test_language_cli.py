"""``alphaclip train-captioner``."""

import subprocess
import sys
from pathlib import Path

import pytest

from alphaclip.cli import main
from alphaclip.training.language import cli


def test_train_captioner__runs_the_recipe_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], cwd: Path) -> "subprocess.CompletedProcess[bytes]":
        commands.append((command, cwd))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    assert main(["train-captioner", "made", "--steps", "5", "--crops"]) == 3
    [(command, folder)] = commands
    expected = ["-m", "recipes.captioner", str(tmp_path / "made"), "--steps=5", "--crops"]
    assert command == [sys.executable, *expected]
    assert (folder / "recipes" / "captioner" / "__main__.py").is_file()


def test_train_captioner__of_an_installed_package_says_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "CHECKOUT", tmp_path)
    assert main(["train-captioner", "made"]) == 1
    assert "in a checkout of the repository" in capsys.readouterr().err
