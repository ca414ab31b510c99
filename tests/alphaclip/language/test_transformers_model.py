"""Describing and asking, by small random models of six kinds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alphaclip import Region, language
from alphaclip.errors import AlphaClipError, EmptyRegionError, ImageError
from alphaclip.language import Question
from alphaclip.language.transformers_model import TransformersModel
from alphaclip.views.cutter import make_views
from alphaclip.views.prefetch import Failure
from alphaclip.views.view import View

from .tiny_models import KINDS

ModelOf = Callable[[str], TransformersModel]

CHOICES = ["yes", "no, not it"]
BRIEFLY = "is it red?\nAnswer the question using a single word or phrase."
CROP, OUTLINE = View("context"), View("image", marker="circle")
PROMPTS = {
    "llava": f"USER: <image>\nThe picture shows an object in its middle. {BRIEFLY} ASSISTANT:",
    # The square picture of 80 pixels is scaled to 112
    "qwen2_5_vl": "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Look at the object "
    f"at [11, 22, 45, 56] in the picture. {BRIEFLY}<|im_end|>\n<|im_start|>assistant\n",
    "smolvlm": "User:<image><image>A red ellipse is drawn round an object in the first picture, "
    f"the second picture shows the same object from near. {BRIEFLY}<end_of_utterance>\nAssistant:",
    "blip": "is it red?",
    "florence2": "<REGION_TO_CATEGORY><loc_100><loc_100><loc_400><loc_500>",
    "kosmos-2": "<grounding><phrase> It</phrase><object><patch_index_0099><patch_index_0492>"
    "</object> Question: is it red? Answer:",
}
VIEWS = {
    "qwen2_5_vl": [View("image")], "smolvlm": [OUTLINE, CROP], "florence2": [View("squash")],
    "kosmos-2": [View("squash")],
}  # fmt: skip


def question_for(kind: str) -> str:
    return "<REGION_TO_CATEGORY>" if kind == "florence2" else "is it red?"


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch__equals_its_regions_one_by_one(
    kind: str, model_of: ModelOf, image: np.ndarray, regions: list[Region]
) -> None:
    model, question = model_of(kind), question_for(kind)
    texts = model.describe(image, regions, max_tokens=6)
    assert texts == [model.describe(image, [one], max_tokens=6)[0] for one in regions]
    assert all(texts)
    answers = model.ask(image, regions, question, CHOICES)
    alone = [model.ask(image, [one], question, CHOICES) for one in regions]
    assert np.allclose(answers.logliks, np.concatenate([one.logliks for one in alone]), atol=1e-4)
    assert np.ptp(answers.logliks[:, 0]) > 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "florence2"])
def test_prompts_of_different_lengths__share_a_batch(
    kind: str, model_of: ModelOf, image: np.ndarray, regions: list[Region]
) -> None:
    labels = [{"label": "dog"}, {"label": "long-legged buzzard"}, {"label": "a"}]
    prompt = "what is the {label} doing?"
    together = (image, regions, labels)
    alone = [(image, [one], [its]) for one, its in zip(regions, labels, strict=True)]
    (batch,) = model_of(kind).describe_many([together], prompt, 6)
    ones = [next(model_of(kind).describe_many([item], prompt, 6))[0] for item in alone]
    assert [caption.text for caption in batch] == [caption.text for caption in ones]
    assert np.allclose([c.loglik for c in batch], [c.loglik for c in ones], atol=1e-4)
    questions = [
        Question("is it a {label}?", ("yes", "no")),
        Question("is it {label}", ("a", "bc")),
    ]
    (batched,) = model_of(kind).ask_many([together], questions)
    singles = [next(model_of(kind).ask_many([item], questions)) for item in alone]
    for answers, by_one in zip(batched, zip(*singles, strict=True), strict=True):
        assert np.allclose(answers.logliks, [one.logliks[0] for one in by_one], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_choices__are_sums_by_hand(
    kind: str, model_of: ModelOf, folder_of: Callable[[str], Path], image: np.ndarray,
    regions: list[Region],
) -> None:  # fmt: skip
    views, size = VIEWS.get(kind, [CROP]), 672 if kind in ("qwen2_5_vl", "smolvlm") else 32
    pictures = [make_views(image, regions[:1], view, size)[0][0] for view in views]
    shown = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pictures]
    answers = model_of(kind).ask(image, regions[:1], question_for(kind), CHOICES)
    by_hand = [sum_by_hand(folder_of(kind), kind, shown, choice) for choice in CHOICES]
    assert np.allclose(answers.logliks, [by_hand], atol=1e-3)


@torch.inference_mode()
def sum_by_hand(folder: Path, kind: str, pictures: list[Image.Image], choice: str) -> float:
    """The log-probabilities of a choice's tokens, each after all before it, in one pass."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    joint = "" if PROMPTS[kind].endswith("\n") or kind == "florence2" else " "
    ids = processor.tokenizer(joint + choice, add_special_tokens=False)["input_ids"]
    images = pictures if len(pictures) == 1 else [pictures]
    if kind == "florence2":
        inputs = processor(images=images, text=[PROMPTS[kind]], return_tensors="pt")
        inputs["decoder_input_ids"] = torch.tensor([[2, 0, *ids]])
        target = [0, *ids, 2]
    elif kind == "blip":
        inputs = processor(images=images, return_tensors="pt")
        text = processor.tokenizer(PROMPTS[kind] + joint + choice, add_special_tokens=False)[
            "input_ids"
        ]
        inputs["input_ids"] = torch.tensor([[0, *text]])
        target = text
    else:
        inputs = processor(
            images=images, text=[PROMPTS[kind] + joint + choice], return_tensors="pt"
        )
        target = inputs["input_ids"][0, 1:].tolist()
    expected = model(**inputs).logits[0].log_softmax(-1)
    end = len(target) - (kind == "florence2")
    return sum(expected[at, target[at]].item() for at in range(end - len(ids), end))


