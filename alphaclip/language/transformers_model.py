"""A model of transformers that takes pictures and text, as a describer of regions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.language.alpha_tower import ALPHA_KEY, save_model
from alphaclip.language.batches import NO_CAPTION, run_batches, run_questions
from alphaclip.language.describer import Answers, Caption, Describer, Item
from alphaclip.language.dialects import Dialect, picture_size
from alphaclip.language.engine import Engine, Scored
from alphaclip.language.inputs import Prompt
from alphaclip.language.questions import Question, fill, listed_questions
from alphaclip.language.shown import Showing, Shown, show_nothing
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import OnError

TaskT = TypeVar("TaskT")
Asked = tuple[Shown, tuple[Question, ...]]
"""What is shown of a region, and what is asked of it, with nothing left to fill in."""

_PASSING = ("_name_or_path", "dtype", "transformers_version")
"""In configurations, and in those that are parts of them: what says nothing of the model."""

_SAMPLED = 64
"""Numbers of each tensor that the fingerprint looks at: training changes all of them."""


class TransformersModel(Describer):
    """Describes regions by a model of transformers; made by :func:`alphaclip.language.load`.

    Args:
        processor: of transformers
        model: of transformers, on its device
        name: loads the same again
        dialect: how it is spoken to
        batch_size: regions at a time

    Attributes:
        processor: the same, as is
        model: to be trained
    """

    def __init__(
        self, processor: Any, model: Any, name: str, dialect: Dialect, batch_size: int
    ) -> None:
        has_alpha = hasattr(model.config, ALPHA_KEY)
        self.name = name
        self.sees = "alpha" if has_alpha else "painted"
        self._batch_size = batch_size
        self.processor = processor
        self.model = model
        self._dialect = dialect
        self._size = picture_size(processor)
        self._engine = Engine(processor, model, dialect, has_alpha)
        self._priors = lru_cache(maxsize=1024)(self._compute_priors)

    @cached_property
    def fingerprint(self) -> str:
        """Of configuration, weights, prompts and views. The device does not count, nor does the
        precision, as weights are looked at as bfloat16."""
        stated = {
            "config": _without(self.model.config.to_dict(), _PASSING),
            "views": [view.to_dict() for view in self._dialect.views],
            "says": self._dialect.says,
            "size": self._size,
        }
        content = hashlib.sha256(json.dumps(stated, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // _SAMPLED)].bfloat16().float().cpu().numpy()
            content.update(f"{name} {tuple(tensor.shape)}".encode())
            content.update(some.tobytes())
        return content.hexdigest()[:32]

    def save(self, folder: str | Path) -> None:
        """Saves the model for :func:`alphaclip.language.load`; with its alpha channel, which
        transformers by itself would lose."""
        save_model(self.model, Path(folder))
        self.processor.save_pretrained(folder)

    @checked(max_tokens=(1, 1000))
    def describe_many(
        self,
        items: Iterable[Item],
        prompt: str | None = None,
        max_tokens: int = 40,
        on_error: OnError | None = None,
    ) -> Iterator[list[Caption]]:
        """See :meth:`Describer.describe_many`."""

        def prompted(shown: Shown, attributes: Mapping[str, Any]) -> Prompt:
            text = self._filled(prompt or "", attributes)
            return shown, self._dialect.describing(text, shown.box)

        def write(prompts: Sequence[Prompt]) -> list[Caption | AlphaClipError]:
            return self._engine.write(prompts, max_tokens)

        prepare = self._showing(prompted)
        return run_batches(items, prepare, write, self._batch_size, NO_CAPTION, on_error)

    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        """See :meth:`Describer.ask_many`."""
        several = listed_questions(questions)
        for choice in (choice for question in several for choice in question.choices):
            self._engine.tokens.check_text(choice)

        def asked(shown: Shown, attributes: Mapping[str, Any]) -> Asked:
            filled = (self._filled(question.text, attributes) for question in several)
            return shown, tuple(map(Question, filled, (q.choices for q in several)))

        def priors(task: Asked) -> list[np.ndarray]:
            return self._priors(task[1])

        prepare = self._showing(asked)
        yield from run_questions(
            items, several, prepare, self._score, priors, self._batch_size, on_error
        )

    def _filled(self, text: str, attributes: Mapping[str, Any]) -> str:
        filled = fill(text, attributes)
        # Florence-2's tasks are marks
        return filled if self._dialect.takes_marks else self._engine.tokens.check_text(filled)

    def _showing(
        self, make: Callable[[Shown, Mapping[str, Any]], TaskT]
    ) -> Callable[[np.ndarray], Callable[[Region, Mapping[str, Any]], TaskT]]:
        def prepare(image: np.ndarray) -> Callable[[Region, Mapping[str, Any]], TaskT]:
            showing = Showing(image, self._dialect.views, self._size)
            return lambda region, attributes: make(showing.show(region), attributes)

        return prepare

    def _compute_priors(self, questions: tuple[Question, ...]) -> list[np.ndarray]:
        (scores,) = self._score([(show_nothing(self._dialect.views, self._size), questions)])
        return scores

    def _score(self, tasks: Sequence[Asked]) -> list[list[np.ndarray]]:
        rows = [
            Scored(
                shown,
                tuple(self._dialect.asking(question.text, shown.box) for question in questions),
                tuple(question.choices for question in questions),
            )
            for shown, questions in tasks
        ]
        return self._engine.score(rows, self._batch_size)


def _without(config: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {
        name: _without(value, names) if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in names
    }
