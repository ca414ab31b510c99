"""Batches of captions, questions and answers, each made from its own seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from alphaclip.language.captioner_network import END, PAD, pad_in_front
from alphaclip.language.captioner_words import Words
from recipes.captioner.regions import SceneRegions
from recipes.captioner.texts import SHARES, ask, caption


@dataclass(frozen=True)
class LessonPlan:
    """What a batch holds.

    Attributes:
        captions: regions that are described
        questions: regions that something is asked of
        unseen: share of regions of which vector and box are hidden, so that what is likely to be
            said of any region is learnt too
        noise: largest length of what is added to a vector, so that none is learnt by heart
        shares: how often each kind of question is asked
        hard: how often a wrong name is one of those nearest to the true one
    """

    captions: int = 32
    questions: int = 96
    unseen: float = 0.06
    noise: float = 0.3
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    hard: float = 0.6


class Lesson(NamedTuple):
    """What a network is to write: see `CaptionerNetwork.forward`; texts are padded behind."""

    vectors: Tensor
    boxes: Tensor
    prompts: Tensor
    texts: Tensor


class Lessons(Dataset[tuple[Lesson, Lesson]]):
    """Item ``i`` has the captions and the questions of step ``start + i``.

    Args:
        regions: to speak of
        words: of the captioner
        near: the nearest names of each concept
        plan: what a batch holds
        seed: with the step, the seed of everything in a batch
        start: first step
        stop: step after the last
    """

    def __init__(
        self, regions: SceneRegions, words: Words, near: np.ndarray, plan: LessonPlan, seed: int,
        start: int, stop: int,
    ) -> None:  # fmt: skip
        self._regions, self._words, self._near, self._plan = regions, words, near, plan
        self._seed, self._start, self._stop = seed, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> tuple[Lesson, Lesson]:
        rng = np.random.default_rng([self._seed, self._start + index])
        plan = self._plan
        described, asked = np.split(
            rng.integers(len(self._regions), size=plan.captions + plan.questions), [plan.captions]
        )
        captions = [("", caption(self._regions.facts(one))) for one in described]
        answers = [
            ask(self._regions.facts(one), self._near, rng, plan.shares, plan.hard) for one in asked
        ]
        return self._lesson(described, captions, rng), self._lesson(asked, answers, rng)

    def _lesson(
        self, chosen: np.ndarray, said: Sequence[tuple[str, str]], rng: np.random.Generator
    ) -> Lesson:
        vectors = self._regions.vectors[chosen].astype(np.float32)
        noise = rng.normal(size=vectors.shape) / np.sqrt(vectors.shape[1])
        vectors += noise * rng.uniform(0, self._plan.noise, (len(vectors), 1))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        is_seen = rng.random((len(vectors), 1)) >= self._plan.unseen
        cut = self._words.of
        return Lesson(
            torch.from_numpy((vectors * is_seen).astype(np.float32)),
            torch.from_numpy((self._regions.boxes[chosen] * is_seen).astype(np.float32)),
            pad_in_front([cut(prompt) for prompt, _ in said]),
            pad_sequence([torch.tensor([*cut(text), END]) for _, text in said], True, PAD),
        )
