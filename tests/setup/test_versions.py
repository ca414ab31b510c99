"""The version is written in three places, which agree."""

from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
VERSION = metadata.version("alphaclip-fiftyone")


def test_requirements__name_our_own_package_at_this_version() -> None:
    requirement = Requirement((ROOT / "requirements.txt").read_text().strip())
    assert requirement.name == "alphaclip-fiftyone"
    assert requirement.specifier == f"=={VERSION}"


def test_fiftyone_yml__has_this_version() -> None:
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert plugin["name"] == "@alphaclip/regions"
    assert plugin["version"] == VERSION
