"""The precision of the CPU: what is measured, chosen and remembered."""

from __future__ import annotations

import json
import logging
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.network import precisions
from alphaclip.network.factory import create_model
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.precisions import (
    MEMORY,
    Measured,
    fastest,
    fastest_on_cpu,
    measure_all,
)
from alphaclip.views.view import View

CPU = torch.device("cpu")
FP32 = Measured(2.0, 1.0)
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


def _choose(model: AlphaCLIP, name: str = "tiny") -> str:
    def encode(dtype: torch.dtype, pixels: torch.Tensor, maps: torch.Tensor) -> np.ndarray:
        return _encoder(model, dtype).encode_views(pixels, maps)

    return fastest_on_cpu(model, name, encode)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({}, "fp32"),
        ({"int8": Measured(4.0, 0.9998), "bf16": Measured(3.0, 0.9999)}, "int8"),
        ({"int8": Measured(4.0, 0.9989), "bf16": Measured(3.0, 0.9999)}, "bf16"),
        ({"int8": Measured(4.0, 0.999)}, "int8"),
        ({"int8": Measured(2.1, 1.0)}, "fp32"),
        ({"bf16": Measured(0.25, 1.0)}, "fp32"),
        ({"int8": Measured(4.0, float("nan"))}, "fp32"),
    ],
)
def test_fastest__of_those_that_are_exact_enough(
    others: dict[str, Measured], expected: str
) -> None:
    assert fastest({"fp32": FP32, **others}) == expected


def test_measure_all__compiles_only_where_nothing_quick_is_taken() -> None:
    figures = {"fp32": FP32, "int8": Measured(4.0, 0.9998), "compile": Measured(9.0, 1.0)}
    assert list(measure_all(["int8"], ["compile"], figures.__getitem__)) == ["fp32", "int8"]
    figures["int8"] = Measured(4.0, 0.99)
    found = measure_all(["int8"], ["compile"], figures.__getitem__)
    assert fastest(found) == "compile"


def test_measure_all__what_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def measure(precision: str) -> Measured:
        if precision == "int8":
            raise RuntimeError("no kernel")
        return FP32

    with caplog.at_level(logging.DEBUG, "alphaclip.network.precisions"):
        assert list(measure_all(["int8", "bf16"], [], measure)) == ["fp32", "bf16"]
    assert "precision int8 cannot be used here: no kernel" in caplog.text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was measured, all of it as if int8 were the fastest; nothing is too small for that."""
    measured: list[str] = []

    def measure(precision: str) -> Measured:
        measured.append(precision)
        return Measured(5.0, 0.9995) if precision == "int8" else FP32

    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "candidates", lambda: (["int8"], ["compile"]))
    monkeypatch.setattr(precisions, "_measure", lambda *_: measure)
    return measured


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 3}', "", None])
def test_choose__a_damaged_memory_is_as_none(
    model: AlphaCLIP, asked: list[str], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "models" / MEMORY
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    assert _choose(model) == "int8"
    (entry,) = [one for one in json.loads(path.read_text()).values() if one != 3]
    assert entry["measured"]["int8"] == {"per_second": 5.0, "cosine": 0.9995}
    assert {file.name for file in path.parent.iterdir()} == {MEMORY, f".{MEMORY}.lock"}


@pytest.mark.parametrize("entry", [3, {"precision": ["int8"]}, {"precision": "bf16"}])
def test_choose__what_cannot_be_had_is_not_remembered(
    model: AlphaCLIP, asked: list[str], tmp_path: Path, entry: object
) -> None:
    _choose(model)
    path = tmp_path / "models" / MEMORY
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: entry}))
    assert _choose(model) == "int8"
    assert asked == ["fp32", "int8"] * 2


def test_choose__a_folder_that_cannot_be_made_is_no_error(
    model: AlphaCLIP, asked: list[str], tmp_path: Path
) -> None:
    (tmp_path / "models").write_text("")
    assert _choose(model) == _choose(model) == "int8"
    assert asked == ["fp32", "int8"] * 2


def test_choose__measures_once_and_says_what_it_took(
    model: AlphaCLIP, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "alphaclip.network.precisions"):
        assert _choose(model) == _choose(model) == "int8"
    assert asked == ["fp32", "int8"]
    (line,) = [r.getMessage() for r in caplog.records if r.name == "alphaclip.network.precisions"]
    assert "precision int8, 5.0 regions a second, 2.50 times fp32's" in line
    assert _choose(model, "other") == "int8"
    assert asked == ["fp32", "int8"] * 2


def test_choose__refuses_what_is_too_far_from_fp32(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Really measured: a candidate that rounds its weights to tenths."""

    def set_coarse(model: AlphaCLIP, precision: str, device: torch.device) -> object:
        kept = deepcopy(model.clip.visual.state_dict())
        if precision == "coarse":
            with torch.no_grad():
                for parameter in model.clip.visual.parameters():
                    parameter.copy_((parameter * 10).round() / 10)
        return torch.float32, lambda: model.clip.visual.load_state_dict(kept)

    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "LEAST_GAIN", 0.0)
    monkeypatch.setattr(precisions, "candidates", lambda: (["coarse"], []))
    monkeypatch.setattr(precisions, "set_precision", set_coarse)
    encoder = _encoder(model)
    before = encoder.encode_regions(IMAGE, REGIONS)
    assert _choose(model) == "fp32"
    (entry,) = json.loads((tmp_path / MEMORY).read_text()).values()
    assert entry["measured"]["fp32"]["cosine"] == pytest.approx(1, abs=1e-6)
    assert entry["measured"]["coarse"]["cosine"] < 0.999
    assert (encoder.encode_regions(IMAGE, REGIONS) == before).all()


def test_choose__small_models_are_not_measured(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.delattr(precisions, "_measure")
    assert _choose(model) == "fp32"
    assert list(tmp_path.iterdir()) == []


def test_load__auto_measures_and_takes_int8(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All real but the gain, which a tiny model does not have."""
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "candidates", lambda: (["int8"], []))
    monkeypatch.setattr(precisions, "fastest", lambda found: [*found][-1])
    assert load("alphaclip-nano", "cpu").dtype == torch.int8
    (entry,) = json.loads((tmp_path / MEMORY).read_text()).values()
    assert entry["measured"]["int8"]["cosine"] >= 0.999
