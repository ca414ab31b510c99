"""The fingerprint of large weights is remembered by their files, and never that of others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alphaclip.network import fingerprint as fingerprints
from alphaclip.network.factory import create_model
from alphaclip.network.fingerprint import MEMORY, fingerprint
from alphaclip.network.model import AlphaCLIP

OTHER = "0" * 32
"""Nobody's fingerprint, put in the place of what is remembered."""


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "LARGE", 1)


@pytest.fixture
def weights(tiny_config: Path, models: Path) -> Path:
    torch.manual_seed(1)
    model = create_model(str(tiny_config))
    tensors = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    save_file(tensors, models / "tiny.safetensors")
    return models / "tiny.safetensors"


@pytest.fixture
def make(tiny_config: Path, weights: Path) -> Callable[[], AlphaCLIP]:
    return lambda: create_model(str(tiny_config), checkpoint=weights)


@pytest.fixture
def memory(models: Path, make: Callable[[], AlphaCLIP]) -> Path:
    """The fingerprint of these weights is remembered, and is a wrong one."""
    fingerprint(make(), None)
    path = models / MEMORY
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), OTHER)))
    return path


def test_remembered(make: Callable[[], AlphaCLIP], memory: Path) -> None:
    assert fingerprint(make(), None) == OTHER
    assert fingerprint(make(), None, "another pooling") != OTHER
    assert len(json.loads(memory.read_text())) == 2


def test_the_same_as_without(
    make: Callable[[], AlphaCLIP], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [fingerprint(make(), None) for _ in range(2)]
    monkeypatch.setattr(fingerprints, "LARGE", 10**12)
    assert {*found, fingerprint(make(), None)} == {found[0]}


def test_other_weights(make: Callable[[], AlphaCLIP], memory: Path, weights: Path) -> None:
    """In the file, or changed in memory, as training does or LoRA when it is merged."""
    trained, merged, replaced = make(), make(), make()
    with torch.no_grad():
        trained.clip.token_embedding.weight[7].add_(1)
    merged.clip.visual.conv1.weight.data += 1
    replaced.clip.visual.proj = torch.nn.Parameter(replaced.clip.visual.proj + 1)
    prints = {fingerprint(model, None) for model in (trained, merged, replaced)}
    assert len(prints) == 3 and OTHER not in prints
    os.utime(weights, (1, 1))
    assert fingerprint(make(), None) not in {*prints, OTHER}


def test_weights_that_are_from_no_file(tiny_config: Path, models: Path) -> None:
    tensors = create_model(str(tiny_config)).clip.state_dict()
    for model in (create_model(str(tiny_config)), create_model(str(tiny_config), tensors)):
        fingerprint(model, None)
    assert not (models / MEMORY).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 7}', "\udcff"])
def test_a_memory_that_is_damaged(
    make: Callable[[], AlphaCLIP], memory: Path, content: str
) -> None:
    memory.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = fingerprint(make(), None)
    assert found != OTHER and found == fingerprint(make(), None)


def test_a_memory_that_cannot_be_written(make: Callable[[], AlphaCLIP], models: Path) -> None:
    (models / MEMORY).mkdir()
    assert len(fingerprint(make(), None)) == 32


def test_only_the_latest_are_remembered(
    make: Callable[[], AlphaCLIP], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "MOST", 2)
    for pooling in "abc":
        fingerprint(make(), None, pooling)
    assert len(json.loads(memory.read_text())) == 2
    assert fingerprint(make(), None) != OTHER
