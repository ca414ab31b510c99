"""Detectors of phrases, on small models of the real classes with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alphaclip.detectors.boxes import FoundBox, GroundingSettings
from alphaclip.detectors.phrase_detectors import Dino, Owl, PhraseDetector, load_detector
from alphaclip.errors import AlphaClipError
from tests.alphaclip.hub_models import save_owl

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
ALL = GroundingSettings(least_score=0.0, most_boxes=100, max_overlap=1)
SMALL = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module", params=["owlvit", "owlv2"])
def owl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_owl(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("dino")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "red", "dog", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    backbone = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
        window_size=4, out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = transformers.BertConfig(vocab_size=len(words), **SMALL)
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, num_queries=12,
        encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    images = transformers.GroundingDinoImageProcessor(size={"height": 160, "width": 160})
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def parts_of(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder)
    return AutoProcessor.from_pretrained(folder), model.eval()


def test_ground__boxes_of_each_phrase_are_kept_by_themselves() -> None:
    asked: list[Sequence[str]] = []

    def detect(image: np.ndarray, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        asked.append(phrases)
        boxes = np.array([[0.25, 0, 0.75, 0.5], [0, 0, 0.1, 0.1]])
        return boxes, np.array([[0.8, 0.1], [0.2, 0.6]])

    detector = PhraseDetector(detect, "fake", GroundingSettings(0.5))
    found = detector.ground(IMAGE, ["a dog", "a cat"])
    assert found == [[FoundBox((0.25, 0, 0.75, 0.5), 0.8)], [FoundBox((0, 0, 0.1, 0.1), 0.6)]]
    assert asked == [["a dog", "a cat"]]
    assert detector.ground(IMAGE, []) == []


def test_load_detector__owl_finds_what_transformers_finds(owl: Path) -> None:
    processor, model = parts_of(owl)
    boxes, scores = Owl(processor, model)(IMAGE, ["a dog", "a"])
    inputs = processor(text=[["a dog", "a"]], images=[IMAGE], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, target_sizes=[(48, 64)]
    )
    pixels = boxes * [64, 48, 64, 48]
    # Of each box the likeliest phrase
    assert np.allclose(scores.max(axis=1), theirs["scores"], atol=1e-6)
    likely = scores[range(len(scores)), theirs["labels"]]
    assert np.allclose(likely, theirs["scores"], atol=1e-6)
    # Theirs cuts no box of OWL-ViT, and those of OWLv2 at the square
    inside = (pixels >= 0).all(axis=1) & (pixels <= 48).all(axis=1)
    assert np.allclose(pixels[inside], theirs["boxes"].numpy()[inside], atol=1e-3)

    for found in load_detector(str(owl), "cpu", ALL).ground(IMAGE, ["a dog", "a"]):
        assert found == sorted(found, key=lambda box: -box.score)
        for box in found:
            left, top, right, bottom = box.corners
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def test_load_detector__dino_scores_the_tokens_of_each_phrase(
    dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, model = parts_of(dino)
    boxes, scores = Dino(processor, model)(IMAGE, ["A red dog", "a cat."])
    inputs = processor(images=[IMAGE], text="a red dog. a cat.", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [[2, 7, 8, 9, 5, 7, 10, 5, 3]]
    with torch.inference_mode():
        outputs = model(**inputs)
    tokens = outputs.logits[0].sigmoid().numpy()
    assert np.allclose(scores[:, 0], tokens[:, 1:4].max(axis=1), atol=1e-6)
    assert np.allclose(scores[:, 1], tokens[:, 5:7].max(axis=1), atol=1e-6)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, text_threshold=0.0, target_sizes=[(48, 64)]
    )
    assert np.allclose(boxes * [64, 48, 64, 48], theirs["boxes"], atol=1e-3)

    # What one sentence does not hold is looked for in another
    monkeypatch.setattr("alphaclip.detectors.phrase_detectors.MOST_CHARACTERS", 12)
    boxes, scores = Dino(processor, model)(IMAGE, ["a red dog", "a cat"])
    assert boxes.shape == (24, 4)
    assert (scores[:12, 1] == 0).all() and (scores[12:, 0] == 0).all()
    assert (scores.max(axis=1) > 0).all()
    assert len(load_detector(str(dino), "cpu", ALL).ground(IMAGE, ["a cat"])) == 1


def test_load_detector__no_such_model_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(AlphaClipError, match="cannot be loaded as a zero-shot detector"):
        load_detector(str(tmp_path), "cpu")
