"""Models that take pictures of another size than they were made for."""

from __future__ import annotations

import pytest
import torch

from alphaclip.errors import AlphaClipError
from alphaclip.network.factory import create_model
from alphaclip.network.image_sizes import set_image_size

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TOWERS = {
    "open_clip": {"patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "timm": {"timm_model_name": "test_vit", "timm_pool": "token"},
    "timm, no grid": {"timm_model_name": "test_convnext", "timm_pool": "avg"},
}


def settings(tower: str) -> dict:
    return {"embed_dim": 16, "vision_cfg": {"image_size": 32, **TOWERS[tower]}, "text_cfg": TEXT}


@pytest.mark.parametrize("tower", ["open_clip", "timm"])
def test_set_image_size__is_built_again_from_its_own_configuration(tower: str) -> None:
    model = create_model(settings(tower))
    before = model.clip.state_dict()
    set_image_size(model, 64)
    assert model.image_size == 64
    again = create_model(dict(model.config.settings))
    again.clip.load_state_dict(model.clip.state_dict())
    pictures, maps = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    expected = model.encode_image(pictures, maps)
    assert torch.equal(again.encode_image(pictures, maps), expected)
    after = model.clip.state_dict()
    changed = [name for name in before if before[name].shape != after[name].shape]
    assert [name.rpartition(".")[2] for name in changed] in (
        ["positional_embedding"],
        ["pos_embed"],
    )


def test_set_image_size__of_one_place_all_are_alike() -> None:
    """Interpolated from a single patch's, whatever is between is that."""
    model = create_model(
        {**settings("open_clip"), "vision_cfg": {**TOWERS["open_clip"], "image_size": 8}}
    )
    (own,) = model.clip.visual.positional_embedding[1:].detach()
    set_image_size(model, 24)
    places = model.clip.visual.positional_embedding[1:].detach()
    assert places.numpy() == pytest.approx(own.expand(9, -1).numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("tower", "size", "message"),
    [
        ("open_clip", 60, "patches of 8 pixels: take a multiple"),
        ("timm, no grid", 64, "takes 32 pixels only"),
    ],
)
def test_set_image_size__says_what_cannot_be(tower: str, size: int, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        set_image_size(create_model(settings(tower)), size)
