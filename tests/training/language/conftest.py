"""A small LLaVA, an Alpha-CLIP tower of its size, and pairs; each is written once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from alphaclip import convert_checkpoint

from ...alphaclip.language.test_alpha_tower import VISION, write_checkpoint
from ...alphaclip.language.tiny_models import make_llava, spread
from ...alphaclip.network.test_golden import TINY, golden_weights
from ..finetune.shape_pairs import write_shapes


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llava")


@pytest.fixture(scope="session")
def base(folder: Path) -> Path:
    """A LLaVA with a plain tower."""
    torch.manual_seed(0)
    processor, model = make_llava(VISION)
    spread(model)
    model.save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    return folder / "base"


@pytest.fixture(scope="session")
def tower(folder: Path) -> Path:
    config = folder / "tiny.json"
    config.write_text(json.dumps(TINY))
    return write_checkpoint(folder / "tower", convert_checkpoint(golden_weights("tiny"), config))


@pytest.fixture(scope="session")
def pairs(folder: Path) -> Path:
    """16 pairs of 8 pictures."""
    return write_shapes(folder / "pairs", pictures=8)
