"""Creates the clone's virtual environment, installs the package into it, makes the database ready.

    python3 scripts/setup_env.py            what the demo and users need
    python3 scripts/setup_env.py --tests    the tests' packages as well

A second run with nothing changed takes a moment; an interrupted one is taken up by running again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import database

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "alphaclip-setup"
INPUTS = ("pyproject.toml", "scripts/setup_env.py", "scripts/database.py")


def main(arguments: list[str] | None = None) -> int:
    """Runs the script and returns its exit code."""
    parser = argparse.ArgumentParser(description="set up .venv in this clone")
    parser.add_argument("--tests", action="store_true", help="install the tests' packages as well")
    extra = "[test]" if parser.parse_args(arguments).tests else ""
    try:
        set_up(extra)
    except database.SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def set_up(extra: str) -> None:
    """Does what the stamp says is not done yet.

    Args:
        extra: of the package to install: ``""`` or ``"[test]"``; the second includes the first

    Raises:
        database.SetupError: with one line that says what to do
    """
    stamp = fingerprint(ROOT)
    if is_current(STAMP, stamp, extra):
        return
    python = create_environment()
    print("installing packages into .venv (some minutes, some GB the first time)", flush=True)
    database.pip(python, "install", "--editable", f"{ROOT}{extra}")
    database.prepare(python)
    print(database.describe(database.inspect(python)), flush=True)
    STAMP.write_text(f"{stamp}{extra}\n")


def fingerprint(root: Path) -> str:
    """The hash of everything that decides what is installed."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str, extra: str) -> bool:
    """Whether a set-up with these inputs, and at least this extra, was finished."""
    if not stamp.exists():
        return False
    return stamp.read_text().strip() in {f"{wanted}{extra}", f"{wanted}[test]"}


def create_environment() -> Path:
    """Creates ``.venv`` if it is not there, and returns its interpreter.

    Raises:
        database.SetupError: Python is too old, or lacks the venv module
    """
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if sys.version_info < (3, 10):
        raise database.SetupError(
            f"Python {sys.version.split()[0]} is too old: install Python 3.10 to 3.13 and run "
            "`make PYTHON=python3.11 ...`"
        )
    command: list[str | Path] = [sys.executable, "-m", "venv", VENV]
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"],
                                             capture_output=True).returncode:  # fmt: skip
        try:
            database.run_quietly(command)
        except database.SetupError as error:
            raise database.SetupError(
                f"no virtual environment could be made ({error}): on Debian and Ubuntu, "
                "apt install python3-venv"
            ) from error
        database.pip(python, "install", "--upgrade", "pip")
    return python


if __name__ == "__main__":
    sys.exit(main())
