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
MINIMUM_PYTHON = (3, 10)
LINK_MANIFEST = """
import shutil, sys
from importlib.util import find_spec
from pathlib import Path

models = Path(find_spec("fiftyone").origin).parent / "zoo" / "models"
for manifest in Path(sys.argv[1]).glob("manifest-*.json"):
    link = models / manifest.name
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(manifest)
    except OSError:
        shutil.copy(manifest, link)
"""
"""An editable installation leaves out what the package puts beside FiftyOne's own manifests."""


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
    except KeyboardInterrupt:
        print("set-up was interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def set_up(extra: str) -> None:
    """Does what the stamp says is not done yet, and makes sure that the database works.

    Args:
        extra: of the package to install: ``""`` or ``"[test]"``; the second includes the first.

    Raises:
        database.SetupError: with one line that says what to do.
    """
    check_python(sys.version_info[:3])
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = fingerprint(ROOT)
    done = python.exists() and is_current(STAMP, stamp, extra)
    if not done:
        create_environment(python)
        print("installing packages into .venv (some minutes, some GB the first time)", flush=True)
        database.pip(python, "install", "--editable", f"{ROOT}{extra}")
        database.run_quietly([python, "-c", LINK_MANIFEST, ROOT / "indexing/zoo"])
    branch = database.prepare(python)
    if not done:
        print(database.describe(database.inspect(python), branch), flush=True)
        STAMP.write_text(f"{stamp}{extra}\n")


def check_python(version: tuple[int, ...]) -> None:
    """Raises a SetupError where this Python is too old for the package."""
    if version < MINIMUM_PYTHON:
        raise database.SetupError(
            f"Python {'.'.join(map(str, version))} is too old: install Python 3.10 or later and "
            "name it, for example `make test PYTHON=python3.11`"
        )


def fingerprint(root: Path) -> str:
    """Returns the hash of everything that decides what is installed, and where."""
    digest = hashlib.sha256(str(root).encode())
    for name in INPUTS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str, extra: str) -> bool:
    """Says whether a set-up with these inputs, and at least this extra, was finished."""
    if not stamp.exists():
        return False
    return stamp.read_text().strip() in {f"{wanted}{extra}", f"{wanted}[test]"}


def create_environment(python: Path) -> None:
    """Creates ``.venv`` unless its interpreter and pip already run.

    Args:
        python: the interpreter that the environment has, or will have.

    Raises:
        database.SetupError: Python lacks the venv module; says what to install.
    """
    if python.exists():
        probe = subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
        if probe.returncode == 0:
            return
    try:
        database.run_quietly([sys.executable, "-m", "venv", VENV])
    except database.SetupError as error:
        raise database.SetupError(
            f"no virtual environment could be made ({error}): install Python's venv module "
            "(on Debian and Ubuntu: apt install python3-venv), then run this again"
        ) from error
    database.pip(python, "install", "--upgrade", "pip")


if __name__ == "__main__":
    sys.exit(main())
