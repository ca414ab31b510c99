"""How FiftyOne's model zoo knows the encoders: the package's manifest, and a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alphaclip.indexing.brain import zoo_source
from alphaclip.indexing.brain.zoo_source import install_zoo_source

MANIFEST = Path(__file__).parents[3] / "indexing" / "zoo" / zoo_source.PACKAGED
LOAD = """
import json, sys
import fiftyone.zoo as foz
assert not any(name.startswith(("alphaclip", "torch")) for name in sys.modules)
listed = set(foz.list_zoo_models(tags="alphaclip"))
assert not any(name.startswith("alphaclip") for name in sys.modules)
loaded = [foz.load_zoo_model(name, classes=["cat", "dog"]) for name in sys.argv[1:]]
print(json.dumps([[m.encoder.name, m.classes, m.encoder.name in listed] for m in loaded]))
"""


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


def test_packaged_manifest__serves_before_anything_of_the_package_is_imported(
    tmp_path: Path,
) -> None:
    models = ["alphaclip-nano", "alphaclip-nano+maskattn", "alphaclip-nano+near+maskpool"]
    places = {
        "FIFTYONE_MODEL_ZOO_DIR": str(tmp_path),
        "FIFTYONE_MODEL_ZOO_MANIFEST_PATHS": str(MANIFEST),
    }
    command = [sys.executable, "-c", LOAD, *models]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **places})
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout.splitlines()[-1])
    assert loaded == [[name, ["cat", "dog"], True] for name in models]


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
