"""The folder by which FiftyOne's model zoo knows the encoders."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alphaclip.indexing.brain.zoo_source import install_zoo_source


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
