"""MaskAdaptedCLIP: OVSeg's weights files and mask tokens, against the steps written out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from alphaclip import Region
from alphaclip.encoder import mask_prompts
from alphaclip.encoder.load import load
from alphaclip.encoder.mask_prompts import MaskPrompted, create_prompted
from alphaclip.errors import CheckpointError, MissingWeightsError
from alphaclip.views.view import View
from alphaclip.weights.architectures import build_clip, read_config

SMALL = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "head_width": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
DEPTH = 3


@pytest.fixture(autouse=True)
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small architecture in the place of ViT-B/16."""
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    monkeypatch.setitem(mask_prompts.ARCHITECTURES, (16, 64), str(path))
    return path


@pytest.fixture
def tensors(architecture: Path) -> dict[str, Tensor]:
    """A CLIP with mask tokens, under the names of the fork of open_clip that OVSeg trained."""
    torch.manual_seed(0)
    clip = build_clip(read_config(architecture))
    state = {name: torch.randn_like(tensor) * 0.1 for name, tensor in clip.state_dict().items()}
    more = {"attn_mask": torch.zeros(12, 12), "context_length": torch.tensor(12)}
    return {**state, **more, "visual.mask_embedding": torch.randn(DEPTH, 16, 64)}


@pytest.fixture
def weights(tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    """As OVSeg publishes them: a segmenter's checkpoint with the CLIP inside."""
    path = tmp_path / "ovseg_ft_mpt.pth"
    named = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in tensors.items()}
    others = {"backbone.norm.weight": torch.ones(3), "clip_adapter.pixel_mean": torch.ones(3)}
    torch.save({"model": {**named, **others}, "iteration": 7}, path)
    return path


@torch.inference_mode()
def by_hand(tensors: dict[str, Tensor], architecture: Path, image: Tensor, kept: Tensor) -> Tensor:
    """OVSeg's forward pass: background patches are replaced before the first three blocks."""
    clip = build_clip(read_config(architecture)).eval()
    clip.load_state_dict({n: tensors[n] for n in clip.state_dict()})
    visual, prompts = clip.visual, tensors["visual.mask_embedding"]
    keep = kept.float()[None, :, None]
    patches = visual.conv1(image).flatten(2).transpose(1, 2)
    patches = patches * keep + prompts[0] * (1 - keep)
    tokens = torch.cat((visual.class_embedding.expand(1, 1, -1), patches), dim=1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)
    for place, block in enumerate(visual.transformer.resblocks):
        tokens = block(tokens)
        if place + 1 < DEPTH:
            patches = tokens[:, 1:] * keep + prompts[place + 1] * (1 - keep)
            tokens = torch.cat((tokens[:, :1], patches), dim=1)
    return visual.ln_post(tokens[:, 0]) @ visual.proj


def test_mask_prompted__by_the_weights(
    weights: Path, tensors: dict[str, Tensor], architecture: Path
) -> None:
    way = MaskPrompted(create_prompted(weights).eval())
    image, maps = torch.randn(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    maps[0, 0, 5:9, 10:12] = 1  # patches 1 and 5
    kept = torch.zeros(16)
    kept[[1, 5]] = 1
    with torch.inference_mode():
        got = way.encode(image, maps, [False])
    expected = by_hand(tensors, architecture, image, kept)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_mask_prompted__a_whole_picture_is_the_models_own(weights: Path) -> None:
    model = create_prompted(weights).eval()
    image, ones = torch.randn(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with torch.inference_mode():
        got = MaskPrompted(model).encode(image, ones, [True, True])
        expected = model.encode_image(image, (ones - 0.5) / 0.26)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)


def test_load__encodes_with_both_towers(weights: Path) -> None:
    encoder = load(f"{weights}+maskprompt", device="cpu")
    assert encoder.name == f"{weights}+maskprompt"
    assert encoder.view == View("context", 1.0, background="mean")
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    regions = [Region.from_box([0.1, 0.1, 0.3, 0.4]), Region.whole_image()]
    vectors = encoder.encode_regions(image, regions)
    assert vectors.shape == (2, 16) and np.isfinite(vectors).all()
    assert encoder.encode_text(["a cat"]).shape == (1, 16)
    again = load(encoder.name, device="cpu", view=View(**encoder.view.to_dict()))
    assert again.fingerprint == encoder.fingerprint


def test_fingerprint__mask_tokens_are_part_of_it(
    weights: Path, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors["visual.mask_embedding"] = tensors["visual.mask_embedding"] + 1
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {f"module.{n}": t for n, t in tensors.items()}}, other)
    names = [f"{path}+maskprompt" for path in (weights, other)]
    assert len({load(name, device="cpu").fingerprint for name in names}) == 2


def test_create_prompted__safetensors_and_plain_state_dicts(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "clip.safetensors")
    torch.save(tensors, tmp_path / "clip.pt")
    for name in ("clip.safetensors", "clip.pt"):
        model = create_prompted(tmp_path / name)
        assert model.has_text
        assert torch.equal(model.clip.visual.mask_embedding, tensors["visual.mask_embedding"])
        assert torch.equal(model.clip.visual.proj, tensors["visual.proj"])


def test_create_prompted__mask_tokens_alone_stand_on_openais_weights(
    tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.pth"
    torch.save({"visual.mask_embedding": torch.randn(3, 196, 768)}, path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("alphaclip.weights.base_weights.fetch_file", _offline)
    with pytest.raises(MissingWeightsError, match="'openai' of ViT-B-16-quickgelu"):
        create_prompted(path)


def _offline(*given: Any) -> None:
    raise OSError("there is no network")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"visual.proj": torch.zeros(2)}, "holds no visual.mask_embedding"),
        ({"visual.mask_embedding": torch.zeros(3, 1, 64)}, r"shape \(3, 1, 64\), expected"),
        ({"visual.mask_embedding": torch.zeros(16, 64)}, r"shape \(16, 64\), expected"),
        (
            {"visual.mask_embedding": torch.zeros(3, 16, 64), "visual.proj": torch.zeros(2)},
            "does not fit small: visual.class_embedding is missing",
        ),
        (
            {"a.visual.mask_embedding": torch.zeros(1), "b.visual.mask_embedding": torch.zeros(1)},
            "holds no visual.mask_embedding",
        ),
        ([1, 2], "holds a list"),
    ],
)
def test_create_prompted__what_does_not_fit(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=message):
        create_prompted(tmp_path / "wrong.pth")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_create_prompted__runs_no_code(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"model": Malicious(trace)}))
    with pytest.raises(CheckpointError, match="Nothing but tensors is ever loaded"):
        create_prompted(path)
    assert not trace.exists()
