"""Adapters: what they train, and that merging them changes nothing."""

import sys

import pytest
import torch
from torch import nn

from alphaclip.network.factory import create_model
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.optimization.lora import SplitAttention
from alphaclip.training.finetune.optimization.trainable import Trainable, prepare, state_to_save


def shake_adapters(trainable: Trainable) -> None:
    """Gives adapters, which start as nothing, values that show."""
    for name, parameter in trainable.trained().items():
        if "lora" in name:
            parameter.data.normal_(std=0.2)


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_adapters__start_as_nothing_and_train_alone_with_alpha(
    make_model, make_config, make_batch, kind
):
    batch = make_batch(rows=3, size=160 if kind == "siglip" else 16)
    plain = Trainable(make_model(kind)).encode_image(batch.images, batch.alpha)

    trainable = prepare(make_model(kind), make_config(lora_rank=2))

    assert torch.allclose(trainable.encode_image(batch.images, batch.alpha), plain, atol=1e-6)
    others = {n for n in trainable.trained() if ".lora_" not in n}
    assert len(others) == 1
    assert others.pop().endswith("_alpha.weight")


def test_adapters__are_on_both_projections_and_both_layers_of_each_block(make_model, make_config):
    trainable = prepare(make_model(), make_config(lora_rank=2))

    adapted = {n.split(".lora_")[0] for n in trainable.trained() if ".lora_" in n}
    assert adapted == {
        f"transformer.resblocks.{block}.{layer}"
        for block in range(3)
        for layer in ("attn.in_proj", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    }


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_merged__is_the_adapted_model(make_model, make_config, make_batch, architectures, kind):
    batch = make_batch(rows=3, size=160 if kind == "siglip" else 16)
    trainable = prepare(make_model(kind), make_config(lora_rank=3, lora_scale=0.5))
    untouched = trainable.encode_image(batch.images, batch.alpha)
    shake_adapters(trainable)
    adapted = trainable.encode_image(batch.images, batch.alpha)

    again = create_model(architectures[kind], checkpoint=state_to_save(trainable))

    merged = Trainable(again).encode_image(batch.images, batch.alpha)
    assert (adapted - untouched).abs().max() > 0.01
    assert torch.allclose(merged, adapted, atol=1e-5)
    assert torch.equal(trainable.encode_image(batch.images, batch.alpha), adapted)


def test_scale__multiplies_the_product(make_model, make_config):
    trainable = prepare(make_model(), make_config(lora_rank=3, lora_scale=0.5))
    base = state_to_save(trainable)["visual.transformer.resblocks.0.mlp.c_fc.weight"]
    shake_adapters(trainable)
    layer = trainable.model.clip.visual.transformer.resblocks[0].mlp.c_fc

    merged = state_to_save(trainable)["visual.transformer.resblocks.0.mlp.c_fc.weight"]

    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert torch.allclose(merged - base, 0.5 * product, atol=1e-6)


def test_split_attention__is_pytorchs():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(12, 3, batch_first=True)
    attention.in_proj_bias.data.normal_()
    tokens = torch.randn(2, 5, 12)
    mask = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))

    # The last: of the last two tokens, with a mask for each head of each of two pictures.
    for attn_mask, queries in (
        (None, tokens), (mask, tokens), (torch.randn(6, 2, 5), tokens[:, 3:])
    ):  # fmt: skip
        expected, _ = attention(queries, tokens, tokens, need_weights=False, attn_mask=attn_mask)
        found, _ = SplitAttention(attention)(queries, tokens, tokens, attn_mask=attn_mask)
        assert torch.allclose(found, expected, atol=1e-6)


def test_encoder_without_blocks__is_refused(make_config, architectures):
    vision = {"image_size": 32, "timm_model_name": "test_convnext", "timm_pool": "avg"}
    model = create_model({**architectures["vit"], "vision_cfg": vision})
    model.has_text = True

    with pytest.raises(FinetuneError, match="lora_rank is 2, but TimmModel has no transformer"):
        prepare(model, make_config(lora_rank=2))


def test_missing_peft__is_said(make_model, make_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(FinetuneError, match="lora_rank needs peft: pip install peft"):
        prepare(make_model(), make_config(lora_rank=2))
