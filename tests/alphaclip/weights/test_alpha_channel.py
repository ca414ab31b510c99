"""The alpha channel on small random towers of every kind that open_clip has."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from open_clip import CLIP
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import Tensor, distributed, nn

from alphaclip.errors import AlphaClipError
from alphaclip.weights.alpha_channel import AlphaConv2d, add_alpha_channel, join_alpha

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}


def openclip_vit(quick_gelu: bool = False, **vision) -> nn.Module:
    config = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
    return CLIP(32, {**config, **vision}, TEXT, quick_gelu=quick_gelu).visual


def timm_tower(name: str, size: int, depth: int | None = None, **options) -> nn.Module:
    """A tower of timm's, or only its first blocks."""
    tower = TimmModel(name, 32, image_size=size, **options)
    if depth is not None:
        tower.trunk.blocks = tower.trunk.blocks[:depth]
    return tower


TOWERS = {
    "openai ViT": (partial(openclip_vit, quick_gelu=True), "conv1_alpha", 32),
    "open_clip ViT": (openclip_vit, "conv1_alpha", 32),
    "open_clip ViT, average": (
        partial(openclip_vit, pool_type="avg", no_ln_pre=True, final_ln_after_pool=True),
        "conv1_alpha",
        32,
    ),
    "open_clip ViT, attention pool": (
        partial(openclip_vit, attentional_pool=True, attn_pooler_heads=4),
        "conv1_alpha",
        32,
    ),
    "ModifiedResNet": (
        partial(ModifiedResNet, [1, 1, 1, 1], 32, heads=4, image_size=64, width=16),
        "conv1_alpha",
        64,
    ),
    "timm SigLIP-like": (
        partial(timm_tower, "test_vit3", 160, pool="map", proj="none"),
        "trunk.patch_embed.proj_alpha",
        160,
    ),
    "timm EVA": (
        partial(timm_tower, "eva02_tiny_patch14_224", 224, pool="token"),
        "trunk.patch_embed.proj_alpha",
        224,
    ),
    "PE-Core T/16": (
        partial(timm_tower, "vit_pe_core_tiny_patch16_384", 384, 1, pool="map", proj=None),
        "trunk.patch_embed.proj_alpha",
        384,
    ),
    "SigLIP 2 B/16": (
        partial(timm_tower, "vit_base_patch16_siglip_224", 224, 1, pool="map", proj="none"),
        "trunk.patch_embed.proj_alpha",
        224,
    ),
    "timm ConvNeXt": (
        partial(timm_tower, "test_convnext", 160),
        "trunk.stem_0_alpha",
        160,
    ),
}


@pytest.fixture(params=TOWERS, scope="module")
def tower(request) -> tuple[nn.Module, nn.Module, str, int]:
    """A base tower, the same with an alpha channel, the new layer's name, the resolution."""
    build, name, size = TOWERS[request.param]
    torch.manual_seed(0)
    base = build().eval()
    visual = copy.deepcopy(base)
    add_alpha_channel(visual)
    return base, visual, name, size


