"""What a language model says of the regions of an index; what it has said is kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.dataset.locations import own_folder
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.region_items import RegionItem, region_items, said_of
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.retrieval.stored_answers import Said, StoredAnswers
from alphaclip.indexing.store.segments import as_text
from alphaclip.views.prefetch import OnError

PART, PART_SECONDS = 256, 60.0
"""Regions and seconds after which what was said is kept, whichever is sooner."""


class Asks(Protocol):
    """What a model is to say of regions."""

    done: str
    """What is done to a region, in a word."""

    @property
    def about(self) -> list[Any]:
        """What tells the task from others, JSON."""
        ...

    def ask(self, model: Any, items: Iterable[Any], on_error: OnError) -> Iterator[list[Any]]:
        """What the model says of the regions of each item, JSON; None where it failed."""
        ...

    def is_said(self, said: Any) -> bool:
        """Whether something that was read from a file can be what :meth:`ask` gave."""
        ...


class RegionAnswers:
    """A model, and a task about some regions. What it says is kept beside the index, so that who
    was ended at any moment goes on, and later only what is new or edited is asked about.

    A model that sees vectors gets those of the index, and no picture is opened.

    Args:
        index: an :class:`alphaclip.indexing.retrieval.index.SearchIndex`, which stands above
        now: its snapshot
        rows: of that, ascending, int64 (n,)
        model: an :class:`alphaclip.language.describer.Describer`, which stands above
        task: see :class:`Asks`
        attributes (()): of the label of each row, as far as the task names them

    Attributes:
        regions: sample id and label id of each
        stored: what was said; who asks does it inside of its ``writing``

    Raises:
        AlphaClipError: if the model sees vectors of another encoder
    """

    def __init__(
        self,
        index: Any,
        now: Snapshot,
        rows: np.ndarray,
        model: Any,
        task: Asks,
        attributes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        # Of what sees vectors of one encoder only
        check_encoder = getattr(model, "check_encoder", None)
        if check_encoder is not None:
            check_encoder(index.encoder)
        self._dataset, self._now, self._rows = index.dataset, now, rows
        self._model, self._task = model, task
        self._attributes = attributes or [{}] * len(rows)
        ids = now.version.ids_of(rows)
        samples, labels = as_text(ids.sample_ids).tolist(), as_text(ids.label_ids).tolist()
        self.regions: list[tuple[str, str]] = list(zip(samples, labels, strict=True))
        made_of = zip(as_text(ids.fingerprints).tolist(), self._attributes, strict=True)
        self._made_of = [made + _digest(its) for made, its in made_of]
        store = own_folder(index.dataset, index.key)
        self.stored = StoredAnswers(store, [model.fingerprint, *task.about])

    def read(self) -> list[Any]:
        """What was said of each region as it is now; None of those that are to be asked about."""
        stored = self.stored.read()
        answers = (stored.get(region, ("", None)) for region in self.regions)
        return [
            said if made_of == own and self._task.is_said(said) else None
            for own, (made_of, said) in zip(self._made_of, answers, strict=True)
        ]

    def ask(
        self,
        numbers: np.ndarray,
        said: list[Any],
        show: Progress,
        skip: Callable[[Skipped], None],
    ) -> None:
        """Asks about some of the regions, and keeps what is said.

        Args:
            numbers: of them, ascending, see :func:`missing`
            said: what :meth:`read` gave; gets what is said
            show: told how far it is
            skip: told of each region that has no answer
        """
        waiting: list[Said] = []
        since, done = time.monotonic(), 0
        try:
            for number, one in self._answers(numbers, skip):
                done += 1
                said[number] = one
                if one is not None:
                    waiting.append((*self.regions[number], self._made_of[number], one))
                if len(waiting) >= PART or (waiting and time.monotonic() - since > PART_SECONDS):
                    self.stored.add(waiting)
                    waiting, since = [], time.monotonic()
                show(f"regions {self._task.done}", done, len(numbers))
        finally:
            if waiting:
                self.stored.add(waiting)

    def _answers(
        self, numbers: np.ndarray, skip: Callable[[Skipped], None]
    ) -> Iterator[tuple[int, Any]]:
        """The number of each region, and what the model says of it; None where it failed."""
        rows = self._rows[numbers]

        def numbers_of(item: RegionItem) -> list[int]:
            own: list[int] = np.searchsorted(self._rows, item.rows).tolist()
            return own

        items = (
            replace(item, attributes=[self._attributes[number] for number in numbers_of(item)])
            for item in region_items(
                self._dataset, self._now, rows, self._model.sees == "vectors", skip
            )
        )
        for item, said in said_of(items, partial(self._task.ask, self._model), skip):
            yield from zip(numbers_of(item), said, strict=True)


def missing(said: Sequence[Any]) -> np.ndarray:
    """Numbers of the regions that have no answer: int64."""
    return np.array([number for number, one in enumerate(said) if one is None], np.int64)


def _digest(attributes: Mapping[str, Any]) -> str:
    text = json.dumps(attributes, default=str, sort_keys=True)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if attributes else ""
