"""What is trained of a model, and that what is saved loads again."""

import pytest
import torch
from safetensors.torch import save_file

import alphaclip
from alphaclip.network.factory import create_model
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.optimization.trainable import Trainable, prepare, state_to_save


def alpha_weight(trainable: Trainable) -> torch.Tensor:
    return trainable.model.clip.visual.conv1_alpha.weight


def blocks(trainable: Trainable, path: str = "transformer.resblocks.") -> set[str]:
    """The numbers of the blocks in training."""
    names = [n.removeprefix(path) for n in trainable.trained() if n.startswith(path)]
    return {name.split(".")[0] for name in names}


def test_prepare__trains_all_of_the_image_encoder_by_default(make_model, make_config):
    trainable = prepare(make_model(), make_config())

    visual = {f"visual.{name}" for name in trainable.trained()}
    named = dict(trainable.model.clip.named_parameters())
    assert visual == {name for name in named if name.startswith("visual.")}
    assert {name for name, p in named.items() if p.requires_grad} == visual


def test_prepare__trains_the_alpha_convolution_alone(make_model, make_config):
    trainable = prepare(make_model(), make_config(unfrozen_blocks=0))

    assert list(trainable.trained()) == ["conv1_alpha.weight"]


def test_prepare__trains_the_last_blocks_and_what_comes_after(make_model, make_config):
    trainable = prepare(make_model(), make_config(unfrozen_blocks=2))

    others = {name for name in trainable.trained() if not name.startswith("transformer")}
    assert blocks(trainable) == {"1", "2"}
    assert others == {"conv1_alpha.weight", "ln_post.weight", "ln_post.bias", "proj"}


def test_prepare__leaves_what_comes_before_when_each_block_is_named(make_model, make_config):
    trainable = prepare(make_model(), make_config(unfrozen_blocks=3))

    assert blocks(trainable) == {"0", "1", "2"}
    before = {"conv1.weight", "class_embedding", "positional_embedding", "ln_pre.weight"}
    assert not before & set(trainable.trained())


def test_prepare__knows_timms_blocks(make_model, make_config):
    trainable = prepare(make_model("siglip"), make_config(unfrozen_blocks=1))

    total = len(trainable.model.clip.visual.trunk.blocks)
    trained = set(trainable.trained())
    assert blocks(trainable, "trunk.blocks.") == {str(total - 1)}
    assert {"trunk.patch_embed.proj_alpha.weight", "trunk.attn_pool.latent"} <= trained
    assert not {"trunk.pos_embed", "trunk.patch_embed.proj.weight"} & trained


def test_prepare__refuses_more_blocks_than_there_are(make_model, make_config):
    with pytest.raises(FinetuneError, match=r"unfrozen_blocks is 4.* has 3 such blocks"):
        prepare(make_model(), make_config(unfrozen_blocks=4))


def test_prepare__refuses_blocks_of_an_encoder_without_any(make_config, architectures):
    vision = {"image_size": 32, "timm_model_name": "test_convnext", "timm_pool": "avg"}
    model = create_model({**architectures["vit"], "vision_cfg": vision})
    model.has_text = True

    with pytest.raises(FinetuneError, match="no row of transformer blocks: leave it out"):
        prepare(model, make_config(unfrozen_blocks=1))


def test_prepare__refuses_a_model_without_text_weights(architectures, make_config):
    with pytest.raises(FinetuneError, match="text encoder has no weights"):
        prepare(create_model(architectures["vit"]), make_config())


def test_prepare__refuses_the_sigmoid_loss_for_a_model_without_its_bias(make_model, make_config):
    with pytest.raises(FinetuneError, match="has no logit_bias: take loss 'infonce'"):
        prepare(make_model(), make_config(loss="sigmoid"))


def test_alpha__is_kept_or_set_to_zero_or_drawn_by_the_seed(make_model, make_config):
    brought = make_model().clip.visual.conv1_alpha.weight
    drawn = [
        alpha_weight(prepare(make_model(), make_config(alpha_init="random", seed=seed)))
        for seed in (0, 0, 1)
    ]

    assert torch.equal(alpha_weight(prepare(make_model(), make_config())), brought)
    assert not alpha_weight(prepare(make_model(), make_config(alpha_init="zero"))).any()
    assert torch.equal(drawn[0], drawn[1])
    assert drawn[0].std() > 0.01
    assert not torch.equal(drawn[0], drawn[2])


