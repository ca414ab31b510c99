"""The captioner that reads vectors: a tiny random one, and the one that ships."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import alphaclip
from alphaclip import Region, language
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError, CheckpointError, EmptyRegionError, ImageError
from alphaclip.language import Question
from alphaclip.language.alpha_tower import ALPHA_FILE
from alphaclip.language.captioner_network import (
    END,
    CaptionerConfig,
    CaptionerNetwork,
    pad_in_front,
    write,
)
from alphaclip.language.captioner_words import Words
from alphaclip.language.loading import NANO_CAPTIONER, VARIABLE, find_auto
from alphaclip.language.region_vectors import relative_box
from alphaclip.language.vector_captioner import VectorCaptioner, save_captioner
from alphaclip.regions.rle import decode_rle
from alphaclip.views.prefetch import Failure

SAMPLE = Path(__file__).resolve().parents[3] / "sample"
TEXTS = ["is it a red fox?", "what is it?", "yes", "no", "racing car", "t-shirt"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return alphaclip.load("alphaclip-nano", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def network() -> CaptionerNetwork:
    torch.manual_seed(0)
    words = len(Words.in_texts(TEXTS, "tiny"))
    config = CaptionerConfig(192, words, width=16, layers=2, heads=2, prefix=2, prompt=9, text=6)
    network = CaptionerNetwork(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.fixture(scope="module")
def captioner(
    network: CaptionerNetwork, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> VectorCaptioner:
    path = tmp_path_factory.mktemp("captioner") / "tiny.safetensors"
    save_captioner(network, Words.in_texts(TEXTS, "tiny"), encoder, path, "Apache-2.0")
    loaded = language.load(path, device="cpu")
    assert isinstance(loaded, VectorCaptioner)
    return loaded


@pytest.fixture(scope="module")
def vectors(encoder: Encoder, image: np.ndarray, regions: list[Region]) -> np.ndarray:
    return encoder.encode_regions(image, regions)


def test_what_is_said__is_the_likeliest_token_each_time(network: CaptionerNetwork) -> None:
    vectors, boxes = torch.randn(3, 192), torch.rand(3, 4)
    prompts = pad_in_front([[5, 6], [7], [3, 4, 5, 6, 7]])
    texts, logliks = write(network, vectors, boxes, prompts, 6)
    for row, (text, loglik) in enumerate(zip(texts, logliks, strict=True)):
        alone = [one[row : row + 1] for one in (vectors, boxes)]
        own = prompts[row : row + 1, prompts[row] != 0]
        expected = network(*alone, own, torch.tensor([text]))[0].log_softmax(-1)
        assert expected.argmax(-1).tolist() == text
        assert abs(expected.amax(-1).mean().item() - loglik) < 1e-5
        assert END not in text[:-1]


def test_a_batch__equals_its_regions_one_by_one(
    captioner: VectorCaptioner, vectors: np.ndarray, regions: list[Region]
) -> None:
    labels = [{"label": "fox"}, {"label": "racing car"}, {"label": "red t-shirt"}]
    pairs = [(vectors[n : n + 1], [regions[n]], [labels[n]]) for n in range(3)]
    questions = [
        Question("is it a {label}?", ("yes", "no")),
        Question("what is it?", ("fox", "no")),
    ]
    (together,) = captioner.describe_many([(vectors, regions, labels)], "is it a {label}?")
    alone = [one for (one,) in captioner.describe_many(pairs, "is it a {label}?")]
    assert [one.text for one in together] == [one.text for one in alone]
    assert np.allclose([one.loglik for one in together], [one.loglik for one in alone], atol=1e-5)
    (both,) = captioner.ask_many([(vectors, regions, labels)], questions)
    singles = list(captioner.ask_many(pairs, questions))
    for number, answers in enumerate(both):
        by_one = np.concatenate([single[number].logliks for single in singles])
        assert np.allclose(answers.logliks, by_one, atol=1e-5)
        assert np.ptp(answers.logliks[:, 0]) > 1e-3


def test_choices__have_the_sum_of_their_tokens_and_of_the_end(
    captioner: VectorCaptioner,
    network: CaptionerNetwork,
    vectors: np.ndarray,
    regions: list[Region],
) -> None:
    answers = captioner.ask(vectors, regions, "what is it?", ["racing car", "fox"])
    words = Words.in_texts(TEXTS, "tiny")
    halved = CaptionerNetwork(network.config)
    halved.load_state_dict({name: t.half() for name, t in network.state_dict().items()})
    ids = [*words.of("racing car"), END]
    assert len(ids) > 2
    boxes = torch.tensor([relative_box(one) for one in regions])
    for seen, found in (
        ((torch.from_numpy(vectors), boxes), answers.logliks),
        ((torch.zeros(3, 192), torch.zeros(3, 4)), answers.priors),
    ):
        prompts = pad_in_front([words.of("what is it?")] * 3)
        with torch.inference_mode():
            expected = halved(*seen, prompts, torch.tensor([ids] * 3)).log_softmax(-1)
        sums = sum(expected[:, at, token] for at, token in enumerate(ids))
        assert np.allclose(found[:, 0], sums, atol=1e-4)


def test_stored_vectors__say_what_pictures_say(
    captioner: VectorCaptioner, image: np.ndarray, vectors: np.ndarray, regions: list[Region]
) -> None:
    stored = vectors.astype(np.float16) * 3  # Whatever length a store keeps
    assert captioner.describe(stored, regions) == captioner.describe(image, regions)
    of_picture = captioner.ask(image, regions, "is it red?")
    assert np.allclose(captioner.ask(vectors, regions, "is it red?").logliks, of_picture.logliks)


def test_a_stream__reports_each_failure_once_and_goes_on(
    captioner: VectorCaptioner, image: np.ndarray, vectors: np.ndarray, regions: list[Region]
) -> None:
    broken = vectors.copy()
    broken[0], broken[2, 5] = 0, np.nan
    outside = Region.from_box([2, 2, 1, 1])
    items = [
        (vectors, regions), ("/missing.jpg", regions), (image, [*regions, outside]),
        (broken, [regions[0], outside, regions[2]]), (np.zeros((0, 192), np.float32), []),
        (vectors, regions),
    ]  # fmt: skip
    failures: list[Failure] = []
    captions = list(captioner.describe_many(items, on_error=failures.append))
    assert [len(each) for each in captions] == [3, 3, 4, 3, 0, 3]
    assert captions[0] == captions[5]
    assert [bool(one.text) for one in captions[2]] == [True, True, True, False]
    told = [(one.item, one.region, type(one.error)) for one in failures]
    assert sorted(told, key=str) == [
        (1, None, ImageError), (2, 3, EmptyRegionError), (3, 0, AlphaClipError),
        (3, 1, EmptyRegionError), (3, 2, AlphaClipError),
    ]  # fmt: skip
    assert np.isnan([one.loglik for one in captions[3]]).all()
    with pytest.raises(AlphaClipError, match=r"item 0, regions\[1\]: its vector is not finite"):
        captioner.ask(broken[1:], regions[1:], "is it red?")


@pytest.mark.parametrize("shape", [(3, 512), (2, 192), (3, 0)])
def test_vectors_of_others__are_refused(
    captioner: VectorCaptioner, regions: list[Region], shape: tuple[int, int]
) -> None:
    with pytest.raises(AlphaClipError, match=r"3 regions and vectors of shape .* of 192 numbers"):
        captioner.describe(np.ones(shape, np.float32), regions)


def test_check_encoder__names_whose_vectors_it_reads(
    captioner: VectorCaptioner, encoder: Encoder
) -> None:
    class Other:
        name, text_fingerprint = "another", "0" * 32

    captioner.check_encoder(encoder)
    with pytest.raises(AlphaClipError, match="vectors of alphaclip-nano, and these are of another"):
        captioner.check_encoder(Other())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "choices", "message"),
    [
        ("is it a red fox? " * 3, ["yes", "no"], "tokens, .* takes 9"),
        ("what is it?", ["Racing car", "racing car"], "same tokens"),
        ("what is it?", ["forklift", "cherry picker"], "same tokens|has never"),
        ("what is it?", ["fox", "fox " * 6], "takes 6: choose shorter"),
        ("is it a {label}?", ["yes", "no"], "label"),
    ],
)
def test_questions_that_cannot_be_asked__say_why(
    captioner: VectorCaptioner,
    vectors: np.ndarray,
    regions: list[Region],
    question: str,
    choices: list[str],
    message: str,
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        captioner.ask(vectors, regions, question, choices)


def test_words_that_were_never_read__are_told_once(
    captioner: VectorCaptioner,
    vectors: np.ndarray,
    regions: list[Region],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            captioner.ask(vectors, regions, "is it a zebra?")
    assert [message.count("'zebra'") for message in caplog.messages] == [1]


def test_words__are_written_as_they_were_read() -> None:
    words = Words.in_texts(TEXTS, "tiny")
    assert [words.text(words.of(text)) for text in ("t-shirt", "racing car")] == [
        "t-shirt",
        "racing car",
    ]


@pytest.mark.parametrize(
    ("region", "box"),
    [
        (Region.whole_image(), [0, 0, 1, 1]),
        (Region.from_box([0.5, -0.5, 1, 1]), [0.5, 0, 0.5, 0.5]),
        (Region.from_polygon([[0.1, 0.2], [0.5, 0.2], [0.5, 0.8]]), [0.1, 0.2, 0.4, 0.6]),
        (Region.from_mask(np.eye(4, dtype=bool)[:, :2]), [0, 0, 1, 0.5]),
        (Region.from_mask(np.eye(4)[1:2] > 0, box=[0.2, 0.2, 0.4, 0.4]), [0.3, 0.2, 0.1, 0.4]),
    ],
)
def test_relative_box__needs_no_picture(region: Region, box: list[float]) -> None:
    assert np.allclose(relative_box(region), box)


def test_load__of_what_is_no_captioner(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        language.load(tmp_path / "missing.safetensors")
    nano = Path(alphaclip.nano.__file__).with_name("model.safetensors")
    with pytest.raises(CheckpointError, match="no captioner"):
        language.load(nano)
    with pytest.raises(AlphaClipError, match="leave alpha and shown out"):
        language.load("alphaclip-nano-captioner", shown="crop")


@pytest.mark.parametrize("saved", [False, True])
def test_auto__takes_what_is_here(
    saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    if saved:
        (tmp_path / "llava-alpha").mkdir()
        (tmp_path / "llava-alpha" / ALPHA_FILE).touch()
    assert find_auto() == (str(tmp_path / "llava-alpha") if saved else NANO_CAPTIONER)
    monkeypatch.setenv(VARIABLE, "some/model")
    assert find_auto() == "some/model"


def test_the_captioner_that_ships__knows_the_sample(encoder: Encoder) -> None:
    content = json.loads((SAMPLE / "scenes.json").read_text("utf-8"))
    items, labels = [], []
    for scene in content["scenes"][:60]:
        masked = [one for one in scene["regions"] if "mask" in one]
        regions = [Region.from_mask(decode_rle(one["mask"]), one["box"]) for one in masked]
        items.append((encoder.encode_regions(SAMPLE / scene["image"], regions), regions))
        labels += [one.get("true_label", one["label"]) for one in masked]
    model = language.load("auto", device="cpu")
    assert model.sees == "vectors"
    names = [one.text for some in model.describe_many(items, "what is it?") for one in some]
    captions = [one.text for some in model.describe_many(items) for one in some]
    right = np.array(names) == np.array([label.lower() for label in labels])
    assert len(labels) > 60
    assert right.mean() > 0.8
    assert np.mean([name in text for name, text in zip(names, captions, strict=True)]) > 0.8
    assert all(text.startswith(("a ", "an ")) for text in captions)
