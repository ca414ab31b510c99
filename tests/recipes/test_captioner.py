"""The captioner's recipe on drawings that are discs: regions, lessons, training, figures."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import alphaclip
from alphaclip import Region, language
from alphaclip.encoder.encoder import Encoder
from alphaclip.language.captioner_network import END, PAD
from recipes.captioner import regions as drawing
from recipes.captioner.card import CARD, make_captioner
from recipes.captioner.lessons import LessonPlan, Lessons
from recipes.captioner.regions import SceneRegions, draw_regions, encode_scenes
from recipes.captioner.texts import COLORS, HARD, Facts, ask, caption, references, wrong_name
from recipes.captioner.training import CaptionerRecipe, Course, learnt_words, near_names, train
from recipes.nano import phase
from recipes.nano.captions import color_word
from recipes.nano.drawings import concepts
from recipes.nano.recipe import Phase
from recipes.nano.scenes import SpriteBook, compose, training_sets

FACTS = Facts.of(0, "orange", [0.7, 0.1, 0.2, 0.2], 3)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return alphaclip.load("alphaclip-nano", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def near(encoder: Encoder) -> np.ndarray:
    return near_names(encoder)


@pytest.fixture(scope="module")
def small() -> Iterator[CaptionerRecipe]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "PART", 3)
        patch.setattr(phase, "CHECKPOINT_EVERY", 10)
        plan = LessonPlan(captions=3, questions=5)
        course = Course(Phase(steps=15, rate=1e-3), plan)
        yield CaptionerRecipe(2, describing=course, checking=course, width=24, layers=1)


@pytest.fixture(scope="module")
def book(disc_drawings: Path) -> SpriteBook:
    return SpriteBook(disc_drawings, training_sets())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("regions")


@pytest.fixture(scope="module")
def regions(
    small: CaptionerRecipe, encoder: Encoder, book: SpriteBook, drawn: Path
) -> SceneRegions:
    return draw_regions(encoder, book, drawn, range(2), small.scenes, small.seed)


def test_texts__say_what_is_true(near: np.ndarray) -> None:
    name = concepts()[0].name
    assert caption(FACTS) == f"a small orange {name} at the top on the right"
    assert [FACTS.answer(kind) for kind in ("kind", "color", "count")] == [name, "orange", "three"]
    assert len(set(references(FACTS))) == 3
    rng = np.random.default_rng(0)
    asked = {ask(FACTS, near, rng) for _ in range(1000)}
    assert {answer for question, answer in asked if question.startswith("is it a ")} >= {
        "yes",
        "no",
    }
    yes = {question for question, answer in asked if answer == "yes" and name in question}
    assert {f"is it a {name}?", f"is it an orange {name}?"} <= yes
    denied = {question for question, answer in asked if answer == "no" and f" {name}?" in question}
    assert denied
    assert all(question.split()[-2] in {*COLORS} - {"orange"} for question in denied)


def test_wrong_names__share_a_word_with_what_it_is_or_looks_like(near: np.ndarray) -> None:
    names = [concept.name for concept in concepts()]
    rng = np.random.default_rng(0)
    for name, color, confused in (("dog", "brown", "hot dog"), ("monkey", "red", "red apple")):
        facts = Facts.of(names.index(name), color, [0.4, 0.4, 0.2, 0.2], 1)
        asked = [ask(facts, near, rng, {"is": 1.0}, 1.0) for _ in range(1500)]
        answers = [answer for question, answer in asked if f" {confused}?" in question]
        assert len(answers) > 5
        assert set(answers) == {"no"}


def test_wrong_names__are_hard_or_any_other(near: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    assert near.shape == (len(concepts()), HARD)
    hard = {wrong_name(5, near, rng, 1.0) for _ in range(100)}
    assert hard == {concepts()[number].name for number in near[5]}
    assert concepts()[5].name not in hard | {wrong_name(5, near, rng, 0.0) for _ in range(2000)}


def test_every_color__is_learnt() -> None:
    rng = np.random.default_rng(0)
    assert {color_word(tuple(rng.uniform(0, 255, 3))) for _ in range(5000)} <= {*COLORS}
    words = learnt_words()
    for facts in (FACTS, replace(FACTS, concept=200, color="white", count=8)):
        for text in (*references(facts), caption(facts), facts.answer("count")):
            assert words.text(words.of(text)) == text.lower()


def test_regions__are_drawn_once(
    regions: SceneRegions,
    small: CaptionerRecipe,
    encoder: Encoder,
    book: SpriteBook,
    drawn: Path,
) -> None:
    files = sorted(drawn.iterdir())
    assert [file.name for file in files] == ["part-00000.npz", "part-00001.npz"]
    kept = files[0].stat().st_mtime_ns
    files[1].unlink()
    again = draw_regions(encoder, book, drawn, range(2), small.scenes, small.seed)
    assert files[0].stat().st_mtime_ns == kept
    for name, column in vars(regions).items():
        assert np.array_equal(getattr(again, name), column)
    assert np.allclose(np.linalg.norm(regions.vectors.astype(float), axis=1), 1, atol=1e-2)
    assert regions.counts.sum() == sum(count**2 for count in np.bincount(_scenes(regions.counts)))


def test_crops__are_pictures_of_their_own(encoder: Encoder, book: SpriteBook) -> None:
    scene = compose(book, np.random.default_rng(1))
    height, width = scene.image.shape[:2]
    pixels = np.multiply(scene.objects[-1].box, (width, height, width, height))
    x, y, w, h = pixels.round().astype(int)
    crop = np.ascontiguousarray(scene.image[y : y + h, x : x + w])
    expected = encoder.encode_regions(crop, [Region.whole_image()])
    crops, regions = (encode_scenes(encoder, [scene], crops=crops) for crops in (True, False))
    assert np.allclose(crops.vectors[-1], expected[0], atol=1e-3)
    assert not np.allclose(regions.vectors[-1], expected[0], atol=1e-2)
    assert np.array_equal(crops.boxes, regions.boxes)


def _scenes(counts: np.ndarray) -> np.ndarray:
    """The number of each region's scene, from how many regions the scenes have."""
    numbers, first = np.zeros(len(counts), int), 0
    while first < len(counts):
        numbers[first : first + counts[first]] = numbers.max() + 1
        first += counts[first]
    return numbers