def test_prepare__leaves_the_global_random_numbers_alone(make_model, make_config):
    model = make_model()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)

    prepare(model, make_config(alpha_init="random", lora_rank=2))

    assert torch.equal(torch.rand(3), expected)


def test_use_alpha__off_makes_the_map_count_for_nothing(make_model, make_config, make_batch):
    trainable = prepare(make_model(), make_config(use_alpha=False))
    batch = make_batch()

    seen = trainable.encode_image(batch.images, batch.alpha)
    blind = trainable.encode_image(batch.images, torch.full_like(batch.alpha, 255))

    assert torch.equal(seen, blind)
    assert "conv1_alpha.weight" not in trainable.trained()


def test_encode__gives_unit_vectors_as_the_model_does(make_model, make_config, make_batch):
    model, batch = make_model(), make_batch()
    trainable = prepare(make_model(), make_config())
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.mean, model.std))
    pixels = (batch.images / 255 - mean) / std
    expected = model.encode_image(pixels, (batch.alpha / 255 - 0.5) / 0.26)

    image = trainable.encode_image(batch.images, batch.alpha)
    text = trainable.encode_text(batch.tokens)

    assert torch.allclose(image.norm(dim=-1), torch.ones(8))
    assert torch.allclose(image, torch.nn.functional.normalize(expected, dim=-1), atol=1e-6)
    assert image.requires_grad
    assert not text.requires_grad
    assert torch.allclose(text.norm(dim=-1), torch.ones(8))


def test_temperature__is_the_bases_and_at_most_100_for_infonce(make_model, make_config):
    hot = make_model()
    hot.clip.logit_scale.data.fill_(9.0)

    assert prepare(make_model(), make_config()).scale.item() == pytest.approx(1 / 0.07, rel=1e-4)
    assert prepare(hot, make_config()).scale.item() == 100.0
    siglip = prepare(make_model("siglip"), make_config(loss="sigmoid"))
    assert siglip.scale.item() == pytest.approx(9.974, rel=1e-3)
    assert siglip.bias.item() == -5.0


def test_train__keeps_text_dropout_and_statistics_as_in_use(make_model, make_config):
    model = make_model()
    model.clip.visual.add_module("dropout", torch.nn.Dropout(0.5))
    trainable = prepare(model, make_config())

    assert trainable.model.clip.visual.transformer.training
    assert not trainable.model.clip.visual.dropout.training
    assert not trainable.model.clip.transformer.training
    assert not trainable.eval().model.clip.visual.training


def test_saved_state__loads_as_a_checkpoint(make_model, make_config, make_batch, architectures):
    trainable = prepare(make_model(), make_config(alpha_init="random"))
    batch = make_batch()

    again = create_model(architectures["vit"], checkpoint=state_to_save(trainable))

    other = Trainable(again)
    expected = trainable.encode_image(batch.images, batch.alpha)
    assert torch.equal(other.encode_image(batch.images, batch.alpha), expected)
    assert torch.equal(other.encode_text(batch.tokens), trainable.encode_text(batch.tokens))
    assert again.has_text


def test_saved_state__is_a_copy(make_model, make_config):
    trainable = prepare(make_model(), make_config())
    state = state_to_save(trainable)

    trainable.trained()["proj"].data.zero_()

    assert state["visual.proj"].abs().max() > 0


@pytest.mark.parametrize("fields", [{}, {"lora_rank": 2}])
def test_saved_state_of_nano__loads_by_alphaclip_load(make_config, tmp_path, fields):
    model = create_model("alphaclip-nano")
    trainable = prepare(model, make_config(alpha_init="random", **fields))
    save_file(state_to_save(trainable), tmp_path / "model.safetensors")
    config = model.config.path
    for source in (config, config.with_name("merges.txt.gz")):
        (tmp_path / source.name).write_bytes(source.read_bytes())

    encoder = alphaclip.load(tmp_path, device="cpu", precision="fp32")

    tokens = model.tokenizer(["a red apple"])
    vector = torch.from_numpy(encoder.encode_text(["a red apple"]))
    assert torch.allclose(vector, trainable.encode_text(tokens), atol=1e-5)
