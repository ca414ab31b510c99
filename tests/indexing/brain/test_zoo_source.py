"""How FiftyOne's model zoo knows the encoders: the package's manifest, and a folder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alphaclip.indexing.brain import zoo_source
from alphaclip.indexing.brain.zoo_source import install_zoo_source

MANIFEST = Path(__file__).parents[3] / "indexing" / "zoo" / zoo_source.PACKAGED


@pytest.fixture(autouse=True)
def of_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not this environment's FiftyOne has the package's manifest."""
    monkeypatch.setattr(zoo_source, "_packaged_names", set)


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path))
    return tmp_path


def names(folder: Path) -> list[str]:
    models = json.loads((folder / "manifest.json").read_text("utf-8"))["models"]
    return [model["base_name"] for model in models]


def test_install__at_once_loses_no_name(zoo: Path) -> None:
    wanted = [f"folder/model-{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        (folder,) = set(pool.map(install_zoo_source, wanted))
    assert set(wanted) <= set(names(folder))
    assert len(names(folder)) == len(set(names(folder)))
    assert not list(zoo.rglob("*.part*"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": [1]}', "\x00"])
def test_install__after_damage_the_named_models_are_there(zoo: Path, text: str) -> None:
    folder = install_zoo_source("mine")
    (folder / "manifest.json").write_text(text)
    assert install_zoo_source("other") == folder
    assert {"alphaclip-nano", "other"} <= set(names(folder))


def test_packaged_manifest__lists_what_the_catalogue_has() -> None:
    how = f"python -m alphaclip.indexing.brain.zoo_source > {MANIFEST}"
    assert MANIFEST.read_text("utf-8") == zoo_source.packaged_manifest(), how


def test_install__leaves_out_what_the_package_lists(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install_zoo_source("mine")
    assert {"alphaclip-nano", "alphaclip-nano+maskattn", "mine"} <= set(names(folder))
    packaged = {"alphaclip-nano", "alphaclip-nano+maskattn"}
    monkeypatch.setattr(zoo_source, "_packaged_names", lambda: packaged)
    install_zoo_source()
    assert "mine" in names(folder)
    assert not packaged & set(names(folder))
