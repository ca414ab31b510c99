"""Outputs agree with the reference implementation's, for the weights tests/golden describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor

from alphaclip.network.factory import create_model
from alphaclip.weights.checkpoints import convert_checkpoint

SALT = 20231206
NORMS = ("ln_pre", "ln_1", "ln_2", "ln_post")
FILE = Path(__file__).parents[2] / "golden" / "alpha_clip_reference.npz"
TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 64,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 1, "layers": 1},
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _weights_are_let_go() -> Iterator[None]:
    yield
    golden_weight.cache_clear()


def golden_array(key: str) -> np.ndarray:
    with np.load(FILE) as arrays:
        return arrays[key]


def golden_weights(model: str) -> dict[str, Tensor]:
    """The random visual weights of a model, in the released files' naming."""
    weights = {}
    for line in golden_array(f"{model}/keys").tolist():
        name, _, shape = line.partition(" ")
        sizes = tuple(int(size) for size in shape.strip("()").split(",") if size)
        weights[name] = torch.from_numpy(golden_weight(name, sizes))
    return weights


@cache  # the large models have all but one of their weights in common
def golden_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng([SALT, crc32(name.encode())])
    weight = rng.standard_normal(shape).astype(np.float32) * np.float32(0.02)
    layer, _, kind = name.rpartition(".")
    if kind == "weight" and layer.rpartition(".")[2] in NORMS:
        weight += 1
    return weight


def golden_inputs(resolution: int) -> tuple[Tensor, Tensor]:
    """Normalised pictures (2, 3, R, R) and alpha maps (2, 1, R, R)."""
    rng = np.random.default_rng([SALT, 1])
    image = rng.standard_normal((2, 3, resolution, resolution)).astype(np.float32)
    mask = np.zeros((2, 1, resolution, resolution), np.float32)
    mask[0, 0, resolution // 4 : resolution // 2, resolution // 8 : resolution // 2] = 1
    mask[1] = 1
    alpha = (mask - np.float32(0.5)) / np.float32(0.26)
    return torch.from_numpy(image), torch.from_numpy(alpha)


def largest_difference(
    model: str, name: str, architecture: str | None = None, pictures: int = 2
) -> float:
    """How far the converted model's embeddings of so many pictures are from the reference's."""
    converted = convert_checkpoint(golden_weights(model), architecture)
    clip = create_model(name, checkpoint=converted)
    with torch.inference_mode():
        embedding = clip.encode_image(*(part[:pictures] for part in golden_inputs(clip.image_size)))
    expected = torch.from_numpy(golden_array(f"{model}/embedding"))[:pictures]
    assert embedding.shape == expected.shape
    return (embedding - expected).abs().max().item()


def test_golden__regenerated_weights_and_inputs_are_the_stored_ones():
    for name, weight in golden_weights("tiny").items():
        assert np.array_equal(weight.numpy(), golden_array(f"tiny/state_dict/{name}")), name
    image, alpha = golden_inputs(32)
    assert np.array_equal(image.numpy(), golden_array("tiny/image"))
    assert np.array_equal(alpha.numpy(), golden_array("tiny/alpha"))


def test_golden__tiny(tmp_path):
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY))
    assert largest_difference("tiny", str(config), str(config)) < 1e-4


def test_golden__vit_b_16_gets_quick_gelu_unasked(caplog):
    assert largest_difference("ViT-B-16", "ViT-B-16") < 1e-4
    assert "building ViT-B-16-quickgelu instead of ViT-B-16" in caplog.text


@pytest.fixture
def unset(monkeypatch):
    """Weights start as what is in memory: they are loaded, and random ones take seconds."""
    for name in ("kaiming_uniform_", "uniform_", "normal_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


@pytest.mark.slow
@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize("model", ["ViT-L-14", "ViT-L-14-336"])
def test_golden__vit_l_14(model):
    """Of the picture with a part shown: the whole one is the smaller models' turn."""
    assert largest_difference(model, f"{model}-quickgelu", pictures=1) < 1e-4
