"""Asks a language model about regions: how likely each choice is to be the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.hit_listing import ListedHit, list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.region_answers import RegionAnswers, missing
from alphaclip.indexing.retrieval.region_items import RegionItem, said_of
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.views.prefetch import OnError

_TOGETHER = 2048
"""Hits whose labels are read at once."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a language model answered.

    Attributes:
        evidence: float32 (n, c), for each choice: its log-likelihood of the region, less that where
            there is nothing to see; NaN where it was not asked, or failed
        skipped: regions that could not be asked about, and why
    """

    evidence: np.ndarray
    skipped: list[Skipped]


@dataclass(frozen=True)
class QuestionTask:
    """A question about each region.

    Attributes:
        question: the :class:`alphaclip.language.questions.Question`
        done: what is done to a region, in a word
    """

    question: Any
    done = "asked about"

    @property
    def text(self) -> str:
        """What the model is given, with placeholders."""
        return self.question.text

    @property
    def about(self) -> list[Any]:
        """What tells the task from others, JSON."""
        return ["ask", self.text, list(self.question.choices)]

    def ask(self, model: Any, items: Iterable[Any], on_error: OnError) -> Iterator[list[Any]]:
        """What the model says of the regions of each item, JSON: the evidence for each choice; None
        where it failed."""
        for (answers,) in model.ask_many(items, [self.question], on_error):
            gains = np.asarray(answers.logliks - answers.priors, np.float64).round(4)
            yield [row.tolist() if np.isfinite(row).all() else None for row in gains]

    def is_said(self, said: Any) -> bool:
        """Whether something that was read from a file can be what :meth:`ask` gave."""
        is_row = isinstance(said, list) and len(said) == len(self.question.choices)
        return is_row and all(isinstance(one, float) and math.isfinite(one) for one in said)


def ask_rows(
    index: Any, now: Snapshot, rows: np.ndarray, describer: Any, question: Any, show: Progress
) -> np.ndarray:
    """Asks about rows of an index, int64 (n,): the evidence, float32 (n, c); NaN where the model
    failed. What it says is kept, see :class:`RegionAnswers`.

    Args:
        index: a :class:`alphaclip.indexing.retrieval.index.SearchIndex`, which stands above
        now: its snapshot
        rows: of that, ascending
        describer, show: see :func:`ask_hits`
        question: the :class:`alphaclip.language.questions.Question`, without attributes

    Raises:
        AlphaClipError: see :func:`ask_hits`; or if the model sees vectors of another encoder
        StoreBusyError: if another process asks the same
    """
    skipped: list[Skipped] = []
    answers = RegionAnswers(index, now, rows, describer, QuestionTask(question))
    with answers.stored.writing():
        said = answers.read()
        answers.ask(missing(said), said, show, skipped.append)
    return _evidence(said, question, skipped)


def ask_hits(hits: Hits, describer: Any, question: Any, show: Progress) -> Asked:
    """Asks about each of some hits, by its picture: hits may be of several indexes.

    Args:
        hits: to ask about; a deleted one is left out
        describer: an :class:`alphaclip.language.describer.Describer`, which stands above
        question: the :class:`alphaclip.language.questions.Question`; may have attributes of the
            labels in braces
        show: told how far it is

    Raises:
        AlphaClipError: if there is no answer at all, as where an attribute is misspelt
    """
    said, skipped, done = list[Any]([None]) * len(hits), list[Skipped](), 0
    ask = partial(QuestionTask(question).ask, describer)
    for item, some in said_of(_hit_items(hits, skipped.append), ask, skipped.append):
        for number, one in zip(item.rows.tolist(), some, strict=True):
            said[number] = one
        done += len(item.rows)
        show("regions asked about", done, len(hits))
    return Asked(_evidence(said, question, skipped), skipped)


def _evidence(said: Sequence[Any], question: Any, skipped: Sequence[Skipped]) -> np.ndarray:
    if skipped and not any(said):
        first = skipped[0]
        raise AlphaClipError(
            f"the model answered of none of {len(said)} regions; the first, {first.label_id} of "
            f"{first.filepath}: {first.reason}"
        )
    nothing = [math.nan] * len(question.choices)
    rows = [one or nothing for one in said]
    return np.array(rows, np.float32).reshape(len(said), len(nothing))


def _hit_items(hits: Hits, skip: Callable[[Skipped], None]) -> Iterator[RegionItem]:
    """Hits by picture; those of each are at these positions."""
    for start in range(0, len(hits), _TOGETHER):
        by_picture: dict[str, list[ListedHit]] = {}
        for hit in list_hits(hits.take(slice(start, start + _TOGETHER))):
            if hit.region is None:
                skip(Skipped(hit.image, hit.label_id, "it has no area any more"))
            else:
                by_picture.setdefault(hit.image, []).append(hit)
        for path, several in by_picture.items():
            yield RegionItem(
                path,
                [hit.region for hit in several if hit.region is not None],
                np.array([start + hit.rank - 1 for hit in several]),
                [(path, hit.label_id) for hit in several],
                [hit.attributes for hit in several],
            )
