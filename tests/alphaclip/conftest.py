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
