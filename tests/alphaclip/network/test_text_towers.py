"""Text towers that stop where the longest text ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import Transformer
from torch import Tensor
from torch.nn.functional import normalize

from alphaclip.catalog.zoo import NANO
from alphaclip.network.factory import create_model
from alphaclip.network.text_towers import encode_tokens

WORDS = open_clip.SimpleTokenizer(context_length=16)
TEXTS = ["a red apple", "pear", "a boat in front of a stadium", "word " * 40]
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many tokens went through a transformer, for each pass."""
    seen: list[int] = []
    forward = Transformer.forward

    def counting(self: Any, x: Tensor, *args: Any, **options: Any) -> Tensor:
        seen.append(x.shape[1])
        return forward(self, x, *args, **options)

    monkeypatch.setattr(Transformer, "forward", counting)
    return seen


def tower(kind: type = open_clip.CLIP, **text: Any) -> Any:
    torch.manual_seed(0)
    return kind(embed_dim=16, vision_cfg=VISION, text_cfg={**TEXT, **text}).eval()


def difference(a: Tensor, b: Tensor) -> float:
    """The largest, of vectors of unit length."""
    return float((normalize(a, dim=-1) - normalize(b, dim=-1)).abs().max())


@pytest.mark.parametrize("kind", [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize(
    "text",
    [{}, {"pool_type": "eos", "eos_id": 49407}, {"proj_bias": True}, {"proj_type": "none"}],
    ids=str,
)
@torch.no_grad()
def test_encode_tokens__as_far_as_the_longest_text(
    kind: type, text: dict[str, Any], lengths: list[int]
) -> None:
    clip = tower(kind, **text)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    for texts, length in ((TEXTS[:2], 5), (TEXTS[1:2], 3), (TEXTS, 16)):
        tokens = WORDS(texts)
        expected = clip.encode_text(tokens)
        lengths.clear()
        assert difference(encode_tokens(clip, tokens), expected) < 1e-6
        assert lengths == [length]
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())
    assert encode_tokens(clip, WORDS([])).shape == clip.encode_text(WORDS([])).shape


@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True},
        {"pool_type": "last"},
        {"pool_type": "first"},
        {"embed_cls": True},
    ],
    ids=str,
)
@torch.no_grad()
def test_encode_tokens__others_are_run_as_they_are(text: dict[str, Any]) -> None:
    clip, tokens = tower(open_clip.CustomTextCLIP, **text), WORDS(TEXTS[:2])
    assert torch.equal(encode_tokens(clip, tokens), clip.encode_text(tokens))


@torch.no_grad()
def test_encode_tokens__nano() -> None:
    model = create_model(NANO)
    tokens = model.tokenizer(TEXTS[:3])
    assert difference(model.encode_text(tokens), model.clip.encode_text(tokens)) < 1e-6


def test_encode_tokens__can_be_trained_and_exported(tmp_path: Path, lengths: list[int]) -> None:
    # In float64, since some processors round sums of another length otherwise
    clip, tokens = tower().double(), WORDS(TEXTS[:2])
    encode_tokens(clip, tokens).square().sum().backward()
    ours = {name: p.grad.clone() for name, p in clip.named_parameters() if p.grad is not None}
    clip.zero_grad()
    clip.encode_text(tokens).square().sum().backward()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, clip.get_parameter(name).grad, rtol=1e-4, atol=1e-5)
    lengths.clear()
    clip.requires_grad_(False)
    traced = torch.jit.trace(lambda tokens: encode_tokens(clip, tokens), tokens, check_trace=False)
    assert lengths == [16], "no length of one text stays in what is exported"
    others = WORDS(TEXTS[2:])
    torch.testing.assert_close(traced(others), clip.encode_text(others))
