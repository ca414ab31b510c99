"""Precisions: what they compute, where, and what is said where they cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, linear

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.network.factory import create_model
from alphaclip.network.int8 import Int8Product, check_int8
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.packed import PackedAttention, PackedLinear, PackedProduct, Product, can_pack
from alphaclip.network.precisions import set_precision
from alphaclip.views.view import View

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
REGIONS = [
    Region.from_box([0.1, 0.2, 0.5, 0.6]),
    Region.from_box([0.5, 0.5, 0.2, 0.3]),
    Region.whole_image(),
]


@pytest.fixture
def model(tiny_config: Path) -> AlphaCLIP:
    torch.manual_seed(0)
    return create_model(tiny_config)


def _encoder(model: AlphaCLIP, dtype: torch.dtype = torch.float32) -> Encoder:
    return Encoder(model, "tiny", View("context"), CPU, dtype)


def test_int8_product__by_hand() -> None:
    """Rows of one size each, so that 8 bits hold every value exactly."""
    weight = torch.tensor([[1.0, -1.0], [0.5, 0.5], [0.0, 0.0]]).repeat(1, 32)
    x = torch.tensor([[2.0, 2.0], [-3.0, 3.0], [0.0, 0.0]]).repeat(1, 32)
    out = Int8Product()(x, weight, torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.tensor([[1.0, 66, 3], [-191, 2, 3], [1, 2, 3]])
    assert torch.allclose(out, expected, atol=1e-3)


def test_int8_product__extremes_do_not_overflow() -> None:
    weight, x = torch.ones(64, 3072), torch.ones(2, 5, 3072)
    out = Int8Product()(x, weight, None)
    assert out.shape == (2, 5, 64)
    assert torch.allclose(out, torch.full_like(out, 3072.0), rtol=1e-4)


def test_int8__a_row_does_not_depend_on_its_batch(model: AlphaCLIP) -> None:
    set_precision(model, "int8", CPU)
    encoder = _encoder(model, torch.int8)
    together = encoder.encode_regions(IMAGE, REGIONS)
    apart = np.concatenate([encoder.encode_regions(IMAGE, [region]) for region in REGIONS])
    assert np.allclose(together, apart, atol=1e-5)


def _bf16() -> Product:
    return PackedProduct(torch.bfloat16) if can_pack(torch.bfloat16) else Int8Product()


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [(lambda: linear, 1e-6), (PackedProduct, 1e-6), (_bf16, 1e-3), (Int8Product, 1e-3)],
    ids=["linear", "fp32", "bf16", "int8"],
)
def test_packed_attention__across_and_within_with_a_mask_and_without(
    make: Callable[[], Product], tolerance: float
) -> None:
    torch.manual_seed(0)
    exact = nn.MultiheadAttention(64, 2, batch_first=True).eval().requires_grad_(False)
    packed = PackedAttention(exact, make)
    queries, keys = torch.randn(2, 3, 64), torch.randn(2, 7, 64)
    mask = torch.zeros(7, 7).masked_fill_(torch.rand(7, 7) < 0.5, float("-inf"))
    mask[:, 0] = 0
    for some, from_, to in (
        (None, queries, keys), (mask[:3], queries, keys), (None, keys, keys), (mask, keys, keys),
        (torch.randn(4, 3, 7), queries, keys),
    ):  # fmt: skip
        expected = exact(from_, to, to, need_weights=False, attn_mask=some)[0]
        out = packed(from_, to, to, need_weights=False, attn_mask=some)[0]
        assert cosine_similarity(out.float(), expected, dim=-1).min() >= 1 - tolerance
    out, weights = packed(queries, keys, keys)
    assert torch.allclose(out, exact(queries, keys, keys)[0], atol=1e-6)
    assert weights.shape == (2, 3, 7)


@pytest.mark.parametrize(
    ("precision", "least"), [("fp32", 1 - 1e-6), ("bf16", 0.9999), ("int8", 0.999)]
)
def test_set_precision__reaches_every_wide_product_and_can_be_undone(
    model: AlphaCLIP, precision: str, least: float
) -> None:
    visual, exact = model.clip.visual, _encoder(deepcopy(model))
    expected, names = exact.encode_regions(IMAGE, REGIONS), list(model.state_dict())
    dtype, swap = set_precision(model, precision, CPU)
    encoder = _encoder(model, dtype)
    kinds = [type(m) for m in visual.modules()]
    assert (kinds.count(PackedLinear), kinds.count(PackedAttention)) == (4, 2)
    assert list(model.state_dict()) == names
    assert encoder.fingerprint == exact.fingerprint
    vectors = encoder.encode_regions(IMAGE, REGIONS)
    assert (expected * vectors).sum(axis=1).min() >= least
    swap()
    assert (_encoder(model).encode_regions(IMAGE, REGIONS) == expected).all()
    swap()
    assert (encoder.encode_regions(IMAGE, REGIONS) == vectors).all()


def test_set_precision__text_of_random_weights_is_packed_too(model: AlphaCLIP) -> None:
    tokens = model.tokenizer(["a red apple", "a violin on a table"])
    with torch.inference_mode():
        model.has_text = True
        expected = model.encode_text(tokens)
        set_precision(model, "fp32", CPU)
        assert cosine_similarity(model.encode_text(tokens), expected).min() >= 1 - 1e-6


def test_fp32__is_exact_whatever_the_weights_become(model: AlphaCLIP) -> None:
    """Weights that change in place, as a text tower's that are loaded late, are packed anew."""
    set_precision(model, "fp32", CPU)
    before = _encoder(model).encode_regions(IMAGE, REGIONS)
    copied = _encoder(deepcopy(model))
    assert (copied.encode_regions(IMAGE, REGIONS) == before).all()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    plain = create_model(model.config.path or "", model.clip.state_dict())
    expected = _encoder(plain).encode_regions(IMAGE, REGIONS)
    assert np.allclose(_encoder(model).encode_regions(IMAGE, REGIONS), expected, atol=1e-5)
    assert not np.allclose(expected, before, atol=1e-3)


