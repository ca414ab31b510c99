"""Version and address stand in one place, and the copies that FiftyOne reads agree with it."""

import shutil
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import release_check
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", "fiftyone.yml", "requirements.txt")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the files that hold versions and addresses."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text("utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new), "utf-8")


def test_copies__agree() -> None:
    assert release_check.differences(ROOT) == []
    version = release_check.project(ROOT)["version"]
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert (plugin["name"], plugin["version"]) == ("@alphaclip/regions", version)
    assert metadata.version("alphaclip-fiftyone") == version


def test_requirements__come_from_no_index() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    (line,) = [line for line in lines if not line.startswith("#")]
    requirement, about = Requirement(line), release_check.project(ROOT)
    assert requirement.name == about["name"]
    assert requirement.url == f"git+{about['urls']['Repository']}@v{about['version']}"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pyproject.toml", 'version = "0.1.0"', 'version = "9.8.7"'),
        ("fiftyone.yml", "version: 0.1.0", "version: 0.1.1"),
        ("requirements.txt", "@v0.1.0", "@main"),
        ("requirements.txt", "alphaclip-fiftyone @ git+", "alphaclip-fiftyone #"),
    ],
)
def test_differences__are_told_and_written(copy: Path, name: str, old: str, new: str) -> None:
    edit(copy, name, old, new)
    told = release_check.differences(copy)
    assert told
    assert all("release_check.py --write" in line for line in told)
    release_check.write_copies(copy)
    assert release_check.differences(copy) == []


def test_address__is_a_placeholder_until_it_is_set(copy: Path) -> None:
    address = release_check.project(copy)["urls"]["Repository"]
    assert address in release_check.address_problem(copy)
    edit(copy, "pyproject.toml", address, "https://example.com/somebody/alphaclip-fiftyone")
    assert release_check.address_problem(copy) == ""
    release_check.write_copies(copy)
    assert "git+https://example.com/somebody" in (copy / "requirements.txt").read_text()


def test_intruders__are_what_is_in_no_package(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    inside = ("alphaclip/files.py", "alphaclip/nano/card.json", "a-1.dist-info/METADATA")
    outside = ("tests/test_a.py", "alphaclip/recipes/train.py", "plugin/__init__.py")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (*inside, *outside):
            archive.writestr(name, "")
    assert release_check.intruders(wheel, ["alphaclip", "alphaclip.nano"]) == [*outside]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--publish"], 1)])
def test_main__placeholder_stops_only_a_publication(
    options: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(release_check, "check_build", lambda root, folder: [])
    assert release_check.main(options) == code
    assert "address is still a placeholder" in "".join(capsys.readouterr())
