"""What is said and asked of a region of a scene, phrased in several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from alphaclip.training.datasets.words import (
    COLORS,
    NUMBERS,
    PLACES,
    SIZES,
    article,
    position_words,
    size_word,
)
from recipes.nano.drawings import concepts

OptionT = TypeVar("OptionT")

QUESTIONS = {
    "kind": ("what is it?", "what is this?", "what is that?", "what is in the picture?"),
    "color": ("what color is it?", "what colour is it?", "which color is it?"),
    "place": ("where is it?", "where is this?", "where is it in the picture?"),
    "size": ("how large is it?", "how big is it?", "what size is it?"),
    "count": ("how many objects are there?", "how many things are in the picture?"),
    "is": ("is it {}?", "is this {}?", "is that {}?"),
}
"""By kind; figures are measured with the first of each."""

SHARES = {"kind": 0.2, "color": 0.2, "place": 0.07, "size": 0.07, "count": 0.04, "is": 0.42}
"""How often each is asked at first."""

HARD = 10
"""Nearest other names, of which most wrong ones are taken."""


@dataclass(frozen=True)
class Facts:
    """What is true of a region.

    Attributes:
        concept: see :func:`~recipes.nano.drawings.concepts`
        color: one of ``COLORS``
        size: one of ``SIZES``
        place: one of ``PLACES``
        count: drawings in the scene
    """

    concept: int
    color: str
    size: str
    place: str
    count: int

    @classmethod
    def of(cls, concept: int, color: str, box: Sequence[float], count: int) -> Facts:
        """Of a region of this box, relative ``[x, y, w, h]``."""
        return cls(concept, color, size_word(box), position_words(box), count)

    @property
    def kind(self) -> str:
        """The concept's name."""
        return concepts()[self.concept].name

    def answer(self, kind: str) -> str:
        """What is answered to a kind of question."""
        return NUMBERS[self.count - 1] if kind == "count" else str(getattr(self, kind))


def caption(facts: Facts) -> str:
    """All of it, in the one way that is learnt."""
    return f"{article(f'{facts.size} {facts.color} {facts.kind}')} {facts.place}"


def references(facts: Facts) -> list[str]:
    """Three captions that say what is true, in different words."""
    noun = f"{facts.color} {facts.kind}"
    return [
        caption(facts),
        f"{article(noun)} {facts.place}",
        f"there is {article(f'{facts.size} {noun}')} {facts.place} of the picture",
    ]


def ask(
    facts: Facts,
    near: np.ndarray,
    rng: np.random.Generator,
    shares: Mapping[str, float] = SHARES,
    hard: float = 0.6,
) -> tuple[str, str]:
    """A question about a region, and the answer.

    Args:
        facts: of the region
        near, rng, hard: see :func:`wrong_name`
        shares: how often each kind is asked
    """
    kinds = list(shares)
    kind = kinds[rng.choice(len(kinds), p=list(shares.values()))]
    question = _one(QUESTIONS[kind], rng)
    if kind != "is":
        return question, facts.answer(kind)
    is_so = bool(rng.random() < 0.5)
    return question.format(_claim(facts, is_so, near, rng, hard)), "yes" if is_so else "no"


def wrong_name(concept: int, near: np.ndarray, rng: np.random.Generator, hard: float = 0.6) -> str:
    """The name of another concept.

    Args:
        concept: that it is not
        near: (concepts, HARD), the other concepts whose names are nearest
        rng: the source of chance
        hard: how often it is one of the nearest
    """
    if rng.random() < hard:
        return concepts()[_one(near[concept].tolist(), rng)].name
    return concepts()[(concept + rng.integers(1, len(concepts()))) % len(concepts())].name


def _claim(
    facts: Facts, is_so: bool, near: np.ndarray, rng: np.random.Generator, hard: float
) -> str:
    chance = rng.random()
    if chance < 0.12:
        return _colored_claim(facts, is_so, near, rng, hard)
    if chance < 0.7:
        name = facts.kind if is_so else _wrong_kind(facts, near, rng, hard)
        # A label in a question's braces has the article that stands there
        return article(name) if rng.random() < 0.7 else f"a {name}"
    said, all_ = (
        (facts.color, COLORS) if chance < 0.86 else
        (facts.size, SIZES) if chance < 0.93 else (facts.place, PLACES)
    )  # fmt: skip
    return said if is_so else _one([one for one in all_ if one != said], rng)


def _colored_claim(
    facts: Facts, is_so: bool, near: np.ndarray, rng: np.random.Generator, hard: float
) -> str:
    """A colour and a name, at most one of them wrong: neither is enough alone."""
    color, name = facts.color, facts.kind
    if not is_so and rng.random() < 0.5:
        color = _one([one for one in COLORS if one != color], rng)
    elif not is_so:
        name = _wrong_kind(facts, near, rng, hard)
    return article(f"{color} {name}")


def _wrong_kind(facts: Facts, near: np.ndarray, rng: np.random.Generator, hard: float) -> str:
    """A wrong name, of which half of the hard ones share a word with the true one, or sometimes
    with the colour: else a hot dog is any dog, and a red apple whatever is red."""
    # Regions of a colour are many, and the few names that have it are not to be always wrong
    alike = _sharing(facts.kind) or (_sharing(facts.color) if rng.random() < 1 / HARD else ())
    if alike and rng.random() < hard / 2:
        return _one(alike, rng)
    return wrong_name(facts.concept, near, rng, hard)


@cache
def _sharing(words: str) -> tuple[str, ...]:
    """The other names that have one of these words."""
    several = set(words.split()) - {"and", "of", "on", "with"}
    names = (concept.name for concept in concepts())
    return tuple(name for name in names if name != words and several & set(name.split()))


def _one(options: Sequence[OptionT], rng: np.random.Generator) -> OptionT:
    return options[int(rng.integers(len(options)))]
