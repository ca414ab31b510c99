"""The set-up's stamp: when a second run has nothing to do."""

from pathlib import Path

import pytest
import setup_env


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
