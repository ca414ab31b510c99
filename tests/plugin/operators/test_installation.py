"""What the plugin registers while its package is missing or of another version."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

LIST_OPERATORS = """
import json, sys
from importlib import metadata

version = metadata.version

def absent(name):
    if name == "alphaclip-fiftyone":
        raise metadata.PackageNotFoundError(name)
    return version(name)

if sys.argv[2] == "absent":
    sys.modules["alphaclip"] = None
    metadata.version = absent

import fiftyone as fo
import fiftyone.operators as foo
fo.config.plugins_dir = sys.argv[1]
names = [operator.name for operator in foo.list_operators() if "@alphaclip/" in operator.uri]
result = foo.execute_operator("@alphaclip/regions/finish_installation").result
print(json.dumps([names, foo.OperatorRegistry().list_errors(), result]))
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A plugins folder with this plugin, in a folder with a space in its name."""
    plugin = tmp_path / "my plugins" / "regions"
    shutil.copytree(ROOT / "plugin", plugin / "plugin")
    for name in ("fiftyone.yml", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, plugin)
    return plugin.parent


def operators(plugins: Path, package: str) -> tuple[list[str], list[str], dict[str, str]]:
    command = [sys.executable, "-c", LIST_OPERATORS, str(plugins), package]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return tuple(json.loads(run.stdout.splitlines()[-1]))


def test_register__package_missing(plugins: Path) -> None:
    names, errors, result = operators(plugins, "absent")
    assert names == ["finish_installation"]
    assert not errors
    assert "alphaclip-fiftyone is not installed" in result["problem"]
    assert result["command"] == f"{sys.executable} -m pip install '{plugins / 'regions'}'"


def test_command__of_a_copy_without_the_package(plugins: Path) -> None:
    folder = plugins / "regions"
    (folder / "pyproject.toml").unlink()
    _, _, result = operators(plugins, "absent")
    assert "Clone the whole repository" in result["what_to_do"]
    assert result["command"].endswith(" -m pip install PATH-OF-THE-CLONE")
    requirement = "alphaclip-fiftyone @ git+https://example.com/a/b@v0.1.0"
    (folder / "requirements.txt").write_text(f"# where it is\n{requirement}\n")
    _, _, result = operators(plugins, "absent")
    assert "Clone" not in result["what_to_do"]
    assert result["command"] == f"{sys.executable} -m pip install '{requirement}'"


def test_register__package_of_another_version(plugins: Path) -> None:
    manifest = plugins / "regions" / "fiftyone.yml"
    manifest.write_text(manifest.read_text("utf-8").replace("version: 0.1.0", "version: 9.8.7"))
    names, errors, result = operators(plugins, "present")
    assert names == ["finish_installation"]
    assert not errors
    assert "The plugin is version 9.8.7" in result["problem"]
