"""What ``auto`` takes, and what is asked before anything is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import open_clip
import pytest
import torch

from alphaclip.catalog import zoo
from alphaclip.catalog.candidates import CANDIDATES, OFFERED
from alphaclip.catalog.zoo import find_cached
from alphaclip.encoder.auto import ask_for_model
from alphaclip.errors import MissingWeightsError
from alphaclip.network.split_towers import find_tower
from alphaclip.views.view import View
from alphaclip.weights.alpha_channel import add_alpha_channel
from alphaclip.weights.architectures import build_clip, read_config

CACHED = "PE-Core-B-16/meta"
RESEARCH = "ViT-L-14-quickgelu/dfn2b"
MIM = "alphaclip-vit-b16-grit1m-mim"
NAME = f"openclip:{CACHED}+near+maskattn"

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("candidate", [one.model for one in CANDIDATES])
def test_candidates__exist_can_be_pooled_and_have_open_clips_tokenizer(candidate: str) -> None:
    architecture, _, tag = candidate.partition("/")
    assert open_clip.is_pretrained_cfg(architecture, tag)
    config = read_config(architecture)
    assert "hf_tokenizer_name" not in config.settings["text_cfg"]
    with torch.device("meta"):
        clip = build_clip(config)
    facts = next(one for one in CANDIDATES if one.model == candidate)
    size = sum(weights.numel() for weights in clip.parameters()) * 4 / 1e6
    assert facts.megabytes == pytest.approx(size, rel=0.02)
    assert facts.tokens == clip.context_length
    add_alpha_channel(clip.visual)
    assert find_tower(clip.visual, candidate).grid[0] > 1
    assert zoo.resolve(f"openclip:{candidate}{zoo.METHODS}").licence == facts.licence


def test_candidates__are_in_order_and_what_is_offered_is_free() -> None:
    accuracies = [one.accuracy for one in CANDIDATES]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(one.is_free and one in CANDIDATES for one in OFFERED.values())


def test_find_auto__takes_a_cached_model_before_nano(cached: list[str]) -> None:
    assert find_cached() == []
    assert zoo.find_auto().name == zoo.NANO
    cached.append(CACHED)
    spec = zoo.find_auto()
    assert spec.name == NAME
    assert spec.default_view == View("context", 1.5)
    assert not spec.warning


def test_find_auto__takes_what_may_be_used_commercially_first(
    cached: list[str], models: Path
) -> None:
    (models / "alphaclip-vit-l14-grit20m.safetensors").touch()
    assert "trained on GRIT alone" in zoo.find_auto().warning
    cached.append(RESEARCH)
    assert zoo.find_auto().name == f"openclip:{RESEARCH}+near+maskattn"
    (models / f"{MIM}.safetensors").touch()
    spec = zoo.find_auto()
    assert spec.name == MIM
    assert "may not be used commercially (CC BY-NC" in spec.warning
    cached.append(CACHED)
    assert zoo.find_auto().name == NAME
    # Who names it gets it, without a word
    assert zoo.resolve(MIM).warning == ""


def test_find_auto__base_weights_of_a_checkpoint_are_no_choice(
    cached: list[str], models: Path
) -> None:
    """They come when it encodes its first text: "auto" must not be another model from then on."""
    (models / f"{MIM}.safetensors").touch()
    cached.append("ViT-B-16-quickgelu/openai")
    assert zoo.find_auto().name == MIM
    cached.append("ViT-L-14-quickgelu/openai")
    assert zoo.find_auto().name == "openclip:ViT-L-14-quickgelu/openai+near+maskattn"


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
    assert "1.8 GB, Apache-2.0" in questions[0] and CACHED in questions[0]


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__the_end_of_the_input_is_a_no() -> None:
    def end(question: str) -> str:
        raise EOFError

    assert ask_for_model(end) == "auto"


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__yes_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "alphaclip.weights.base_weights.fetch_file", lambda *given: asked.append(given) or "file"
    )
    assert ask_for_model(lambda question: "Y ") == NAME
    assert asked == [("timm/PE-Core-B-16", "open_clip_model.safetensors", None)]


@pytest.mark.usefixtures("terminal", "cached")
def test_ask_for_model__a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> str:
        raise OSError("there is no network")

    monkeypatch.setattr("alphaclip.weights.base_weights.fetch_file", fail)
    with pytest.raises(
        MissingWeightsError, match=r"no network\)\. .*hf download timm/PE-Core-B-16"
    ):
        ask_for_model(lambda question: "yes")
