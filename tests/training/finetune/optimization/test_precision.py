"""What training in bf16 on a CPU changes, and what it leaves."""

from __future__ import annotations

import torch
from torch import nn

from alphaclip.catalog.zoo import NANO
from alphaclip.network.factory import create_model
from alphaclip.training.finetune.optimization.precision import (
    fast_attention,
    give_fast_projections,
    mixed_precision,
)

CPU = torch.device("cpu")


def test_give_fast_projections__same_weights_by_the_same_names_and_almost_the_same_vectors() -> (
    None
):
    visual = create_model(NANO).clip.visual.requires_grad_(True)
    names = [name for name, _ in visual.named_parameters()]
    pictures = torch.randn((2, 4, 64, 64), generator=torch.Generator().manual_seed(0))

    def vectors_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        with mixed_precision(CPU, torch.bfloat16), fast_attention(CPU, torch.bfloat16):
            vectors = nn.functional.normalize(visual(pictures).float(), dim=1)
        (gradient,) = torch.autograd.grad(vectors[:, 0].sum(), visual.conv1_alpha.weight)
        return vectors, gradient

    before = vectors_and_gradient()
    give_fast_projections(visual, CPU, torch.float32)
    assert type(visual.transformer.resblocks[0].attn) is nn.MultiheadAttention
    give_fast_projections(visual, CPU, torch.bfloat16)
    assert type(visual.transformer.resblocks[0].attn) is not nn.MultiheadAttention
    assert [name for name, _ in visual.named_parameters()] == names
    after = vectors_and_gradient()
    assert (before[0] * after[0]).sum(dim=1).min() > 0.999
    cosine = nn.functional.cosine_similarity(before[1].flatten(), after[1].flatten(), dim=0)
    assert cosine > 0.99


def test_fast_attention__leaves_pytorch_as_it_was() -> None:
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed
    before = allowed()
    with fast_attention(CPU, torch.bfloat16):
        assert allowed()
    assert allowed() == before
