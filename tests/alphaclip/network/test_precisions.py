"""int8 and torch.compile: what they compute, where, and what is said where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.network.factory import create_model
from alphaclip.network.int8 import Int8Attention, Int8Linear, Int8Product, quantise
from alphaclip.network.model import AlphaCLIP
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
    out = Int8Product(weight, torch.tensor([1.0, 2.0, 3.0]))(x)
    expected = torch.tensor([[1.0, 66, 3], [-191, 2, 3], [1, 2, 3]])
    assert torch.allclose(out, expected, atol=1e-3)


def test_int8_product__extremes_do_not_overflow() -> None:
    weight, x = torch.ones(64, 3072), torch.ones(2, 5, 3072)
    out = Int8Product(weight, None)(x)
    assert out.shape == (2, 5, 64)
    assert torch.allclose(out, torch.full_like(out, 3072.0), rtol=1e-4)


def test_int8__a_row_does_not_depend_on_its_batch(model: AlphaCLIP) -> None:
    quantise(model.clip.visual)
    encoder = _encoder(model, torch.int8)
    together = encoder.encode_regions(IMAGE, REGIONS)
    apart = np.concatenate([encoder.encode_regions(IMAGE, [region]) for region in REGIONS])
    assert np.allclose(together, apart, atol=1e-5)


def test_int8__attention_with_a_mask_and_without() -> None:
    torch.manual_seed(0)
    exact = nn.MultiheadAttention(64, 2, batch_first=True).eval()
    rounded = Int8Attention(exact)
    queries, keys = torch.randn(2, 3, 64), torch.randn(2, 7, 64)
    mask = torch.zeros(3, 7).masked_fill_(torch.rand(3, 7) < 0.5, float("-inf"))
    mask[:, 0] = 0
    for some in (None, mask):
        expected = exact(queries, keys, keys, need_weights=False, attn_mask=some)[0]
        out = rounded(queries, keys, keys, need_weights=False, attn_mask=some)[0]
        assert nn.functional.cosine_similarity(out, expected, dim=-1).min() >= 0.999
    out, weights = rounded(queries, keys, keys)
    assert torch.allclose(out, exact(queries, keys, keys)[0], atol=1e-6)
    assert weights.shape == (2, 3, 7)


def test_int8__reaches_every_wide_product_and_can_be_undone(model: AlphaCLIP) -> None:
    visual, exact = model.clip.visual, _encoder(deepcopy(model))
    names = list(model.state_dict())
    undo = quantise(visual)
    kinds = [type(m) for m in visual.modules()]
    assert (kinds.count(Int8Linear), kinds.count(Int8Attention)) == (4, 2)
    assert list(model.state_dict()) == names
    assert _encoder(model).fingerprint == exact.fingerprint
    vectors, rounded = (e.encode_regions(IMAGE, REGIONS) for e in (exact, _encoder(model)))
    assert (vectors * rounded).sum(axis=1).min() >= 0.999
    assert (vectors != rounded).any()
    undo()
    assert (_encoder(model).encode_regions(IMAGE, REGIONS) == vectors).all()


def test_int8__seven_bits_where_the_cpu_has_no_vnni(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _encoder(model).encode_regions(IMAGE, REGIONS)
    monkeypatch.setattr("alphaclip.network.int8.has_vnni", lambda: False)
    quantise(model.clip.visual)
    vectors = _encoder(model, torch.int8).encode_regions(IMAGE, REGIONS)
    assert (expected * vectors).sum(axis=1).min() >= 0.999


@pytest.mark.parametrize("method", ["", "+whole", "+near+maskattn", "+maskpool", "+roialign"])
def test_load__nano_in_int8(method: str) -> None:
    name = f"alphaclip-nano{method}"
    exact, rounded = (load(name, "cpu", precision) for precision in ("fp32", "int8"))  # type: ignore[arg-type]
    expected, vectors = (e.encode_regions(IMAGE, REGIONS) for e in (exact, rounded))
    assert (rounded.dtype, vectors.dtype, vectors.shape) == (torch.int8, np.float32, (3, 192))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (expected * vectors).sum(axis=1).min() >= 0.999
    assert rounded.fingerprint == exact.fingerprint
    texts = ["a red apple", "a violin"]
    assert (rounded.encode_text(texts) == exact.encode_text(texts)).all()


def test_int8__is_for_the_cpu(model: AlphaCLIP) -> None:
    with pytest.raises(AlphaClipError, match=r"'int8', which is for the CPU, but device is 'cuda'"):
        set_precision(model, "int8", torch.device("cuda"))


def test_int8__nothing_to_quantise() -> None:
    with pytest.raises(AlphaClipError, match=r"no layer of this image encoder \(Sequential\)"):
        quantise(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Linear(8, 8)))


def test_int8__where_pytorch_cannot(model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("no kernel for this CPU")

    monkeypatch.setattr("alphaclip.network.int8.Int8Product", fail)
    with pytest.raises(AlphaClipError, match=r"\(no kernel for this CPU\): take precision='fp32'"):
        quantise(model.clip.visual)


@pytest.mark.slow
def test_compile__with_a_compiler_or_a_clear_refusal(model: AlphaCLIP) -> None:
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
    """In a process of its own: PyTorch looks for the compiler once."""
    code = "import alphaclip; alphaclip.load('alphaclip-nano', 'cpu', 'compile')"
    environ = os.environ | {
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "AlphaClipError: precision is 'compile', but torch.compile does not work here" in last
    assert "a C++ compiler (g++; CXX names another)" in last
