"""Who may import whom: the table of the design, and imports that stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "alphaclip": "alphaclip",
    "indexing": "alphaclip.indexing",
    "training": "alphaclip.training",
    "plugin": "the_loaded_plugin",
}
FOLDER_NAMES = ("indexing", "training", "plugin")
NEVER = {
    "alphaclip": ("fiftyone", "faiss", "alphaclip.indexing", "alphaclip.training"),
    "indexing": ("alphaclip.training",),
    "training": ("fiftyone", "alphaclip.indexing"),
    "plugin": (),
}
HEAVY = ("torch", "torchvision", "open_clip", "faiss", "fiftyone", "pyarrow", "sklearn")


def imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Yields the full name of every module, and of every name, that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def never(house: str, path: Path) -> tuple[str, ...]:
    if house == "training" and path.name.startswith("fiftyone_"):
        return FOLDER_NAMES
    return NEVER[house] + FOLDER_NAMES


def violations(house: str, path: Path, source: str) -> list[str]:
    folder = path.parent.relative_to(house)
    package = ".".join([PACKAGES[house], *folder.parts])
    names = set(imported_names(ast.parse(source), package))
    return sorted(
        name
        for name in names
        for banned in never(house, path)
        if name == banned or name.startswith(f"{banned}.")
    )


@pytest.mark.parametrize("house", PACKAGES)
def test_houses__import_only_what_the_design_allows(house: str) -> None:
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / house).rglob("*.py"))]
    assert paths
    found = {path: violations(house, path, (ROOT / path).read_text()) for path in paths}
    assert {str(path): names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("alphaclip/model.py", "def f():\n    import fiftyone.core", ["fiftyone.core"]),
        ("alphaclip/model.py", "from alphaclip import indexing", ["alphaclip.indexing"]),
        ("alphaclip/nano/x.py", "from ..indexing import a", ["alphaclip.indexing"]),
        ("indexing/build.py", "from ..training import a", ["alphaclip.training"]),
        ("indexing/build.py", "import indexing", ["indexing"]),
        ("indexing/build.py", "import faiss, fiftyone\nfrom . import store", []),
        ("training/scenes.py", "import fiftyone as fo", ["fiftyone"]),
        ("training/fiftyone_scenes.py", "import fiftyone as fo", []),
        ("plugin/search.py", "from .progress import a\nimport fiftyone, alphaclip.indexing", []),
    ],
)
def test_violations__are_found(path: str, source: str, expected: list[str]) -> None:
    house = Path(path).parts[0]
    found = violations(house, Path(path), source)
    assert {name.rpartition(".a")[0] or name for name in found} == set(expected)


@pytest.mark.parametrize("module", ["alphaclip", "alphaclip.indexing", "alphaclip.cli"])
def test_import__stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
