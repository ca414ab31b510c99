"""A model of some thousand weights, and batches of made-up pairs for it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from alphaclip.network.factory import create_model
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.finetune.batches import PairBatch
from alphaclip.training.finetune.config import FinetuneConfig

TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vit": {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 16,
            "layers": 3,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 96,
        "init_logit_scale": 2.3,
        "init_logit_bias": -5.0,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit3",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": TEXT,
    },
}
"""Configurations of open_clip: blocks of its own, and of timm's with an attention pool."""

ARCHITECTURES["one block"] = copy.deepcopy(ARCHITECTURES["vit"])
ARCHITECTURES["one block"]["vision_cfg"]["layers"] = 1

MakeModel = Callable[..., AlphaCLIP]
MakeConfig = Callable[..., FinetuneConfig]
MakeBatch = Callable[..., PairBatch]


@pytest.fixture(scope="session")
def architectures() -> dict[str, dict[str, Any]]:
    """The small models' configurations, by the names that ``make_model`` takes."""
    return ARCHITECTURES


@pytest.fixture
def make_model() -> MakeModel:
    """Makes a small model, the same each time, whose alpha convolution is not zero.

    Nor are the layer scales of timm's blocks, which start near it.
    """

    def make(kind: str = "vit") -> AlphaCLIP:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = create_model(ARCHITECTURES[kind])
            for name, parameter in model.clip.visual.named_parameters():
                if name.endswith("_alpha.weight"):
                    parameter.data.normal_(std=0.05)
                if name.endswith(".gamma"):
                    parameter.data.fill_(1.0)
        model.has_text = True
        return model

    return make


@pytest.fixture
def make_config() -> MakeConfig:
    """Makes a configuration of fields that matter to a step."""

    def make(**fields: Any) -> FinetuneConfig:
        start = {"model": "tiny", "pairs": ["pairs"], "output": "run", "batch_size": 8}
        return FinetuneConfig.from_dict({**start, **fields})

    return make


@pytest.fixture
def make_batch() -> MakeBatch:
    """Makes a batch of noise; texts differ unless a number of distinct ones is given."""

    def make(
        rows: int = 8, negatives: int = 0, distinct: int = 0, size: int = 16, seed: int = 0
    ) -> PairBatch:
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(256, (rows, 3, size, size), generator=draw, dtype=torch.uint8)
        alpha = torch.randint(2, (rows, 1, size, size), generator=draw).to(torch.uint8) * 255
        tokens = torch.randint(1, 49, (rows, 8), generator=draw)
        tokens[:, 0] = torch.arange(rows) % (distinct or rows) + 1
        tokens = tokens[: distinct or rows].repeat(rows, 1)[:rows]
        wrong = torch.randint(1, 49, (rows, negatives, 8), generator=draw) if negatives else None
        keys = tuple(f"picture-{row}" for row in range(rows))
        return PairBatch(images, alpha, tokens, wrong, torch.zeros(rows).bool(), keys)

    return make
