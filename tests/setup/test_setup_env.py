"""The set-up's stamp, and what it says where it cannot go on."""

import os
from pathlib import Path

import pytest
import setup_env
from database import SetupError


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in setup_env.INPUTS:
        (tmp_path / name).write_text(name)
    return tmp_path


def test_fingerprint__changes_with_any_input(clone: Path) -> None:
    seen = {setup_env.fingerprint(clone)}
    for name in setup_env.INPUTS:
        (clone / name).write_text("changed")
        seen.add(setup_env.fingerprint(clone))
    assert len(seen) == 1 + len(setup_env.INPUTS)


def test_fingerprint__changes_when_the_clone_moves(clone: Path) -> None:
    before = setup_env.fingerprint(clone)
    assert setup_env.fingerprint(clone.rename(clone.with_name("moved"))) != before


@pytest.mark.parametrize(
    ("done", "asked", "current"),
    [("", "", True), ("[test]", "", True), ("[test]", "[test]", True), ("", "[test]", False)],
)
def test_is_current__a_larger_set_up_serves_a_smaller(
    tmp_path: Path, done: str, asked: str, current: bool
) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text(f"abc{done}\n")
    assert setup_env.is_current(stamp, "abc", asked) is current


def test_is_current__nothing_was_set_up(tmp_path: Path) -> None:
    assert not setup_env.is_current(tmp_path / "stamp", "abc", "")


def test_check_python__too_old_says_what_to_install() -> None:
    setup_env.check_python((3, 10, 0))
    with pytest.raises(SetupError, match=r"Python 3\.9\.18 is too old: install Python 3\.10"):
        setup_env.check_python((3, 9, 18))


def test_create_environment__without_the_venv_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named venv >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(setup_env.sys, "executable", os.fspath(python))
    with pytest.raises(SetupError, match=r"No module named venv.*apt install python3-venv"):
        setup_env.create_environment(tmp_path / ".venv" / "bin" / "python")
