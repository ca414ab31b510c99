"""What the plugin registers while its package is missing or of another version."""

import shutil
import sys
from importlib import metadata
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest

pytestmark = pytest.mark.usefixtures("plugin_anew")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugins folder with this plugin, in a folder with a space in its name."""
    plugin = tmp_path / "my plugins" / "regions"
    shutil.copytree(ROOT / "plugin", plugin / "plugin")
    for name in ("fiftyone.yml", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, plugin)
    monkeypatch.setattr(fo.config, "plugins_dir", str(plugin.parent))
    return plugin.parent


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package cannot be imported, nor is it listed."""
    version = metadata.version

    def find(name: str) -> str:
        if name == "alphaclip-fiftyone":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", find)
    for name in {"alphaclip", *sys.modules}:
        if name.partition(".")[0] == "alphaclip":
            monkeypatch.setitem(sys.modules, name, None)


def operators() -> tuple[list[str], list[str], dict[str, str]]:
    names = [one.name for one in foo.list_operators() if "@alphaclip/" in one.uri]
    result = foo.execute_operator("@alphaclip/regions/finish_installation").result
    return names, foo.OperatorRegistry().list_errors(), result


@pytest.mark.usefixtures("absent")
def test_register__package_missing(plugins: Path) -> None:
    names, errors, result = operators()
    assert names == ["finish_installation"]
    assert not errors
    assert "alphaclip-fiftyone is not installed" in result["problem"]
    assert result["command"] == f"{sys.executable} -m pip install '{plugins / 'regions'}'"


@pytest.mark.usefixtures("absent")
def test_command__of_a_copy_without_the_package(plugins: Path) -> None:
    folder = plugins / "regions"
    (folder / "pyproject.toml").unlink()
    _, _, result = operators()
    assert "Clone the whole repository" in result["what_to_do"]
    assert result["command"].endswith(" -m pip install PATH-OF-THE-CLONE")
    requirement = "alphaclip-fiftyone @ git+https://example.com/a/b@v0.1.0"
    (folder / "requirements.txt").write_text(f"# where it is\n{requirement}\n")
    _, _, result = operators()
    assert "Clone" not in result["what_to_do"]
    assert result["command"] == f"{sys.executable} -m pip install '{requirement}'"


def test_register__package_of_another_version(plugins: Path) -> None:
    manifest = plugins / "regions" / "fiftyone.yml"
    manifest.write_text(manifest.read_text("utf-8").replace("version: 0.1.0", "version: 9.8.7"))
    names, errors, result = operators()
    assert names == ["finish_installation"]
    assert not errors
    assert "The plugin is version 9.8.7" in result["problem"]