def test_set_precision__where_nothing_can_be_packed(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphaclip.network.packed.can_pack", lambda dtype: False)
    expected = _encoder(model).encode_regions(IMAGE, REGIONS)
    assert set_precision(model, "fp32", CPU)[0] == torch.float32
    assert (_encoder(model).encode_regions(IMAGE, REGIONS) == expected).all()
    dtype, _ = set_precision(model, "bf16", CPU)
    vectors = _encoder(model, dtype).encode_regions(IMAGE, REGIONS)
    assert (expected * vectors).sum(axis=1).min() >= 0.9999


def test_int8__seven_bits_where_the_cpu_has_no_vnni(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _encoder(model).encode_regions(IMAGE, REGIONS)
    monkeypatch.setattr("alphaclip.network.int8.has_vnni", lambda: False)
    set_precision(model, "int8", CPU)
    vectors = _encoder(model, torch.int8).encode_regions(IMAGE, REGIONS)
    assert (expected * vectors).sum(axis=1).min() >= 0.999


@pytest.mark.parametrize("method", ["", "+whole", "+near+maskattn", "+maskpool", "+roialign"])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_load__nano_in_less(method: str, precision: Any) -> None:
    name = f"alphaclip-nano{method}"
    exact, rounded = load(name, "cpu", "fp32"), load(name, "cpu", precision)
    expected, vectors = (e.encode_regions(IMAGE, REGIONS) for e in (exact, rounded))
    assert (rounded.dtype.itemsize, vectors.dtype, vectors.shape) in [
        (1 if precision == "int8" else 2, np.float32, (3, 192))
    ]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (expected * vectors).sum(axis=1).min() >= 0.999
    assert rounded.fingerprint == exact.fingerprint
    texts = ["a red apple", "a violin"]
    cosines = (rounded.encode_text(texts) * exact.encode_text(texts)).sum(axis=1)
    assert cosines.min() >= (1 - 1e-6 if precision == "int8" else 0.999)


def test_int8__is_for_the_cpu(model: AlphaCLIP) -> None:
    with pytest.raises(AlphaClipError, match=r"'int8', which is for the CPU, but device is 'cuda'"):
        set_precision(model, "int8", torch.device("cuda"))


def test_int8__nothing_to_quantise() -> None:
    with pytest.raises(AlphaClipError, match=r"no layer of this image encoder \(Sequential\)"):
        check_int8(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Linear(8, 8)), CPU)


def test_int8__where_pytorch_cannot(model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("no kernel for this CPU")

    monkeypatch.setattr("alphaclip.network.int8.Int8Product", fail)
    with pytest.raises(AlphaClipError, match=r"\(no kernel for this CPU\): take precision='fp32'"):
        set_precision(model, "int8", CPU)


@pytest.mark.slow
def test_compile__with_a_compiler_or_a_clear_refusal(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The trace is of our code; the machine code made of it takes minutes, and is PyTorch's affair
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    exact = _encoder(model)
    expected = exact.encode_regions(IMAGE, REGIONS)
    try:
        dtype, undo = set_precision(model, "compile", CPU)
    except AlphaClipError as error:
        assert "C++ compiler" in str(error)
        return
    compiled = _encoder(model, dtype)
    assert compiled.dtype == torch.float32
    for some in (REGIONS, REGIONS[:1]):
        assert np.allclose(compiled.encode_regions(IMAGE, some), expected[: len(some)], atol=1e-5)
    assert compiled.fingerprint == exact.fingerprint
    assert all(block._compiled_call_impl for block in model.clip.visual.transformer.resblocks)
    undo()
    assert not any(block._compiled_call_impl for block in model.clip.visual.transformer.resblocks)


def test_compile__without_a_compiler(tmp_path: Path) -> None:
    from torch._inductor import config

    refusal = r"torch\.compile does not work here.*a C\+\+ compiler \(g\+\+; CXX names another\)"
    with (
        config.patch({"cpp.cxx": str(tmp_path / "no-such-compiler")}),
        pytest.raises(AlphaClipError, match=f"precision is 'compile', but {refusal}"),
    ):
        load("alphaclip-nano", "cpu", "compile")
