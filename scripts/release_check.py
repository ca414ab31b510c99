"""Builds what would be published, and checks it.

    make release-check
    .venv/bin/python scripts/release_check.py --publish --out dist
    .venv/bin/python scripts/release_check.py --write

``pyproject.toml`` is the one place for the version and for the repository's address. FiftyOne reads
both elsewhere, as plain text: ``--write`` copies them into ``fiftyone.yml`` and
``requirements.txt``, and the check says where they differ. With ``--publish`` an address that
nobody has set is an error too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
NOT_SET = ".invalid"
"""What the host of an address ends in that is not set yet: no such name can ever be registered."""

ABOUT_REQUIREMENT = """\
# The package that comes with this plugin, from its own repository: nobody has published it under
# this name on an index, where a stranger could. Written from pyproject.toml by
# scripts/release_check.py --write
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the script and returns its exit code."""
    parser = argparse.ArgumentParser(description="check what would be published")
    parser.add_argument("--publish", action="store_true", help="check all that publishing needs")
    parser.add_argument("--out", type=Path, help="folder to leave wheel and sdist in")
    parser.add_argument("--write", action="store_true", help="copy version and address, then end")
    options = parser.parse_args(arguments)
    if options.write:
        write_copies(ROOT)
        return 0
    problems = differences(ROOT)
    with TemporaryDirectory(prefix="alphaclip-release-") as folder:
        problems += check_build(ROOT, options.out or Path(folder))
    unset = address_problem(ROOT)
    if options.publish and unset:
        problems.append(unset)
    elif unset:
        print(f"to do before publishing: {unset}")
    for problem in problems:
        print(f"wrong: {problem}", file=sys.stderr)
    print(f"{len(problems)} wrong" if problems else f"version {project(ROOT)['version']} is fine")
    return 1 if problems else 0


def pyproject(root: Path) -> dict[str, Any]:
    """What ``pyproject.toml`` says."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def project(root: Path) -> dict[str, Any]:
    """Name, version, addresses and so on of the package."""
    return pyproject(root)["project"]


def requirement(root: Path) -> str:
    """What the plugin requires: the package of its own version, from its own repository."""
    about = project(root)
    return f"{about['name']} @ git+{about['urls']['Repository']}@v{about['version']}"


def address_problem(root: Path) -> str:
    """What is wrong with the repository's address; an empty text if nothing is."""
    address = project(root)["urls"]["Repository"]
    if not (urlsplit(address).hostname or NOT_SET).endswith(NOT_SET):
        return ""
    return (
        f"the repository's address is still a placeholder, {address}: set Repository below "
        "[project.urls] in pyproject.toml, then run scripts/release_check.py --write"
    )


def copies(root: Path) -> dict[str, str]:
    """The files with a copy of the version or the address, as they have to be."""
    plugin = (root / "fiftyone.yml").read_text("utf-8")
    version = f"version: {project(root)['version']}"
    return {
        "fiftyone.yml": re.sub(r"^version: .*$", version, plugin, count=1, flags=re.MULTILINE),
        "requirements.txt": f"{ABOUT_REQUIREMENT}{requirement(root)}\n",
    }


def write_copies(root: Path) -> None:
    """Brings the copies of version and address up to date."""
    for name, text in copies(root).items():
        (root / name).write_text(text, "utf-8")


def differences(root: Path) -> list[str]:
    """Says which copies of version and address differ from ``pyproject.toml``."""
    return [
        f"{name} does not agree with pyproject.toml: run scripts/release_check.py --write"
        for name, text in copies(root).items()
        if not (root / name).is_file() or (root / name).read_text("utf-8") != text
    ]


def check_build(root: Path, folder: Path) -> list[str]:
    """Builds wheel and sdist, and says what is wrong with them.

    They are built with the setuptools of this environment, so without a network too.
    """
    python = [sys.executable, "-m"]
    built = _run([*python, "build", "--no-isolation", "--outdir", str(folder), str(root)])
    if built:
        return [f"wheel and sdist cannot be built:\n{built}"]
    version = project(root)["version"]
    files = sorted(folder.glob(f"*-{version}[-.]*"))
    wheels = [path for path in files if path.suffix == ".whl"]
    if len(files) != 2 or len(wheels) != 1:
        names = [path.name for path in folder.iterdir()]
        return [f"expected a wheel and an sdist of version {version}, got {names}"]
    for path in files:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    refused = _run([*python, "twine", "check", "--strict", *map(str, files)])
    packages = pyproject(root)["tool"]["setuptools"]["packages"]
    problems = [f"twine check:\n{refused}"] if refused else []
    return problems + [f"{name} is in the wheel" for name in intruders(wheels[0], packages)]


def intruders(wheel: Path, packages: list[str]) -> list[str]:
    """What is in a wheel and in none of its packages: tests, recipes, the plugin and the like."""
    folders = {package.replace(".", "/") for package in packages}
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
    return [
        str(name)
        for name in names
        if str(name.parent) not in folders and not name.parts[0].endswith(".dist-info")
    ]


def _run(command: list[str]) -> str:
    """What a command printed if it failed; an empty text if it did not."""
    run = subprocess.run(command, capture_output=True, text=True)
    return (run.stdout + run.stderr) or f"exit code {run.returncode}" if run.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
