"""Describers that say what they were shown, and note it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language import Answers, Caption, Describer, Question
from alphaclip.language.questions import fill
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import Failure, OnError


class FakeDescriber(Describer):
    """Tells of each region its picture's name or its vector's length, its box, and the prompt.

    The first choice is so much likelier than the second as the region is to the right of 0.5; a
    third is never. It fails at boxes that begin at ``fails_at``.
    """

    def __init__(self, sees: str = "vectors", name: str = "fake", fails_at: float = -1) -> None:
        self.name, self.sees, self._fails_at = name, sees, fails_at  # type: ignore[assignment]
        self.shown: list[tuple[float, str]] = []

    @property
    def fingerprint(self) -> str:
        return f"{self.name:x<32}"

    def describe_many(
        self,
        items: Iterable[Any],
        prompt: str | None = None,
        max_tokens: int = 40,
        on_error: OnError | None = None,
    ) -> Iterator[list[Caption]]:
        for shown in self._look(items, prompt or "", on_error):
            yield [Caption("", np.nan) if one is None else Caption(one[1], -0.5) for one in shown]

    def ask_many(
        self,
        items: Iterable[Any],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        (question,) = questions
        for shown in self._look(items, question.text, on_error):
            logliks = np.full((len(shown), len(question.choices)), -9, np.float32)
            for row, one in zip(logliks, shown, strict=True):
                row[:2] = np.nan if one is None else (20 * (one[0] - 0.5), 0)
            yield [Answers(question.choices, logliks, np.zeros_like(logliks))]

    def _look(
        self, items: Iterable[Any], text: str, on_error: OnError | None
    ) -> Iterator[list[tuple[float, str] | None]]:
        for number, (picture, regions, attributes) in enumerate(items):
            assert isinstance(picture, np.ndarray) == (self.sees == "vectors")
            rows = zip(regions, attributes, strict=True)
            yield [
                self._tell(picture, number, k, *row, text, on_error) for k, row in enumerate(rows)
            ]

    def _tell(
        self,
        picture: Any,
        number: int,
        k: int,
        region: Region,
        attributes: Mapping[str, Any],
        text: str,
        on_error: OnError | None,
    ) -> tuple[float, str] | None:
        left = region.bounds[0] if region.box is None else region.box[0]
        what = f"{picture[k] @ picture[k]:.1f}" if self.sees == "vectors" else Path(picture).stem
        try:
            if left == self._fails_at:
                raise AlphaClipError("its numbers are not finite")
            said = f"{what} at {left:.3f} {fill(text, attributes)}".strip()
        except AlphaClipError as error:
            assert on_error is not None
            on_error(Failure(number, k, error))
            return None
        self.shown.append((left, said))
        return left, said
