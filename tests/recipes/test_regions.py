"""The configurations for towers that people use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alphaclip.catalog.zoo import resolve
from alphaclip.network.split_towers import find_tower
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.weights.architectures import build_clip, read_config

RECIPES = Path(__file__).parents[2] / "recipes" / "regions"


@pytest.mark.parametrize("name", ["PE-Core-B-16", "ViT-L-14"])
def test_recipe__is_of_a_tower_with_region_queries(name: str) -> None:
    config = FinetuneConfig.read(RECIPES / f"{name}.json")
    spec = resolve(config.model)
    assert config.method == "regions" and spec.architecture == name and spec.pretrained
    assert config.batch_size % config.micro_batch == 0
    with torch.device("meta"):
        visual = build_clip(read_config(name)).visual
    assert find_tower(visual, name, config.region_blocks).depth == config.region_blocks
