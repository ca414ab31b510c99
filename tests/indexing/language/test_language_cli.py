"""``alphaclip describe`` and ``alphaclip ask``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alphaclip.cli import main
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.language import loading
from tests.indexing.language.fakes import FakeDescriber


@pytest.fixture
def index(
    make_dataset: Callable, make_index: Callable, monkeypatch: pytest.MonkeyPatch
) -> RegionIndex:
    """Three regions in two pictures; any name loads a model that sees pictures."""
    monkeypatch.setattr(loading, "load", lambda name, device: FakeDescriber("painted", name))
    return make_index(make_dataset([[(0, 0.1), (1, 0.2)], [(2, 0.9)]]))


def test_describe__says_the_cost_and_writes(
    index: RegionIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    name = index.dataset.name
    assert main(["describe", name, "regions", "--model", "small", "--limit", "2"]) == 0
    printed = capsys.readouterr().out
    assert "2 regions, nothing left to ask" in printed and "2 labels written" in printed
    assert "by small@" in printed and "takes it back" in printed
    index.dataset.limit(1).tag_samples("first")
    assert main(["describe", name, "regions", "--into", "words", "--view", "first"]) == 0
    assert "2 labels written to 'boxes.words'" in capsys.readouterr().out


def test_ask__of_tagged_labels(index: RegionIndex, capsys: pytest.CaptureFixture[str]) -> None:
    name = index.dataset.name
    index.dataset.skip(1).tag_labels("odd", label_fields="boxes")
    command = ["ask", name, "regions", "is this a {truth}?", "--choices", "yes", "no", "unsure"]
    assert main([*command, "--into", "verified", "--view", "odd"]) == 0
    printed = capsys.readouterr().out
    assert "1 labels written to 'boxes.verified', 1 'yes'" in printed
    assert main([*command, "--view", "none"]) != 0
    assert "no saved view of this name" in capsys.readouterr().err
