"""Names to models, and where weights are; nothing here touches the network."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from alphaclip.catalog import zoo
from alphaclip.catalog.released import (
    RELEASED,
    describe,
    find_released,
    install,
    models_folder,
)
from alphaclip.encoder.load import load
from alphaclip.errors import CheckpointError, MissingWeightsError, ModelNotFoundError
from alphaclip.network.factory import create_model
from alphaclip.regions.region import Region
from alphaclip.views.view import View
from alphaclip.weights.architectures import build_clip, read_config, visual_shapes
from alphaclip.weights.base_weights import base_advice, find_base
from alphaclip.weights.checkpoints import write_checkpoint

MIM = "alphaclip-vit-l14-grit1m-mim"
SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1, "head_width": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model of one's own: configuration and weights."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "small.json").write_text(json.dumps(SMALL))
    tensors = {n: torch.zeros(s) for n, s in visual_shapes(path / "small.json").items()}
    write_checkpoint(tensors, path / "model.safetensors", {})
    return path


def test_list_models__eight_released_and_nano():
    names = [info.name for info in zoo.list_models()]
    assert names == [released.name for released in RELEASED] + ["alphaclip-nano"]
    assert len(names) == len(set(names)) == 9
    assert "alphaclip-vit-l14-336-grit1m-mim" not in names


def test_models_folder__without_a_setting_is_in_the_cache(monkeypatch):
    monkeypatch.delenv("ALPHACLIP_MODELS")
    assert models_folder() == Path.home() / ".cache" / "alphaclip"


def test_list_models__says_what_is_installed(models):
    (models / f"{MIM}.safetensors").touch()
    infos = {info.name: info for info in zoo.list_models()}
    assert infos[MIM].path == models / f"{MIM}.safetensors"
    assert infos[MIM].advice == ""
    other = infos["alphaclip-vit-b16-grit1m"]
    assert not other.installed
    assert "alphaclip convert FILE --as alphaclip-vit-b16-grit1m" in other.advice
    assert "research only" in other.licence


def test_released__figures_are_the_published_ones():
    mim = find_released(MIM)
    assert (mim.imagenet_s, mim.coco) == ((77.80, 94.46), 77.56)
    assert mim.architecture == "ViT-L-14-quickgelu"
    card = describe(mim)
    for words in (mim.drive_id, "CC BY-NC 4.0", "67.44 against 67.65", "77.56 and 71.08"):
        assert words in card
    for released in RELEASED:
        assert released.imagenet_s[0] > released.baseline.imagenet_s[0]


def test_resolve__released(models):
    (models / f"{MIM}.safetensors").touch()
    spec = zoo.resolve(MIM)
    assert (spec.name, spec.architecture, spec.pretrained) == (MIM, "ViT-L-14-quickgelu", "openai")
    assert spec.checkpoint_path == models / f"{MIM}.safetensors"
    assert spec.default_view == View(kind="context", context=1.5)


def test_resolve__released_but_not_installed():
    with pytest.raises(MissingWeightsError, match=rf"drive\.google\.com.*--as {MIM}"):
        zoo.resolve(MIM)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("alphaclip-vit-l14-grit1m-mmi", MIM),
        ("alphaclip-nanno", "alphaclip-nano"),
        ("quite something else", "alphaclip models"),
    ],
)
def test_resolve__unknown_name_proposes_close_ones(name, hint):
    with pytest.raises(ModelNotFoundError, match=rf"{name}.*{hint}"):
        zoo.resolve(name)


def test_resolve__nano():
    spec = zoo.resolve("alphaclip-nano")
    assert spec.name == "alphaclip-nano"
    assert "photographs" in spec.warning
    model = create_model("alphaclip-nano")
    assert model.has_text
    assert model.image_size == 64
    with torch.inference_mode():
        text = model.encode_text(model.tokenizer(["a red apple"]))
        image = model.encode_image(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    assert text.shape == image.shape == (1, 192)


def test_resolve__openclip():
    spec = zoo.resolve("openclip:ViT-B-32/laion2b_s34b_b79k")
    assert (spec.architecture, spec.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert spec.checkpoint_path is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("openclip:ViT-B-23/openai", "ViT-B-32"),
        ("openclip:RN50/opnai", "openai, yfcc15m"),
        ("openclip:RN50", "openai, yfcc15m"),
    ],
)
def test_resolve__openclip_unknown(name, hint):
    with pytest.raises(ModelNotFoundError, match=hint):
        zoo.resolve(name)


def test_resolve__folder(folder):
    spec = zoo.resolve(str(folder))
    assert spec.name == str(folder)
    assert spec.checkpoint_path == folder / "model.safetensors"
    assert spec.default_view == View(kind="context", context=1.5)
    assert create_model(str(folder)).image_size == 32
    card = {"default_view": {"kind": "image"}, "licence": "MIT"}
    (folder / "card.json").write_text(json.dumps(card))
    assert zoo.resolve(spec.name).default_view == View(kind="image")
    assert zoo.resolve(spec.name).licence == "MIT"


@torch.no_grad()
def test_resolve__folder_without_alpha_channel(folder):
    settings = {"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "small.json").write_text(json.dumps(settings))
    base = build_clip(read_config(folder / "small.json")).eval()
    save_file(base.state_dict(), folder / "model.safetensors")
    spec = zoo.resolve(str(folder))
    assert (spec.pretrained, spec.checkpoint_path) == (str(folder / "model.safetensors"), None)
    model = create_model(str(folder))
    assert model.has_text
    assert (model.mean, model.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    image, alpha = torch.randn(2, 3, 32, 32), torch.randn(2, 1, 32, 32)
    assert torch.equal(model.encode_image(image, alpha), base.encode_image(image))
    assert torch.equal(load(folder, device="cpu")._model.clip.visual.proj, base.visual.proj)


def test_resolve__folder_of_the_hub_with_other_weights_beside(folder):
    (folder / "model.safetensors").rename(folder / "open_clip_model.safetensors")
    save_file({"vision_model.weight": torch.zeros(2)}, folder / "model.safetensors")
    assert zoo.resolve(str(folder)).checkpoint_path == folder / "open_clip_model.safetensors"


def test_resolve__folder_with_damaged_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable safetensors"):
        zoo.resolve(str(folder))


def test_resolve__folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match="one file of safetensors weights, found: none"):
        zoo.resolve(str(folder))


def test_resolve__converted_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    metadata = {"architecture": "ViT-B-16-quickgelu", "licence": "MIT"}
    write_checkpoint({"visual.proj": torch.zeros(2)}, path, metadata)
    spec = zoo.resolve(str(path))
    assert (spec.architecture, spec.pretrained) == ("ViT-B-16-quickgelu", "openai")
    write_checkpoint({"logit_scale": torch.zeros(2)}, path, metadata)
    assert zoo.resolve(str(path)).pretrained is None


def test_resolve__file_that_is_no_model(tmp_path):
    save_file({"visual.proj": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="does not say which architecture"):
        zoo.resolve(str(tmp_path / "plain.safetensors"))
    (tmp_path / "released.pth").touch()
    with pytest.raises(CheckpointError, match="alphaclip convert"):
        zoo.resolve(str(tmp_path / "released.pth"))


def test_resolve__auto_takes_mim_before_others(models, caplog):
    (models / "alphaclip-vit-l14-336-grit20m.safetensors").touch()
    assert zoo.resolve("auto").name == "alphaclip-vit-l14-336-grit20m"
    assert "below plain CLIP on object crops" in caplog.text
    assert MIM in caplog.text
    caplog.clear()
    (models / "alphaclip-vit-b16-grit1m-mim.safetensors").touch()
    assert zoo.resolve("auto").name == "alphaclip-vit-b16-grit1m-mim"
    (models / f"{MIM}.safetensors").touch()
    assert zoo.resolve("auto").name == MIM
    assert caplog.text.count("may not be used commercially") == 2
    assert "below plain CLIP" not in caplog.text


def test_resolve__auto_nano_comes_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert zoo.resolve("auto").name == "alphaclip-nano"
    assert "not photographs" in caplog.text


def test_install__unknown_name(tmp_path):
    with pytest.raises(ModelNotFoundError, match=MIM):
        install(tmp_path / "file.pth", "alphaclip-vit-l14")


def test_install__is_not_repeated_unasked(models, tmp_path):
    (models / f"{MIM}.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"there already.*--force"):
        install(tmp_path / "file.pth", MIM)


def test_find_base__nothing_cached(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_base("ViT-L-14-quickgelu", "openai") is None
    advice = base_advice("ViT-L-14-quickgelu", "openai")
    assert "hf download timm/vit_large_patch14_clip_224.openai" in advice


@pytest.fixture
def unset(monkeypatch):
    """Weights are loaded: random ones before take seconds."""
    for name in ("kaiming_uniform_", "uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


@pytest.mark.slow
@pytest.mark.usefixtures("unset")
def test_resolve__auto_installed_model_with_cached_base_works_offline(
    models, tmp_path, monkeypatch
):
    with torch.device("meta"):  # random numbers would take longer than all else
        clip = build_clip(read_config("ViT-B-16-quickgelu"))
    base = {name: torch.zeros(t.shape).half() for name, t in clip.state_dict().items()}
    revision = "0123456789012345678901234567890123456789"
    repository = tmp_path / "hub" / "models--timm--vit_base_patch16_clip_224.openai"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    save_file(base, snapshot / "open_clip_model.safetensors")
    tensors = {name: torch.zeros(s) for name, s in visual_shapes("ViT-B-16-quickgelu").items()}
    name = "alphaclip-vit-b16-grit1m-mim"
    torch.save({n.removeprefix("visual."): t for n, t in tensors.items()}, tmp_path / "file.pth")
    install(tmp_path / "file.pth", name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    image, region = np.zeros((9, 9, 3), np.uint8), Region.whole_image()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    encoder = load("auto", "cpu", "fp32")
    assert encoder.name == name
    assert encoder.encode_text(["a red apple"]).shape == (1, 512)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    encoder = load("auto", "cpu", "fp32")
    assert encoder.encode_regions(image, [region]).shape == (1, 512)
    for needs_text in (lambda: encoder.encode_text(["a red apple"]), lambda: encoder.fingerprint):
        with pytest.raises(
            MissingWeightsError, match=r"hf download timm/vit_base_patch16_clip_224\.openai"
        ):
            needs_text()
