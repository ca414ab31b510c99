"""What ``auto`` takes, and what is asked before anything is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import open_clip
import pytest
import torch

from alphaclip.catalog import zoo
from alphaclip.catalog.choices import OFFERED
from alphaclip.catalog.zoo import CANDIDATES, find_cached
from alphaclip.encoder.auto import ask_for_model
from alphaclip.errors import MissingWeightsError
from alphaclip.network.split_towers import find_tower
from alphaclip.views.view import View
from alphaclip.weights.alpha_channel import add_alpha_channel
from alphaclip.weights.architectures import build_clip, read_config

CACHED = "ViT-B-16/datacomp_xl_s13b_b90k"
NAME = f"openclip:{CACHED}+near+maskattn"

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    "candidate", sorted({*CANDIDATES, *(offer.candidate for offer in OFFERED.values())})
)
def test_candidates__exist_can_be_pooled_and_have_open_clips_tokenizer(candidate: str) -> None:
    architecture, _, tag = candidate.partition("/")
    assert open_clip.is_pretrained_cfg(architecture, tag)
    config = read_config(architecture)
    assert "hf_tokenizer_name" not in config.settings["text_cfg"]
    with torch.device("meta"):
        visual = build_clip(config).visual
    add_alpha_channel(visual)
    assert find_tower(visual, candidate).grid[0] > 1
    assert zoo.resolve(f"openclip:{candidate}{zoo.METHODS}").methods


def test_find_auto__takes_a_cached_model_before_nano(cached: list[str]) -> None:
    assert find_cached() is None
    assert zoo.find_auto().name == zoo.NANO
    cached.append(CACHED)
    spec = zoo.find_auto()
    assert spec.name == find_cached() == NAME
    assert spec.default_view == View("context", 1.5)
    assert not spec.warning
    cached.append("ViT-L-14-quickgelu/dfn2b")
    assert zoo.find_auto().name == "openclip:ViT-L-14-quickgelu/dfn2b+near+maskattn"


def test_find_auto__between_mim_and_grit(cached: list[str], models: Path) -> None:
    cached.append(CACHED)
    (models / "alphaclip-vit-l14-grit20m.safetensors").touch()
    assert zoo.find_auto().name == NAME
    (models / "alphaclip-vit-b16-grit1m-mim.safetensors").touch()
    assert zoo.find_auto().name == "alphaclip-vit-b16-grit1m-mim"


def test_resolve__auto_with_methods_of_ones_own(cached: list[str]) -> None:
    assert zoo.resolve("auto+crop").name == "alphaclip-nano+crop"
    cached.append(CACHED)
    assert zoo.resolve("auto+maskpool").name == f"openclip:{CACHED}+maskpool"


def _refuse(question: str) -> str:
    raise AssertionError(f"asked: {question}")


def test_ask_for_model__only_at_a_terminal_and_where_nothing_is_here(
    cached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert ask_for_model(_refuse) == "auto"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    cached.append(CACHED)
    assert ask_for_model(_refuse) == "auto"


@pytest.mark.usefixtures("terminal", "cached")
@pytest.mark.parametrize("answer", ["", "n", "no", "what?"])
def test_ask_for_model__anything_but_yes_downloads_nothing(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphaclip.weights.base_weights.download_base", _refuse)
    questions = []
    assert ask_for_model(lambda question: questions.append(question) or answer) == "auto"
    assert len(questions) == 1
    assert "0.6 GB" in questions[0] and CACHED in questions[0]


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__the_end_of_the_input_is_a_no() -> None:
    def end(question: str) -> str:
        raise EOFError

    assert ask_for_model(end) == "auto"


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__yes_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("open_clip.download_pretrained", lambda cfg: asked.append(cfg) or "file")
    assert ask_for_model(lambda question: "Y ") == NAME
    assert asked[0]["hf_hub"] == "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K/"


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: dict) -> str:
        raise OSError("there is no network")

    monkeypatch.setattr("open_clip.download_pretrained", fail)
    with pytest.raises(MissingWeightsError, match=r"no network\)\. .*hf download laion/CLIP"):
        ask_for_model(lambda question: "yes")
