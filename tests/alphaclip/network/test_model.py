"""create_model and AlphaCLIP on small random models."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import alphaclip
from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.errors import (
    AlphaClipError,
    CheckpointError,
    MissingWeightsError,
    ModelNotFoundError,
)
from alphaclip.network import factory
from alphaclip.network.factory import create_model
from alphaclip.network.fingerprint import fingerprint
from alphaclip.network.model import AlphaCLIP
from alphaclip.weights.architectures import build_clip, read_config, visual_shapes
from alphaclip.weights.checkpoints import write_checkpoint

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
    },
}  # fmt: skip


def write_config(folder: Path, **changes) -> Path:
    path = folder / "small.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path


@pytest.fixture
def config(tmp_path) -> Path:
    return write_config(tmp_path)


def visual_tensors(config: Path, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = visual_shapes(config)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def inputs(size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((3, 3, size, size), generator=generator)
    return image, torch.randn((3, 1, size, size), generator=generator)


@torch.no_grad()
def test_create_model__without_alpha_weights_is_the_base(config, tmp_path):
    base = build_clip(read_config(config)).eval()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    model = create_model(config, pretrained=tmp_path / "base.safetensors")
    image, alpha = inputs()
    assert torch.equal(model.encode_image(image, alpha), base.encode_image(image))
    tokens = model.tokenizer(["a red apple", "a pear"])
    torch.testing.assert_close(model.encode_text(tokens), base.encode_text(tokens))
    assert tokens.shape == (2, 12)


@torch.no_grad()
def test_create_model__visual_checkpoint(config, tmp_path):
    tensors = visual_tensors(config)
    write_checkpoint(tensors, tmp_path / "alpha.safetensors", {})
    model = create_model(str(config), checkpoint=tmp_path / "alpha.safetensors")
    assert isinstance(model, AlphaCLIP)
    assert not model.training
    assert torch.equal(model.clip.visual.conv1_alpha.weight, tensors["visual.conv1_alpha.weight"])
    image, alpha = inputs()
    embedding = model.encode_image(image, alpha)
    assert embedding.shape == (3, 16)
    assert not torch.allclose(embedding, model.encode_image(image, -alpha))
    assert not torch.allclose(embedding.norm(dim=-1), torch.ones(3))


def test_create_model__without_text_weights_text_is_refused(config):
    model = create_model(config, checkpoint=visual_tensors(config))
    assert not model.has_text
    with pytest.raises(MissingWeightsError, match=r"small.*pretrained"):
        model.encode_text(torch.zeros(1, 12, dtype=torch.long))


@torch.no_grad()
def test_create_model__text_weights_that_are_not_here_wait_for_text(config, tmp_path, monkeypatch):
    base = build_clip(read_config(config)).eval()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    here: list[Path] = []

    def download(architecture: str, tag: str) -> Path:
        if not here:
            raise MissingWeightsError(f"{tag} of {architecture}: run `hf download`")
        return here[0]

    monkeypatch.setattr(factory, "_find_tag", lambda *_: {})
    monkeypatch.setattr(factory, "find_base", lambda *_: here[0] if here else None)
    monkeypatch.setattr(factory, "download_base", download)
    tensors = visual_tensors(config)
    model = create_model(config, checkpoint=tensors, pretrained="tag")
    image, alpha = inputs()
    tokens = model.tokenizer(["a red apple"])
    alone = create_model(config, checkpoint=tensors)
    assert torch.equal(model.encode_image(image, alpha), alone.encode_image(image, alpha))
    for needs_text in (model.encode_text, lambda _: fingerprint(model, None)):
        with pytest.raises(MissingWeightsError, match=r"tag of small: run `hf download`"):
            needs_text(tokens)
    assert not model.has_text
    here.append(tmp_path / "base.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_text(tokens), base.encode_text(tokens))
    assert model.has_text
    eager = create_model(config, checkpoint=tensors, pretrained="tag")
    assert eager.has_text
    assert fingerprint(model, None) == fingerprint(eager, None) != fingerprint(alone, None)
    again = create_model(config, checkpoint=tensors)
    assert fingerprint(alone, None) == fingerprint(again, None)


@torch.no_grad()
def test_create_model__whole_checkpoint_brings_the_text_tower(config, tmp_path):
    first = create_model(config, checkpoint=visual_tensors(config))
    write_checkpoint(first.clip.state_dict(), tmp_path / "whole.safetensors", {"name": "mine"})
    second = create_model(config, checkpoint=tmp_path / "whole.safetensors")
    assert second.has_text
    tokens = second.tokenizer(["a red apple"])
    torch.testing.assert_close(second.encode_text(tokens), first.clip.encode_text(tokens))
    image, alpha = inputs()
    assert torch.equal(second.encode_image(image, alpha), first.encode_image(image, alpha))


def test_create_model__changes_take_the_place_of_some_weights(config, tmp_path):
    tensors, path = visual_tensors(config), tmp_path / "changes.safetensors"
    scale = {"visual.regions.scale.0": torch.full((2,), 0.5)}
    write_checkpoint({**scale, "visual.proj": torch.ones(64, 16)}, path, {"image_size": "64"})
    model = create_model(config, tensors, changes=path)
    assert model.image_size == 64 and model.config.settings["vision_cfg"]["image_size"] == 64
    state = model.clip.state_dict()
    assert torch.equal(state["visual.proj"], torch.ones(64, 16))
    assert torch.equal(state["visual.conv1.weight"], tensors["visual.conv1.weight"])
    assert state["visual.positional_embedding"].shape == (1 + 8 * 8, 64)
    assert state["visual.regions.scale.0"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "about", "message"),
    [
        ("visual.proj", {}, "image_size is '': expected pixels"),
        ("visual.proj", {"image_size": "60"}, "image_size is 60, but small has patches of 8"),
        ("visual.other", {"image_size": "64"}, "visual.other .* is unexpected"),
        ("visual.ln_post.weight", {"image_size": "64"}, "the model needs"),
    ],
)
def test_create_model__changes_that_do_not_fit(config, tmp_path, name, about, message):
    path = tmp_path / "changes.safetensors"
    write_checkpoint({name: torch.ones(64, 16)}, path, about)
    with pytest.raises(AlphaClipError, match=message):
        create_model(config, visual_tensors(config), changes=path)


def test_create_model__half_precision_checkpoint_becomes_float32(config):
    tensors = {name: tensor.half() for name, tensor in visual_tensors(config).items()}
    model = create_model(config, checkpoint=tensors)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_create_model__tensor_that_does_not_fit_is_named(config):
    tensors = visual_tensors(config)
    tensors["visual.proj"] = torch.zeros(64, 99)
    del tensors["visual.conv1_alpha.weight"]
    with pytest.raises(CheckpointError) as error:
        create_model(config, checkpoint=tensors)
    assert "visual.proj has shape (64, 99), the model needs (64, 16)" in str(error.value)
    assert "visual.conv1_alpha.weight is missing" in str(error.value)


def test_create_model__base_weights_that_do_not_fit(config, tmp_path):
    save_file({"visual.proj": torch.zeros(2, 2)}, tmp_path / "base.safetensors")
    with pytest.raises(CheckpointError, match=r"base\.safetensors.*base weights of small"):
        create_model(config, pretrained=tmp_path / "base.safetensors")


def test_create_model__checkpoint_of_another_architecture(tmp_path):
    path = tmp_path / "alpha.safetensors"
    write_checkpoint({"visual.proj": torch.zeros(2)}, path, {"architecture": "ViT-L-14-quickgelu"})
    with pytest.raises(CheckpointError, match="for ViT-L-14-quickgelu, not for ViT-B-16"):
        create_model("ViT-B-16", checkpoint=path)


def test_create_model__quick_gelu_checkpoint_needs_quick_gelu(tmp_path):
    config = write_config(tmp_path)
    metadata = {"architecture": "small-quickgelu"}
    write_checkpoint(visual_tensors(config), tmp_path / "alpha.safetensors", metadata)
    with pytest.raises(CheckpointError, match=r"activation is QuickGELU.*builds GELU"):
        create_model(config, checkpoint=tmp_path / "alpha.safetensors")
    quick = write_config(tmp_path, quick_gelu=True)
    model = create_model(quick, checkpoint=tmp_path / "alpha.safetensors")
    assert model.config.quick_gelu


def test_create_model__tag_trained_with_the_other_activation():
    with pytest.raises(CheckpointError, match=r"trained with QuickGELU.*'-quickgelu' in its name"):
        create_model("RN50", pretrained="openai")


def test_create_model__unknown_tag_lists_the_tags():
    with pytest.raises(ModelNotFoundError, match=r"RN50 has no.*'nope'.*openai, yfcc15m"):
        create_model("RN50", pretrained="nope")


def test_create_model__unknown_name():
    with pytest.raises(ModelNotFoundError, match="no model is called 'ViT-B16'"):
        create_model("ViT-B16")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read as JSON"), ('{"embed_dim": 3}', "vision_cfg, text_cfg missing")],
)
def test_create_model__broken_configuration(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(AlphaClipError, match=rf"broken\.json.*{message}"):
        create_model(path)


def test_create_model__configuration_with_an_unknown_option(tmp_path):
    path = write_config(tmp_path, vision_cfg={**CONFIG["vision_cfg"], "colour": 3})
    with pytest.raises(AlphaClipError, match=r"open_clip cannot build.*colour"):
        create_model(path)


def test_create_model__configuration_as_a_dict(config):
    tensors = visual_tensors(config)
    model = create_model(CONFIG, checkpoint=tensors)
    image, alpha = inputs()
    with torch.no_grad():
        same = create_model(config, checkpoint=tensors).encode_image(image, alpha)
        assert torch.equal(model.encode_image(image, alpha), same)
    assert model.tokenizer(["a pear"]).shape == (1, 12)
    with pytest.raises(AlphaClipError, match=r"the given configuration.*vision_cfg, text_cfg"):
        create_model({"embed_dim": 3})


def test_create_model__base_weights_missing_offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingWeightsError, match=r"'openai' of RN50-quickgelu.*hf download"):
        create_model("RN50-quickgelu", pretrained="openai")


def test_create_model__configuration_that_is_not_there(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such configuration"):
        create_model(tmp_path / "absent.json")


@torch.no_grad()
def test_create_model__timm_tower(tmp_path):
    vision = {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map"}
    config = write_config(tmp_path, vision_cfg=vision, custom_text=True)
    model = create_model(config)
    assert isinstance(model.clip, open_clip.CustomTextCLIP)
    image, alpha = inputs(160)
    embedding = model.encode_image(image, alpha)
    assert embedding.shape == (3, model.dim) == (3, 16)
    assert torch.equal(embedding, model.encode_image(image, -alpha))


def test_alpha_clip__normalisation_is_the_models(tmp_path):
    assert create_model(write_config(tmp_path)).mean == open_clip.OPENAI_DATASET_MEAN
    settings = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps(settings))
    model = create_model(path)
    assert (model.mean, model.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert model.image_size == 32
    assert model.tokenizer(["pear"]).shape == (1, 12)


def test_alpha_clip__other_resolution_is_refused(config):
    model = create_model(config)
    with pytest.raises(AlphaClipError, match=r"\(3, 3, 40, 40\).*32 x 32"):
        model.encode_image(*inputs(40))


def test_alpha_clip__alpha_of_another_size_is_refused(config):
    image, alpha = inputs()
    with pytest.raises(AlphaClipError, match=r"alpha has shape \(3, 1, 16, 16\)"):
        create_model(config).encode_image(image, alpha[..., :16, :16])


def test_alpha_clip__merges_of_another_vocabulary_are_refused(tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "merges.txt.gz").write_bytes((NANO_FOLDER / "merges.txt.gz").read_bytes())
    with pytest.raises(AlphaClipError, match=r"vocabulary of 4514.*states 49408"):
        _ = create_model(config).tokenizer


def test_create_model__nano_configuration_and_tokenizer():
    model = create_model(NANO_FOLDER / "alphaclip-nano.json")
    tokens = model.tokenizer(["a red apple", "Ünïcödé \u7b49 text"])
    assert tokens.shape == (2, 40)
    assert tokens.max() == model.tokenizer.eot_token_id == 4513
    image, alpha = inputs(64)
    assert model.encode_image(image, alpha).shape == (3, 192)
    assert not model.has_text


def test_public_names__are_lazy_and_complete():
    assert alphaclip.create_model is create_model
    assert set(alphaclip.__all__) <= set(dir(alphaclip))
    assert alphaclip.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = alphaclip.nothing_like_this
