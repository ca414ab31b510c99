"""Builds the pages of `docs` and the reference of the public names into ``site``.

    .venv/bin/python scripts/build_docs.py          every warning is an error
    .venv/bin/python scripts/build_docs.py serve    shows the pages while they are written

The houses lie side by side here and are one package once installed. The reference is read from the
source files, so it is given a copy of them in which they lie as they are imported (links would do
for mypy, but Griffe walks into no linked folder).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
HOUSES = {
    "alphaclip": "alphaclip",
    "indexing": "alphaclip/indexing",
    "training": "alphaclip/training",
}
STRICT = ["build", "--strict", "--clean"]


def main(arguments: list[str]) -> int:
    """Runs mkdocs, by default as ``make docs`` does, and returns its exit code."""
    with TemporaryDirectory(prefix="alphaclip-docs-") as folder:
        for house, place in HOUSES.items():
            shutil.copytree(ROOT / house, Path(folder) / place, ignore=_all_but_python)
        environ = {**os.environ, "ALPHACLIP_SOURCES": folder, "NO_MKDOCS_2_WARNING": "1"}
        command = [sys.executable, "-m", "mkdocs", *(arguments or STRICT)]
        return subprocess.run(command, cwd=ROOT, env=environ).returncode


def _all_but_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (name.endswith(".py") or (Path(folder) / name).is_dir())}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