def test_lessons__hide_some_regions_and_depend_on_the_step_alone(
    regions: SceneRegions, near: np.ndarray
) -> None:
    plan = LessonPlan(captions=20, questions=30, unseen=0.5)
    lessons = Lessons(regions, learnt_words(), near, plan, 1, 0, 3)
    captions, answers = lessons[2]
    later = Lessons(regions, learnt_words(), near, plan, 1, 2, 3)[0]
    for ours, theirs in zip((*captions, *answers), (*later[0], *later[1]), strict=True):
        assert torch.equal(ours, theirs)
    assert captions.prompts.shape == (20, 0)
    assert ((answers.texts == END).sum(dim=1) == 1).all()
    assert (answers.prompts[:, -1] != PAD).all()
    lengths = answers.vectors.norm(dim=1)
    is_hidden = lengths == 0
    assert 0 < is_hidden.sum() < 30
    assert torch.allclose(lengths[~is_hidden], torch.ones(()))
    assert torch.equal(is_hidden, (answers.boxes == 0).all(dim=1))


def test_training__goes_on_where_it_was_killed_bit_by_bit(
    small: CaptionerRecipe,
    regions: SceneRegions,
    near: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = learnt_words()
    whole = train(small, regions, words, near, tmp_path / "whole").state_dict()
    make = Lessons.__getitem__

    def killed(lessons: Lessons, index: int) -> object:
        if (lessons._seed, lessons._start + index) == (small.seed + 1, 12):
            raise KeyboardInterrupt
        return make(lessons, index)

    with monkeypatch.context() as patch:
        patch.setattr(Lessons, "__getitem__", killed)
        with pytest.raises(KeyboardInterrupt):
            train(small, regions, words, near, tmp_path / "killed")
    resumed = train(small, regions, words, near, tmp_path / "killed").state_dict()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    for course in small.courses():
        logs = [tmp_path / run / f"{course}.jsonl" for run in ("whole", "killed")]
        assert [log.read_text("utf-8").count("\n") for log in logs] == [2, 2]


def test_make_captioner__writes_what_ships(
    small: CaptionerRecipe, disc_drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.captioner.card.SETS", {"boxes": (training_sets, 1.0)})
    monkeypatch.setattr("recipes.captioner.figures.REVIEWS", 10)
    monkeypatch.setattr("recipes.captioner.figures._caption_scores", lambda *_: {})  # Java is slow
    path = make_captioner(small.shortened(1, 1), disc_drawings, tmp_path, scenes=5)
    model = language.load(path, device="cpu")
    assert model.describe(np.eye(1, 192, dtype=np.float32), [Region.whole_image()])
    card = json.loads((tmp_path / CARD).read_text("utf-8"))
    assert card["parameters"] < 100_000
    figures = card["figures"]["boxes"]
    assert figures["regions"] > 10
    for kind in ("kind", "color", "place", "size", "count"):
        assert 0 <= figures[kind]["right"] <= 1
        assert 0 < figures[kind]["majority"] < 1
    for title in ("hard wrong names", "random wrong names"):
        assert 0 <= figures[title]["cosine"]["AUC"] <= 1
