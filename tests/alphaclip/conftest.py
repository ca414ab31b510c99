"""A small random model, made once."""

import json
from pathlib import Path

import pytest
import torch

from alphaclip.encoder.encoder import Encoder
from alphaclip.network.factory import create_model
from alphaclip.views.view import View

TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture(scope="session")
def encoder(tiny_config: Path) -> Encoder:
    torch.manual_seed(0)
    model = create_model(str(tiny_config))
    torch.nn.init.normal_(model.clip.visual.conv1_alpha.weight, std=0.1)
    model.has_text = True
    return Encoder(model, "tiny", View("context"), torch.device("cpu"), torch.float32)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder of the test's own, with nothing in it."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("ALPHACLIP_MODELS", str(folder))
    return folder


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of open_clip's that are on this machine: none, but what a test adds."""
    names: list[str] = []

    def find(architecture: str, tag: str) -> Path | None:
        return Path("somewhere") if f"{architecture}/{tag}" in names else None

    monkeypatch.setattr("alphaclip.weights.base_weights.find_base", find)
    return names
