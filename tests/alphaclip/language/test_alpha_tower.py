"""LLaVA with an Alpha-CLIP tower: the weights' names, the swap, and what is saved of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from alphaclip import Region, convert_checkpoint, language
from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.language.alpha_tower import ALPHA_FILE, to_transformers
from alphaclip.weights.alpha_channel import add_alpha_channel, join_alpha

from ..network.test_golden import TINY, golden_array, golden_inputs, golden_weights
from .tiny_models import make_llava

VISION = {
    "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
BASE = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "image_size": 224, "patch_size": 16,
}  # fmt: skip
CONVOLUTION = "visual.conv1_alpha.weight"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    config = tmp_path_factory.mktemp("config") / "tiny.json"
    config.write_text(json.dumps(TINY))
    return convert_checkpoint(golden_weights("tiny"), config)


def write_checkpoint(folder: Path, weights: dict[str, Tensor], **vision: Any) -> Path:
    """A folder with a model as `alphaclip.load` takes it."""
    folder.mkdir()
    settings = {**TINY, "vision_cfg": {**TINY["vision_cfg"], **vision}}  # type: ignore[dict-item]
    (folder / "model.json").write_text(json.dumps(settings))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> Path:
    """A LLaVA whose tower is that of the checkpoint, but for the alpha channel."""
    torch.manual_seed(0)
    processor, model = make_llava(VISION)
    plain = {n: 4 * t for n, t in weights.items() if n != CONVOLUTION}
    model.model.vision_tower.load_state_dict(to_transformers(plain))
    for part in (model.model.language_model, model.model.multi_modal_projector, model.lm_head):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> Path:
    larger = {name: 4 * tensor for name, tensor in weights.items()}
    return write_checkpoint(tmp_path_factory.mktemp("alpha") / "tiny", larger)


@pytest.mark.parametrize(("model", "vision"), [("tiny", VISION), ("ViT-B-16", BASE)])
def test_names__golden_weights_give_golden_outputs(
    model: str, vision: dict[str, int], weights: dict[str, Tensor]
) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tensors = weights if model == "tiny" else convert_checkpoint(golden_weights(model))
    with torch.device("meta"):
        tower = CLIPVisionModel(CLIPVisionConfig(**vision, hidden_act="quick_gelu"))
    add_alpha_channel(tower)
    tower.to_empty(device="cpu").eval()
    side = vision["image_size"] // vision["patch_size"]
    tower.embeddings.position_ids = torch.arange(side**2 + 1)[None]
    tower.load_state_dict(to_transformers(tensors))
    with torch.inference_mode():
        pooled = tower(join_alpha(*golden_inputs(vision["image_size"]))).pooler_output
    embedding = (pooled @ tensors["visual.proj"]).numpy()
    assert np.abs(embedding - golden_array(f"{model}/embedding")).max() < 1e-4


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_zero_alpha_channel__changes_nothing(kind: str) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}VisionConfig")(**VISION)
    tower = getattr(transformers, f"{kind}VisionModel")(config).eval()
    image, alpha = golden_inputs(32)
    with torch.inference_mode():
        before = tower(image).last_hidden_state
        add_alpha_channel(tower)
        assert torch.equal(tower(join_alpha(image, alpha)).last_hidden_state, before)


def test_zero_tower__says_what_its_base_says(
    base: Path, weights: dict[str, Tensor], image: np.ndarray, regions: list[Region], tmp_path: Path
) -> None:
    zero = {name: 4 * t * (name != CONVOLUTION) for name, t in weights.items()}
    folder = write_checkpoint(tmp_path / "zero", zero)
    models = [
        language.load(base, alpha=alpha, shown="crop", device="cpu") for alpha in (None, folder)
    ]
    assert [model.sees for model in models] == ["painted", "alpha"]
    # The base is told in words where the region is; the swapped tower is not
    models[0]._dialect = models[1]._dialect
    plain, swapped = (list(model.describe_many([(image, regions)])) for model in models)
    assert plain == swapped
    plain_answers, answers = (model.ask(image, regions, "red?") for model in models)
    assert np.array_equal(plain_answers.logliks, answers.logliks)


def test_tower__sees_the_region(
    base: Path, checkpoint: Path, image: np.ndarray, regions: list[Region]
) -> None:
    model = language.load(base, alpha=checkpoint, device="cpu")
    answers = model.ask(image, regions, "red?")
    alone = [model.ask(image, [one], "red?").logliks for one in regions]
    assert np.allclose(answers.logliks, np.concatenate(alone), atol=1e-4)
    assert np.ptp(answers.logliks[:, 0]) > 1e-3
    texts = model.describe(image, regions, max_tokens=6)
    assert texts == [model.describe(image, [one], max_tokens=6)[0] for one in regions]


def test_saved_model__is_the_same_again(
    base: Path, checkpoint: Path, image: np.ndarray, regions: list[Region], tmp_path: Path
) -> None:
    model = language.load(base, alpha=checkpoint, device="cpu")
    model.save(tmp_path / "saved")
    again = language.load(tmp_path / "saved", device="cpu")
    assert again.sees == "alpha"
    assert again.fingerprint == model.fingerprint
    assert list(again.describe_many([(image, regions)])) == list(
        model.describe_many([(image, regions)])
    )
    assert language.load(base, device="cpu").fingerprint != model.fingerprint


def test_saved_model__without_its_alpha_file(base: Path, checkpoint: Path, tmp_path: Path) -> None:
    language.load(base, alpha=checkpoint, device="cpu").save(tmp_path / "saved")
    path = tmp_path / "saved" / ALPHA_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        language.load(tmp_path / "saved", device="cpu")
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="does not hold embeddings"):
        language.load(tmp_path / "saved", device="cpu")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"alpha\.safetensors is missing, without which"):
        language.load(tmp_path / "saved", device="cpu")


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"width": 128, "head_width": 128}, "hidden_size 128, the model has 64; intermediate_size"),
        ({"image_size": 64}, "image_size 64, the model has 32"),
        ({"layers": 3}, "num_hidden_layers 3, the model has 2"),
    ],
)
def test_tower_of_another_size__is_refused_before_weights_are_read(
    vision: dict[str, int], message: str, base: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    other = write_checkpoint(tmp_path / "other", weights, **vision)
    with pytest.raises(CheckpointError, match=message):
        language.load(tmp_path, alpha=other, device="cpu")


def test_tower_with_a_tensor_missing__is_named(
    base: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    fewer = {name: t for name, t in weights.items() if name != "visual.ln_pre.bias"}
    other = write_checkpoint(tmp_path / "other", fewer)
    with pytest.raises(CheckpointError, match=r"pre_layrnorm\.bias is missing"):
        language.load(base, alpha=other, device="cpu")


def test_alpha__is_for_llava_and_takes_an_alpha_channel(
    base: Path, checkpoint: Path, weights: dict[str, Tensor], folder_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(AlphaClipError, match="is of the type smolvlm: alpha= is for LLaVA"):
        language.load(folder_of("smolvlm"), alpha=checkpoint, device="cpu")
    plain = {name: t for name, t in weights.items() if name != CONVOLUTION}
    with pytest.raises(AlphaClipError, match="takes a checkpoint with an alpha channel"):
        language.load(base, alpha=write_checkpoint(tmp_path / "plain", plain), device="cpu")
    with pytest.raises(MissingWeightsError, match="is not installed"):
        language.load(base, alpha="alphaclip-vit-l14-336-grit20m", device="cpu")
    with pytest.raises(AlphaClipError, match="take 'crop'"):
        language.load(base, alpha=checkpoint, shown="outline", device="cpu")


def test_nano__goes_into_a_llava_of_its_size(tmp_path: Path, image: np.ndarray) -> None:
    vision = {
        "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 7, "image_size": 64,
        "num_attention_heads": 3, "patch_size": 8, "hidden_act": "gelu",
    }  # fmt: skip
    processor, model = make_llava(vision)
    model.save_pretrained(tmp_path)
    processor.image_processor.crop_size = {"height": 64, "width": 64}
    processor.image_processor.size = {"shortest_edge": 64}
    processor.save_pretrained(tmp_path)
    model = language.load(tmp_path, alpha="alphaclip-nano", device="cpu")
    assert model.name.endswith("with alphaclip-nano")
    assert model.ask(image, [Region.from_box([0.2, 0.2, 0.4, 0.4])], "red?").best != [None]
