"""From a name to an encoder: device and precision."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError


def test_load__an_encoder_is_returned_as_it_is(encoder: Encoder) -> None:
    assert load(encoder) is encoder


def test_load__nano_on_the_cpu() -> None:
    encoder = load("alphaclip-nano", device="cpu")
    assert (encoder.name, encoder.dim, encoder.dtype) == ("alphaclip-nano", 192, torch.float32)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_load__cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = rf"'{device}', but no CUDA device is usable here: .*device='cpu'.*alphaclip doctor"
    with pytest.raises(AlphaClipError, match=message):
        load("alphaclip-nano", device=device)


def test_load__cuda_device_beyond_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(AlphaClipError, match=r"'cuda:1', but only 1 CUDA device\(s\) can be used"):
        load("alphaclip-nano", device="cuda:1")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("gpu", "auto", "device is 'gpu': expected"),
        ("cpu", "int4", "precision is 'int4': expected one of auto, fp32"),
    ],
)
def test_load__unknown_words(device: str, precision: str, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        load("alphaclip-nano", device=device, precision=precision)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "bf16"), pytest.param("cuda", "auto", marks=pytest.mark.gpu)],
)
def test_load__device_and_precision_do_not_change_what_vectors_mean(
    device: str, precision: Literal["auto", "bf16"]
) -> None:
    exact = load("alphaclip-nano", device="cpu", precision="fp32")
    other = load("alphaclip-nano", device=device, precision=precision)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    regions = [Region.from_box([0.1, 0.2, 0.5, 0.6]), Region.whole_image()]
    texts = ["a red apple", "a violin"]
    pairs = (
        (exact.encode_regions(image, regions), other.encode_regions(image, regions)),
        (exact.encode_text(texts), other.encode_text(texts)),
    )
    assert other.fingerprint == exact.fingerprint
    for expected, vectors in pairs:
        assert vectors.dtype == np.float32
        assert ((expected * vectors).sum(axis=1) >= 0.999).all()
