"""Runs mypy on the package as it is imported.

    .venv/bin/python scripts/check_types.py --python-version 3.10

The houses lie side by side here and are one package once installed. mypy finds no
``alphaclip.indexing`` below ``alphaclip/``, takes what is imported from there for Any, and checks
next to nothing; so it is given a folder of links in which they lie as they are imported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Runs mypy with further arguments and returns its exit code."""
    with TemporaryDirectory(prefix="alphaclip-types-") as folder:
        package = Path(folder) / "alphaclip"
        package.mkdir()
        for path in (*(ROOT / "alphaclip").iterdir(), ROOT / "indexing", ROOT / "training"):
            (package / path.name).symlink_to(path)
        (Path(folder) / "recipes").symlink_to(ROOT / "recipes")
        options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache"]
        command = [sys.executable, "-m", "mypy", *options, *arguments]
        return subprocess.run([*command, "-p", "alphaclip", "-p", "recipes"], cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
