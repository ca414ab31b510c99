"""Captions of crops, and what they say of the white around."""

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.captions.captioners import (
    BACKGROUND_PHRASES,
    load_captioner,
    model_captioner,
    strip_background,
)


@pytest.mark.parametrize("phrase", BACKGROUND_PHRASES)
def test_strip_background__every_phrase_goes(phrase: str) -> None:
    assert strip_background(f"a red car {phrase}.") == "a red car"
    assert strip_background(f"A dog, {phrase.upper()}") == "A dog"


@pytest.mark.parametrize(
    "caption",
    ["a dog on a white sofa", "a white background check form", "two black cats", "a whitish wall"],
)
def test_strip_background__what_belongs_to_the_object_stays(caption: str) -> None:
    expected = {"a white background check form": "check form"}
    assert strip_background(caption) == expected.get(caption, caption)


def test_strip_background__nothing_may_be_left() -> None:
    assert strip_background("a white background") == ""


class Inputs(dict):
    def to(self, device: object) -> "Inputs":
        return self


class Processor:
    """Counts the pictures of a batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: list, return_tensors: str) -> Inputs:
        self.batches.append(len(images))
        return Inputs(pixel_values=torch.tensor([[image.width] for image in images]))

    def batch_decode(self, tokens: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        return [f" a  thing {int(width)} wide " for (width,) in tokens]


class Model:
    device = "cpu"

    def generate(self, pixel_values: torch.Tensor, **_: object) -> torch.Tensor:
        return pixel_values


def test_model_captioner__batches_in_order() -> None:
    processor = Processor()
    caption = model_captioner(processor, Model(), batch=2)
    images = [np.zeros((4, width, 3), np.uint8) for width in (5, 6, 7)]
    assert caption(images) == [f"a thing {width} wide" for width in (5, 6, 7)]
    assert processor.batches == [2, 1]
    assert caption([]) == []


def test_load_captioner__no_such_model(tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="cannot be loaded as an image-to-text model"):
        load_captioner(str(tmp_path), "cpu")


def test_load_captioner__without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AlphaClipError, match="pip install transformers"):
        load_captioner("anything", "cpu")