def test_ask_many__reads_each_region_once(
    model_of: ModelOf, image: np.ndarray, regions: list[Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaModel

    model, read = model_of("llava"), []
    original = LlavaModel.get_image_features

    def counting(self: Any, pixel_values: torch.Tensor, **rest: Any) -> Any:
        read.append(len(pixel_values))
        return original(self, pixel_values=pixel_values, **rest)

    monkeypatch.setattr(LlavaModel, "get_image_features", counting)
    texts = ["what is this {label}?", "is it really large, or does it only look so?"]
    questions = [Question(texts[0], ("a", "the third", "b")), Question(texts[1], ("yes", "no"))]
    labels = [{"label": "dog"}, {"label": "long-legged buzzard"}, {"label": "dog"}]
    (both,) = model.ask_many([(image, regions, labels)], questions)
    assert sum(read) == 3 + 2  # of the grey picture one for each text that is asked
    for answers, question in zip(both, questions, strict=True):
        alone = model.ask(image, regions, question.text, question.choices, labels)
        assert np.allclose(answers.logliks, alone.logliks, atol=1e-4)
        assert np.allclose(answers.priors, alone.priors, atol=1e-4)
    assert np.array_equal(both[0].priors[0], both[0].priors[2])
    assert not np.array_equal(both[0].priors[0], both[0].priors[1])


def test_streams__share_batches_and_keep_their_order(
    folder_of: Callable[[str], Path], image: np.ndarray, regions: list[Region]
) -> None:
    model = language.load(folder_of("llava"), device="cpu", batch_size=2)
    items = [(image, regions), (image[::-1].copy(), []), (image[:, ::-1].copy(), regions[:1])]
    captions = list(model.describe_many(items, max_tokens=5))
    assert [len(some) for some in captions] == [3, 0, 1]
    assert [c.text for c in captions[0]] == model.describe(image, regions, max_tokens=5)
    assert all(-100 < caption.loglik < 0 for some in captions for caption in some)
    answers = list(model.ask_many(items, [Question("red?", ("yes", "no"))]))
    assert [one.logliks.shape for (one,) in answers] == [(3, 2), (0, 2), (1, 2)]


def test_priors__are_those_of_a_picture_without_anything(model_of: ModelOf) -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    answers = model_of("blip").ask(grey, [Region.whole_image()], "red?", CHOICES)
    assert np.allclose(answers.logliks, answers.priors, atol=1e-4)
    assert np.allclose(answers.scores, 0.5, atol=1e-4)


def test_half_precision__says_about_the_same(
    model_of: ModelOf, folder_of: Callable[[str], Path], image: np.ndarray, regions: list[Region]
) -> None:
    half = language.load(folder_of("llava"), device="cpu", precision="bf16")
    assert half.fingerprint == model_of("llava").fingerprint
    answers, exact = (m.ask(image, regions, "red?") for m in (half, model_of("llava")))
    assert np.allclose(answers.logliks, exact.logliks, atol=1)
    assert all(half.describe(image, regions, max_tokens=4))


def test_fingerprint__tells_weights_and_ways_apart(
    model_of: ModelOf, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of("llava")
    again = language.load(folder, device="cpu")
    outlined = language.load(folder, device="cpu", shown="outline")
    assert again.fingerprint == model_of("llava").fingerprint != outlined.fingerprint
    changed = language.load(folder, device="cpu")
    next(iter(changed.model.parameters())).data += 1
    assert changed.fingerprint != again.fingerprint


@pytest.mark.parametrize(
    ("question", "choices", "message"),
    [
        ("", ["a", "b"], "the question is empty"),
        ("q?", ["a"], "a list of two texts or more"),
        ("q?", ["a", " "], "none of them empty"),
        ("q?", "ab", "a list of two texts or more"),
        ("q?", None, "a list of two texts or more"),
        (3, ["a", "b"], "expected a text"),
        ("q?", ["a", "b", "a "], "'a' and 'a' are the same tokens"),
        (
            "is it a {name}?",
            ["a", "b"],
            "names {name}, which the label has no value of: it has lab",
        ),
        ("is it <image>?", ["a", "b"], "holds '<image>', which the model takes for a mark"),
        (
            "is it {label}?",
            ["a", "b" * 1024],
            "tokens, the model takes 1024: the rest would be cut",
        ),
    ],
)
def test_ask__refuses_what_cannot_be_asked(
    model_of: ModelOf, image: np.ndarray, regions: list[Region], question: Any, choices: Any,
    message: str,
) -> None:  # fmt: skip
    with pytest.raises(AlphaClipError, match=message.replace("?", r"\?")):
        model_of("llava").ask(image, regions[:1], question, choices, [{"label": "cat", "x": None}])


def test_marks__of_a_label_are_refused_too(
    model_of: ModelOf, image: np.ndarray, regions: list[Region]
) -> None:
    labels = [{"label": "cat</s>"}]
    with pytest.raises(AlphaClipError, match=r"regions\[0\]: 'is it cat</s>' holds '</s>'"):
        model_of("llava").describe(image, regions[:1], "is it {label}", attributes=labels)


def test_describe__refuses_too_long_a_text(
    model_of: ModelOf, image: np.ndarray, regions: list[Region]
) -> None:
    with pytest.raises(AlphaClipError, match="max_tokens is 0: expected a whole number in"):
        model_of("llava").describe(image, regions, max_tokens=0)
    with pytest.raises(AlphaClipError, match="tokens, the model takes 1024"):
        model_of("llava").describe(image, regions, "really " * 150)
    with pytest.raises(AlphaClipError, match="3 regions and attributes of 1"):
        model_of("llava").describe(image, regions, attributes=[{}])
    with pytest.raises(AlphaClipError, match="it knows <REGION_TO_DESCRIPTION>"):
        model_of("florence2").describe(image, regions, "what is this?")


def test_pictures_and_regions_that_cannot_be_used(
    model_of: ModelOf, image: np.ndarray, regions: list[Region], tmp_path: Path
) -> None:
    model, outside = model_of("blip"), Region.from_box([2, 2, 0.1, 0.1])
    with pytest.raises(ImageError):
        model.describe(tmp_path / "none.jpg", regions)
    with pytest.raises(EmptyRegionError, match=r"regions\[1\]: box"):
        model.ask(image, [regions[0], outside], "red?")
    failures: list[Failure] = []
    items = [(tmp_path / "none.jpg", regions), (image, [outside, regions[0]])]
    questions = [Question("red?", ("yes", "no"))]
    (gone,), (half,) = model.ask_many(items, questions, failures.append)
    assert gone.best == [None] * 3
    assert [one is None for one in half.best] == [True, False]
    assert [(one.item, one.region) for one in failures] == [(0, None), (1, 0)]


def test_tiny_region__is_described(model_of: ModelOf, image: np.ndarray) -> None:
    mask = np.zeros((60, 80), bool)
    mask[59, 79] = True
    for kind in ("llava", "kosmos-2", "qwen2_5_vl"):
        assert model_of(kind).describe(image, [Region.from_mask(mask)], max_tokens=4) != [""]


def test_out_of_memory__halves_the_batch_and_then_reports(
    model_of: ModelOf, image: np.ndarray, regions: list[Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaForConditionalGeneration as Llava

    model, original, most = model_of("llava"), Llava.generate, [1]

    def generate(self: Any, **inputs: Any) -> Any:
        if len(inputs["input_ids"]) > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, **inputs)

    expected = model.describe(image, regions, max_tokens=4)
    monkeypatch.setattr(Llava, "generate", generate)
    assert model.describe(image, regions, max_tokens=4) == expected
    most[0] = 0
    failures: list[Failure] = []
    ((first, *_),) = model.describe_many([(image, regions)], on_error=failures.append)
    assert first.text == ""
    assert [one.region for one in failures] == [0, 1, 2]
    assert "memory does not hold one region" in str(failures[0].error)


def test_numbers_that_are_not_finite__are_reported(
    folder_of: Callable[[str], Path], image: np.ndarray, regions: list[Region],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    model = language.load(folder_of("llava"), device="cpu")
    model.model.lm_head.weight.data[7] = torch.nan
    with caplog.at_level(logging.WARNING, "alphaclip"):
        assert model.describe(image, regions, max_tokens=4) == ["", "", ""]
        answers = model.ask(image, regions, "red?")
    assert answers.best == [None] * 3
    assert np.isnan(answers.logliks).all()
    assert caplog.text.count("not finite: load it with precision='fp32'") == 6


def test_an_empty_text__is_reported(
    folder_of: Callable[[str], Path], image: np.ndarray, regions: list[Region]
) -> None:
    model = language.load(folder_of("llava"), device="cpu")
    model.model.lm_head.weight.data[:] = 0
    model.model.generation_config.suppress_tokens = [*range(2), *range(3, 261)]
    failures: list[Failure] = []
    (captions,) = model.describe_many([(image, regions[:1])], on_error=failures.append)
    assert captions[0].text == ""
    assert "the model wrote nothing" in str(failures[0].error)


def test_questions__have_to_be_questions(model_of: ModelOf) -> None:
    for wrong in ("red?", Question("red?", ("yes", "no")), ["red?"], []):
        with pytest.raises(AlphaClipError, match="expected a list of Question"):
            list(model_of("llava").ask_many([], wrong))  # type: ignore[arg-type]


def test_item__that_is_none(model_of: ModelOf, image: np.ndarray) -> None:
    with pytest.raises(AlphaClipError, match="expected a picture and its regions"):
        list(model_of("llava").describe_many([(image, Region.whole_image())]))  # type: ignore[list-item]
