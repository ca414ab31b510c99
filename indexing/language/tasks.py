"""What a language model is to say of regions, and the attributes that come of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.indexing.language.answer_calibration import AnswerCalibration
from alphaclip.indexing.retrieval.asking import QuestionTask
from alphaclip.language.describer import Answers, Describer, Item, clean
from alphaclip.views.prefetch import OnError

TEXT, NUMBER = "StringField", "FloatField"


@dataclass(frozen=True)
class Describing:
    """A description of each region.

    Attributes:
        into: the attribute that is written
        prompt: what to say; None asks for a short sentence
        done: what is done to a region, in a word
    """

    into: str
    prompt: str | None = None
    done = "described"

    @property
    def text(self) -> str:
        """What the model is given, with placeholders."""
        return self.prompt or ""

    @property
    def about(self) -> list[Any]:
        """What tells the task from others, JSON."""
        return ["describe", self.text]

    @property
    def kinds(self) -> dict[str, str]:
        """The attributes that may come of it, and FiftyOne's class of field of each."""
        return {self.into: TEXT, f"{self.into}_by": TEXT, f"{self.into}_loglik": NUMBER}

    def ask(
        self, model: Describer, items: Iterable[Item], on_error: OnError
    ) -> Iterator[list[Any]]:
        """What the model says of the regions of each item, JSON; None where it failed."""
        for captions in model.describe_many(items, self.prompt, on_error=on_error):
            yield [_described(*caption) for caption in captions]

    def is_said(self, said: Any) -> bool:
        """Whether something that was read from a file can be what :meth:`ask` gave."""
        is_pair = isinstance(said, list) and len(said) == 2
        return is_pair and isinstance(said[0], str) and isinstance(said[1], float | None)

    def attributes(self, said: Sequence[Any]) -> list[dict[str, Any]]:
        """The attributes of some regions."""
        # Of a file that anybody may have written
        return [{self.into: clean(text), f"{self.into}_loglik": loglik} for text, loglik in said]


@dataclass(frozen=True)
class Asking(QuestionTask):
    """An answer to a question about each region; its parts are those of :class:`Describing`.

    Attributes:
        into: the attribute that is written
        calibration: gives probabilities; without it there are scores
    """

    into: str
    calibration: AnswerCalibration | None = None

    @property
    def kinds(self) -> dict[str, str]:
        numbers = {f"{self.into}_score": NUMBER, f"{self.into}_p": NUMBER}
        return {self.into: TEXT, f"{self.into}_by": TEXT, **numbers}

    def attributes(self, said: Sequence[Any]) -> list[dict[str, Any]]:
        choices = self.question.choices
        gains = np.array(said, np.float64).reshape(-1, len(choices))
        if self.calibration is not None:
            chances = self.calibration.probabilities(gains)
        else:
            chances = Answers(choices, gains, np.zeros_like(gains)).scores
        name = f"{self.into}_{'score' if self.calibration is None else 'p'}"
        best = chances.argmax(axis=1)
        surest = np.take_along_axis(chances, best[:, None], axis=1)[:, 0].astype(float).round(6)
        return [
            {self.into: choices[number], name: sure}
            for number, sure in zip(best.tolist(), surest.tolist(), strict=True)
        ]


Task = Describing | Asking


def _described(text: str, loglik: float) -> list[Any] | None:
    line = clean(text)
    return [line, round(float(loglik), 4) if math.isfinite(loglik) else None] if line else None
