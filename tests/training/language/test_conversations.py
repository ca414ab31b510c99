"""What LLaVA is shown and told in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alphaclip import Region, language
from alphaclip.errors import AlphaClipError
from alphaclip.language.dialects import choose_dialect
from alphaclip.language.inputs import Inputs
from alphaclip.language.shown import Showing
from alphaclip.language.transformers_model import TransformersModel
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.language.conversations import Conversations
from alphaclip.training.pairs.format.reading import PairSet, open_pairs
from alphaclip.training.pairs.format.records import PairError

Make = Callable[..., Conversations]


@pytest.fixture(scope="module")
def model(base: Path, tower: Path) -> TransformersModel:
    return language.load(base, alpha=tower, device="cpu")


@pytest.fixture(scope="module")
def inputs(model: TransformersModel) -> Inputs:
    dialect = choose_dialect(model.processor, model.model.config, None, has_alpha=True)
    return Inputs(model.processor, dialect, has_alpha=True)


@pytest.fixture(scope="module")
def make(inputs: Inputs, pairs: Path) -> Make:
    def conversations(wholes: bool = False, alpha: Any = "box", count: int = 32) -> Conversations:
        return Conversations(open_pairs(pairs), inputs, 32, wholes, alpha, 0, count)

    return conversations


def areas(conversations: Conversations) -> np.ndarray:
    return np.array([conversations[i].shown.alpha.float().sum() / 255 for i in range(16)])


def test_epochs__have_every_pair_once_in_orders_of_their_own(make: Make) -> None:
    conversations = make()
    answers = [conversations[index].answer for index in range(len(conversations))]
    first, second = answers[:16], answers[16:]
    assert len(set(first)) == 16
    assert sorted(first) == sorted(second)
    assert first != second
    assert conversations[3].prompt.endswith("Describe it in one short sentence. ASSISTANT:")


def test_alpha__is_the_box_the_mask_or_either(make: Make) -> None:
    boxes, masks, mixed = (areas(make(alpha=alpha)) for alpha in ("box", "mask", "mixed"))
    discs = boxes > 1.1 * masks
    assert 6 <= discs.sum() <= 10  # A disc is smaller than its box, a square is not
    is_box = np.isclose(mixed, boxes)
    assert np.all(is_box | np.isclose(mixed, masks))
    assert 0 < is_box[discs].sum() < discs.sum()


def test_wholes__are_pictures_with_their_captions(make: Make) -> None:
    conversations = make(wholes=True, count=8)
    several = [conversations[index] for index in range(8)]
    assert len({one.answer for one in several}) == 8
    assert all(" and a " in one.answer for one in several)
    assert all((one.shown.alpha == 255).all() for one in several)


def test_pair_that_cannot_be_used__another_takes_its_place(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, conversations = PairSet.__getitem__, make(count=16)
    expected = [conversations[index].answer for index in range(16)]

    def damaged(self: PairSet, number: Any) -> Any:
        pair = read(self, number)
        if pair.texts == (expected[4],):
            raise PairError("p004: is damaged")
        return pair

    monkeypatch.setattr(PairSet, "__getitem__", damaged)
    assert conversations[4].answer == expected[5]
    assert "p004: is damaged" in caplog.text

    def all_damaged(self: PairSet, number: Any) -> Any:
        raise PairError("is damaged")

    monkeypatch.setattr(PairSet, "__getitem__", all_damaged)
    with pytest.raises(FinetuneError, match="20 pairs one after another cannot be used, the last"):
        conversations[4]


def test_text_with_a_mark_of_the_model__is_not_trained_on(inputs: Inputs) -> None:
    with pytest.raises(AlphaClipError, match="holds '<image>'"):
        inputs.tokens.check_text("a <image> of")


def test_loss__is_that_of_the_answers_tokens(model: TransformersModel, inputs: Inputs) -> None:
    """Of texts of different lengths, it is what `ask` sums, but for the mark at the end."""
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    regions = [Region.from_box([0, 0, 0.4, 1]), Region.whole_image()]
    shown = [Showing(image, inputs.dialect.views, 32).show(region) for region in regions]
    choices = ["a red disc", "blue"]
    prompts = [(one, inputs.dialect.asking("what?", one.box)) for one in shown]
    batch = inputs.with_answers(prompts, choices)
    labels = batch["labels"][:, 1:]
    assert (labels != -100).sum(1).tolist() == [len(" a red disc") + 1, len(" blue") + 1]
    assert (labels == 2).sum(1).tolist() == [1, 1]
    with torch.inference_mode():
        expected = model.model(**batch).logits.log_softmax(-1)[:, :-1]
    logliks = expected.gather(-1, labels[..., None].clamp(min=0)).squeeze(-1)
    sums = torch.where((labels == -100) | (labels == 2), 0, logliks).sum(1)
    asked = model.ask(image, regions, "what?", choices)
    assert np.allclose(sums.numpy(), asked.logliks.diagonal(), atol=1e-3)
