"""The precision of the CPU: what is measured, chosen and remembered."""

from __future__ import annotations

import json
import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

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
    is_busy,
    measure,
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
        ({"bf16": Measured(3.0, 0.9999), "int8": Measured(4.0, 0.9998)}, "int8"),
        ({"bf16": Measured(3.0, 0.9999), "int8": Measured(4.0, 0.9989)}, "bf16"),
        ({"bf16": Measured(3.8, 0.9999), "int8": Measured(4.0, 0.9998)}, "bf16"),
        ({"bf16": Measured(0.9, 0.9999), "int8": Measured(4.0, 0.999)}, "int8"),
        ({"int8": Measured(2.1, 1.0)}, "fp32"),
        ({"bf16": Measured(0.25, 1.0)}, "fp32"),
        ({"int8": Measured(4.0, float("nan"))}, "fp32"),
    ],
)
def test_fastest__of_those_that_are_exact_enough(
    others: dict[str, Measured], expected: str
) -> None:
    assert fastest({"fp32": FP32, **others}) == expected


class _Machine:
    """Stands in for the model and both clocks: what an encoding costs, in seconds, by precision.

    It runs ``threads`` at a time; the first encoding of each costs a second more.
    """

    def __init__(self, patch: pytest.MonkeyPatch, costs: dict[str, float], threads: int) -> None:
        self.runs: list[str] = []
        self.cpu = self.wall = 0.0
        self._costs, self._threads = costs, threads
        patch.setattr(precisions, "set_precision", lambda _, name, __: (name, lambda: None))
        patch.setattr(precisions, "time", self)

    def process_time(self) -> float:
        return self.cpu

    def monotonic(self) -> float:
        return self.wall

    def encode(self, name: Any, pixels: torch.Tensor, maps: torch.Tensor) -> np.ndarray:
        if self._costs[name] < 0:
            raise RuntimeError("no kernel")
        took = self._costs[name] + (name not in self.runs)
        self.runs.append(name)
        self.cpu += took
        self.wall += took / self._threads
        coarse = 0.1 if name == "coarse" else 0.0
        return np.array([[np.cos(coarse), np.sin(coarse)]], np.float32)


@pytest.mark.parametrize(
    ("costs", "threads", "runs", "found"),
    [
        ({"fp32": 0.2, "bf16": 0.1}, 2, ["fp32", "bf16"] * 6, {"fp32": 5, "bf16": 10}),
        # Slow and coarse ones are dropped after their first view, broken ones before.
        (
            {"fp32": 1.0, "broken": -1.0, "slow": 9.0, "coarse": 0.1},
            8,
            ["fp32", "slow", "coarse", *["fp32"] * 5],
            {"fp32": 1, "slow": 0.1, "coarse": 1 / 1.1},
        ),
        # 4 + 3 seconds, and no time for one that may take as long; then only one was reached.
        ({"fp32": 3.0, "bf16": 2.0}, 1, ["fp32", "bf16"], {"fp32": 1 / 4, "bf16": 1 / 3}),
        ({"fp32": 7.0, "bf16": 2.0}, 1, ["fp32"], {"fp32": 1 / 8}),
    ],
)
def test_measure__in_turn_and_within_ten_seconds(
    model: AlphaCLIP,
    monkeypatch: pytest.MonkeyPatch,
    costs: dict[str, float],
    threads: int,
    runs: list[str],
    found: dict[str, float],
) -> None:
    machine = _Machine(monkeypatch, costs, threads)
    measured = measure(model, machine.encode, list(costs))
    assert machine.runs == runs
    assert {name: one.per_second for name, one in measured.items()} == pytest.approx(found)
    assert machine.wall <= 10


def test_measure__fails_where_float32_does(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = _Machine(monkeypatch, {"fp32": -1.0, "bf16": 1.0}, 1)
    with pytest.raises(RuntimeError, match="no kernel"):
        measure(model, machine.encode, ["fp32", "bf16"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was measured, all of it as if int8 were the fastest; nothing is too small for that."""
    measured: list[str] = []

    def measure(model: AlphaCLIP, encode: object, names: list[str]) -> dict[str, Measured]:
        measured.extend(names)
        return {"fp32": FP32, "int8": Measured(5.0, 0.9995)}

    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "candidates", lambda: ["fp32", "int8"])
    monkeypatch.setattr(precisions, "is_busy", lambda: False)
    monkeypatch.setattr(precisions, "measure", measure)
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
    assert "precision int8, 5.0 regions a CPU second, 2.50 times fp32's" in line
    assert _choose(model, "other") == "int8"
    assert asked == ["fp32", "int8"] * 2


def test_choose__what_was_measured_on_a_busy_machine_is_forgotten(
    model: AlphaCLIP, asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads = iter([1e6, 1e6, 0.0])
    monkeypatch.setattr(precisions, "is_busy", lambda: next(loads) > 1)
    assert _choose(model) == _choose(model) == "int8"
    assert not (tmp_path / "models").exists()
    assert _choose(model) == _choose(model) == "int8"
    assert asked == ["fp32", "int8"] * 3


@pytest.mark.parametrize(("load", "expected"), [(0.0, False), (1e6, True)])
def test_is_busy__by_what_waits_for_a_core(
    monkeypatch: pytest.MonkeyPatch, load: float, expected: bool
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert is_busy() is expected


def test_choose__refuses_what_is_too_far_from_fp32(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Really measured: a candidate that rounds its weights to tenths."""

    def set_coarse(model: AlphaCLIP, precision: str, device: torch.device) -> object:
        visual = model.clip.visual
        kept = deepcopy(visual.state_dict())
        rounded = {name: (tensor * 10).round() / 10 for name, tensor in kept.items()}
        if precision == "coarse":
            visual.load_state_dict(rounded)
        return torch.float32, lambda: visual.load_state_dict(kept)

    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "LEAST_GAIN", 0.0)
    monkeypatch.setattr(precisions, "candidates", lambda: ["fp32", "coarse"])
    monkeypatch.setattr(precisions, "is_busy", lambda: False)
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
    monkeypatch.delattr(precisions, "measure")
    assert _choose(model) == "fp32"
    assert list(tmp_path.iterdir()) == []


def test_load__auto_measures_and_takes_int8(
    model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All real but the gain, which small models do not have."""
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.setattr(precisions, "SMALL", 0)
    monkeypatch.setattr(precisions, "candidates", lambda: ["fp32", "int8"])
    monkeypatch.setattr(precisions, "is_busy", lambda: False)
    monkeypatch.setattr(precisions, "fastest", lambda found: [*found][-1])
    assert load("alphaclip-nano", "cpu").dtype == torch.int8
    assert _choose(model) == "int8"
    nano, tiny = json.loads((tmp_path / MEMORY).read_text()).values()
    assert tiny["measured"]["int8"]["cosine"] >= 0.999
    # Training spreads what a layer gets: nano's is just below what `fastest` itself would take
    assert nano["measured"]["int8"]["cosine"] >= 0.998