def random_input(size: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn((2, 3, size, size), generator=generator)
    return image, torch.randn((2, 1, size, size), generator=generator)


def fill_alpha(visual: nn.Module, name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = visual.get_parameter(f"{name}.weight")
    with torch.no_grad():
        weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


@torch.no_grad()
def test_add_alpha_channel__zero_weights_equal_base_exactly(tower):
    base, visual, _, size = tower
    image, noise = random_input(size)
    expected = base(image)
    for alpha in (noise, torch.zeros_like(noise), torch.full_like(noise, -1.9231), 1e4 * noise):
        assert torch.equal(visual(join_alpha(image, alpha)), expected)


def test_add_alpha_channel__keeps_the_base_names(tower):
    base, visual, name, _ = tower
    names = dict(base.state_dict())
    added = {key for key in visual.state_dict() if key not in names}
    assert added == {f"{name}.weight"}
    assert names.keys() <= visual.state_dict().keys()
    assert f"{name}.weight" in dict(visual.named_parameters())


def test_add_alpha_channel__geometry_is_the_picture_convolutions(tower):
    _, visual, name, _ = tower
    alpha = visual.get_submodule(name)
    rgb = next(module for module in visual.modules() if isinstance(module, AlphaConv2d))
    assert alpha.bias is None
    assert alpha.weight.shape == (rgb.out_channels, 1, *rgb.kernel_size)
    assert (alpha.stride, alpha.padding) == (rgb.stride, rgb.padding)


@torch.no_grad()
def test_alpha_conv__adds_both_convolutions(tower):
    base, visual, name, size = tower
    visual = copy.deepcopy(visual)
    fill_alpha(visual, name)
    image, alpha = random_input(size)
    conv = next(module for module in visual.modules() if isinstance(module, AlphaConv2d))
    summed = nn.functional.conv2d(image, conv.weight, conv.bias, conv.stride, conv.padding)
    summed += visual.get_submodule(name)(alpha)
    assert torch.equal(conv(join_alpha(image, alpha)), summed)
    assert not torch.allclose(visual(join_alpha(image, alpha)), base(image))


def test_alpha_conv__is_differentiable_in_alpha_and_weights(tower):
    _, visual, name, size = tower
    visual = copy.deepcopy(visual)
    fill_alpha(visual, name)
    image, alpha = random_input(size)
    alpha.requires_grad_()
    visual(join_alpha(image, alpha)).square().sum().backward()
    assert alpha.grad is not None and alpha.grad.abs().sum() > 0
    gradient = visual.get_parameter(f"{name}.weight").grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_alpha_conv__copies_and_casts_stay_joined():
    visual = openclip_vit()
    add_alpha_channel(visual)
    double = copy.deepcopy(visual).double()
    fill_alpha(double, "conv1_alpha")
    image, alpha = random_input(32)
    joined = join_alpha(image.double(), alpha)
    assert joined.dtype == torch.float64
    assert not torch.allclose(double(joined), visual.double()(joined))


def test_alpha_conv__a_failed_forward_leaves_nothing_behind():
    visual = openclip_vit().eval()
    add_alpha_channel(visual)
    fill_alpha(visual, "conv1_alpha")
    joined = join_alpha(*random_input(32))
    before = visual(joined)
    with pytest.raises(RuntimeError):
        visual(torch.zeros(1, 4, 24, 24))
    assert torch.equal(visual(joined), before)


def test_alpha_conv__gradient_checkpointing_agrees():
    visual = openclip_vit()
    add_alpha_channel(visual)
    fill_alpha(visual, "conv1_alpha")
    joined = join_alpha(*random_input(32))
    plain = torch.autograd.grad(visual(joined).sum(), visual.conv1_alpha.weight)[0]
    visual.set_grad_checkpointing(True)
    checkpointed = torch.autograd.grad(visual(joined).sum(), visual.conv1_alpha.weight)[0]
    assert torch.equal(plain, checkpointed)


def test_alpha_conv__trains_under_distributed_data_parallel(tmp_path):
    visual = openclip_vit()
    add_alpha_channel(visual)
    joined = join_alpha(*random_input(32))
    plain = torch.autograd.grad(visual(joined).square().sum(), visual.conv1_alpha.weight)[0]
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(visual)
        parallel(joined).square().sum().backward()
    finally:
        distributed.destroy_process_group()
    assert torch.allclose(visual.conv1_alpha.weight.grad, plain)


def test_alpha_conv__exports_as_one_graph():
    visual = openclip_vit().eval()
    add_alpha_channel(visual)
    fill_alpha(visual, "conv1_alpha")
    joined = join_alpha(*random_input(32))
    compiled = torch.compile(visual, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(joined), visual(joined), atol=1e-6)


def test_alpha_conv__intermediate_features_see_alpha():
    visual = openclip_vit().eval()
    add_alpha_channel(visual)
    fill_alpha(visual, "conv1_alpha")
    image, alpha = random_input(32)
    features = [
        visual.forward_intermediates(join_alpha(image, a))["image_intermediates"][-1]
        for a in (alpha, -alpha)
    ]
    assert not torch.allclose(*features)


def test_alpha_conv__picture_without_alpha_is_refused():
    visual = openclip_vit()
    add_alpha_channel(visual)
    with pytest.raises(AlphaClipError, match=r"\(2, 3, 32, 32\).*4 channels"):
        visual(torch.zeros(2, 3, 32, 32))


def test_add_alpha_channel__twice_is_refused():
    visual = openclip_vit()
    add_alpha_channel(visual)
    with pytest.raises(AlphaClipError, match="already"):
        add_alpha_channel(visual)


def test_add_alpha_channel__no_ordinary_convolution_is_refused():
    with pytest.raises(AlphaClipError, match="found none"):
        add_alpha_channel(nn.Linear(3, 3))
    odd = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3))
    with pytest.raises(AlphaClipError, match=r"found 0 \(Conv2d\)"):
        add_alpha_channel(odd)


@pytest.mark.parametrize("shape", [(2, 32, 32), (1, 1, 32, 32), (2, 1, 16, 16), (2, 3, 32, 32)])
def test_join_alpha__other_shapes_are_refused(shape):
    with pytest.raises(AlphaClipError, match=r"\(2, 1, 32, 32\)"):
        join_alpha(torch.zeros(2, 3, 32, 32), torch.zeros(shape))


def test_join_alpha__image_of_another_shape_is_refused():
    with pytest.raises(AlphaClipError, match=r"image has shape \(3, 32, 32\)"):
        join_alpha(torch.zeros(3, 32, 32), torch.zeros(1, 32, 32))
