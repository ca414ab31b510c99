"""Trains ``alphaclip-nano-captioner``; stopped at any time, it goes on from the last checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from alphaclip.encoder.encoder import Encoder
from alphaclip.language.captioner_network import PAD, CaptionerConfig, CaptionerNetwork
from alphaclip.language.captioner_words import Words
from alphaclip.training.datasets.words import COLORS, NUMBERS, PLACES, SIZES, article
from alphaclip.training.finetune.loop import Figures
from recipes.captioner.lessons import Lesson, LessonPlan, Lessons
from recipes.captioner.regions import SceneRegions
from recipes.captioner.texts import HARD, QUESTIONS
from recipes.nano.captions import TEMPLATES
from recipes.nano.data import BatchPlan
from recipes.nano.drawings import concepts
from recipes.nano.phase import run_phase
from recipes.nano.recipe import NanoRecipe, Phase
from recipes.nano.training import make_optimizers, mixed_half

NAME = "alphaclip-nano-captioner"


@dataclass(frozen=True)
class Course:
    """Steps and rates, and what the batches hold."""

    phase: Phase
    plan: LessonPlan = field(default_factory=LessonPlan)


def _checking() -> Course:
    """Whether it is a NAME is learnt late: names have to be read first. So it is asked much more,
    and wrong names are easier."""
    shares = {"kind": 0.14, "color": 0.14, "place": 0.04, "size": 0.04, "count": 0.02, "is": 0.62}
    plan = LessonPlan(captions=20, questions=140, shares=shares, hard=0.4)
    return Course(Phase(steps=1500, rate=1.5e-3, warm_up=50, decay=0.8), plan)


@dataclass(frozen=True)
class CaptionerRecipe:
    """Everything that decides the weights, beside nano's.

    Attributes:
        parts: of ``PART`` scenes each, whose regions are spoken of
        scenes: what these are like
        describing, checking: the two courses, in this order
        seed: of regions and of the first course; nano's phases have those before
        width, layers: of the network
        crops: to read vectors of crops without alpha instead, which is what alpha is compared with
    """

    parts: int = 70
    scenes: BatchPlan = field(default_factory=lambda: NanoRecipe().alpha.plan)
    describing: Course = field(
        default_factory=lambda: Course(Phase(steps=2600, rate=2e-3, decay=0.7))
    )
    checking: Course = field(default_factory=_checking)
    seed: int = NanoRecipe().seed + 3
    width: int = 192
    layers: int = 4
    crops: bool = False

    def courses(self) -> dict[str, Course]:
        """By name and in order."""
        return {"describing": self.describing, "checking": self.checking}

    def shortened(self, steps: int | None, parts: int | None) -> CaptionerRecipe:
        """The same with so many steps of each course and parts, where they are stated."""
        describing, checking = (
            replace(course, phase=replace(course.phase, steps=steps or course.phase.steps))
            for course in (self.describing, self.checking)
        )
        return replace(self, parts=parts or self.parts, describing=describing, checking=checking)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON holds it."""
        return asdict(self)


def learnt_words() -> Words:
    """Every word of what is said and asked."""
    said = [*COLORS, *SIZES, *PLACES, *NUMBERS, "yes", "no", "there is of the picture a an"]
    asked = [text.replace("{}", "") for several in QUESTIONS.values() for text in several]
    return Words.in_texts([*said, *asked, *(one.name for one in concepts())], NAME)


def near_names(encoder: Encoder) -> np.ndarray:
    """int64 (concepts, HARD): of each name the nearest others, to nano."""
    prompts = [TEMPLATES[0].format(article(concept.name)) for concept in concepts()]
    vectors = encoder.encode_text(prompts, templates=None)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    return np.argsort(-alike, axis=1, kind="stable")[:, :HARD]


def train(
    recipe: CaptionerRecipe, regions: SceneRegions, words: Words, near: np.ndarray, folder: Path
) -> CaptionerNetwork:
    """Trains a captioner.

    Args:
        recipe: what to do
        regions: to speak of
        words: see :func:`learnt_words`
        near: see :func:`near_names`
        folder: where checkpoints and logs are kept; a run found there is continued
    """
    torch.manual_seed(recipe.seed)
    dim = regions.vectors.shape[1]
    network = CaptionerNetwork(CaptionerConfig(dim, len(words), recipe.width, recipe.layers))

    def loss_of(lesson: Lesson) -> torch.Tensor:
        with mixed_half(lesson.vectors.device):
            expected = network(*lesson).float()
        return cross_entropy(expected.flatten(0, 1), lesson.texts.flatten(), ignore_index=PAD)

    def forward(lessons: tuple[Lesson, Lesson]) -> Figures:
        captions, answers = map(loss_of, lessons)
        return {"loss": captions + answers, "captions": captions, "answers": answers}

    def row(figures: Figures) -> dict[str, float]:
        return {name: figure.item() for name, figure in figures.items()}

    for seed, (name, course) in enumerate(recipe.courses().items(), start=recipe.seed):
        optimizers = make_optimizers(network.named_parameters(), course.phase)
        batches = partial(Lessons, regions, words, near, course.plan, seed)
        run_phase(name, course.phase, network, forward, optimizers, folder, batches, row, workers=0)
    return network.eval()
