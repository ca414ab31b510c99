"""What every language model on regions offers, whatever it sees of them."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from alphaclip.language.questions import Question
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import OnError, Picture

Sees = Literal["vectors", "alpha", "painted"]
"""``vectors``, a region's vector and box, so that no picture is opened; ``alpha``, the picture and
the alpha map; ``painted``, pictures alone, in which the region is marked or cut out."""

Item = tuple[Picture, Sequence[Region]] | tuple[Picture, Sequence[Region], Sequence[Any]]
"""A picture, its regions, and where prompts have placeholders, the attributes of each region's
label as a mapping. What sees ``vectors`` takes theirs, float32 (n, dim), for the picture."""

MOST_CHARACTERS = 500
"""Of a text that a model writes."""

_JOINERS = "\u200c\u200d"
"""Characters without a shape that words and emoji are spelt with."""


class Caption(NamedTuple):
    """What a model wrote, and the mean log-likelihood of a token of it; an empty text and NaN where
    it failed."""

    text: str
    loglik: float


@dataclass(frozen=True)
class Answers:
    """How likely each choice is to be the answer, for some regions.

    Attributes:
        choices: what may be answered
        logliks: float32 (n, c), the log-likelihood of each choice: the sum over its tokens; rows of
            NaN where the model failed
        priors: float32 (n, c), the same for a picture with nothing in it, so that what a model
            always likes to say does not count for a region
    """

    choices: tuple[str, ...]
    logliks: np.ndarray
    priors: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """float32 (n, c) with a sum of 1 in each row. They rank; they are no probabilities before
        they are calibrated on reviews."""
        gains = (self.logliks - self.priors).astype(np.float64)
        odds = np.exp(gains - gains.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)

    @property
    def best(self) -> list[str | None]:
        """The choice of the highest score of each region; None where the model failed."""
        failed = np.isnan(self.scores).any(axis=1)
        numbers = np.nan_to_num(self.scores).argmax(axis=1)
        return [
            None if bad else self.choices[number]
            for bad, number in zip(failed, numbers.tolist(), strict=True)
        ]


class Describer(ABC):
    """Describes regions and answers questions about them.

    Attributes:
        name: loads the same model again
        sees: what it is shown of a region
    """

    name: str
    sees: Sees

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Equal for models that say the same of the same region; 32 hex digits."""

    @abstractmethod
    def describe_many(
        self,
        items: Iterable[Item],
        prompt: str | None = None,
        max_tokens: int = 40,
        on_error: OnError | None = None,
    ) -> Iterator[list[Caption]]:
        """Describes the regions of a stream of pictures; those of several share batches.

        Args:
            items: see :data:`Item`
            prompt (None): what to say of a region; None asks for a short sentence. May have
                placeholders, see `Question`
            max_tokens: of a description
            on_error (None): called with each :class:`Failure`. Without it the first picture or
                region that cannot be used is raised, and what the model fails at is logged.

        Yields:
            for each item, in order, what was written of each region, cleaned; see `Caption`
        """

    @abstractmethod
    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        """Asks several questions about each region of a stream of pictures.

        A decoder reads a region once, whatever number of questions and choices there are; where an
        encoder reads the prompt, as Florence-2's, once for each question.

        Args:
            items: see :data:`Item`
            questions: asked of each region
            on_error (None): see `describe_many`

        Yields:
            for each item, in order, the answers to each question
        """

    def describe(
        self,
        image: Picture,
        regions: Sequence[Region],
        prompt: str | None = None,
        max_tokens: int = 40,
        attributes: Sequence[Mapping[str, Any]] = (),
    ) -> list[str]:
        """Describes regions of one picture.

        Args:
            image: a path, a PIL image, or uint8 (H, W, 3)
            regions: of this picture
            prompt, max_tokens: see `describe_many`
            attributes (()): of each region's label, for the placeholders of a prompt

        Returns:
            a text of each region, at most 500 characters of one line; empty where the model failed

        Raises:
            ImageError: if the picture cannot be opened
            RegionError: if a region does not fit it; names the region's number
            AlphaClipError: if the prompt is not for this model; says why
        """
        item = (image, regions, attributes)
        (captions,) = self.describe_many([item], prompt, max_tokens)
        return [caption.text for caption in captions]

    def ask(
        self,
        image: Picture,
        regions: Sequence[Region],
        question: str,
        choices: Sequence[str] = ("yes", "no"),
        attributes: Sequence[Mapping[str, Any]] = (),
    ) -> Answers:
        """Asks one question about regions of one picture; see `ask_many` for several.

        Args:
            image: a path, a PIL image, or uint8 (H, W, 3)
            regions: of this picture
            question: may have placeholders, ``is this a {label}?``
            choices: what may be answered; scored by likelihood, nothing is parsed
            attributes (()): of each region's label, for the placeholders of the question

        Raises:
            ImageError: if the picture cannot be opened
            RegionError: if a region does not fit it; names the region's number
            AlphaClipError: if the question or the choices are not for this model; says why
        """
        asked = Question(question, choices)  # type: ignore[arg-type]
        item = (image, regions, attributes)
        ((answers,),) = self.ask_many([item], [asked])
        return answers


def clean(text: str) -> str:
    """A model's text as it is kept: on one line, without what cannot be seen, and not too long.

    What a picture makes a model say is data from elsewhere; marks that turn the direction of
    writing would let it pass for something else.
    """
    shown = "".join(
        char if char in _JOINERS or unicodedata.category(char) not in ("Cf", "Cs", "Co") else ""
        for char in text
    )
    lines = "".join(" " if unicodedata.category(char) == "Cc" else char for char in shown)
    return " ".join(lines.split())[:MOST_CHARACTERS].rstrip()
