"""What a fine-tune gained on held-out pairs: figures before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.report.statistics import compare
from alphaclip.training.evaluation.retrieval.ranking import rank
from alphaclip.training.evaluation.retrieval.retrieval import Direction, retrieve
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors
from alphaclip.training.finetune.config import FinetuneError

if TYPE_CHECKING:
    from alphaclip.encoder.encoder import Encoder
    from alphaclip.training.datasets.examples import RegionSet

FIRST = 10
"""Hits of a class that are looked at."""

MOST_CLASSES = 20
"""Classes that are told of, those with the most regions."""


@dataclass(frozen=True)
class Gain:
    """A figure on held-out pictures, before and after.

    Attributes:
        before: in percent
        after: in percent
        difference: of the two
        low: lower end of the difference's 95 % interval, by a bootstrap over pictures; None where
            there are too few pictures to tell
        high: its upper end, or None
    """

    before: float
    after: float
    difference: float
    low: float | None
    high: float | None

    @property
    def said(self) -> str:
        """The difference with its interval."""
        if self.low is None or self.high is None:
            return f"{self.difference:+.1f} (too few pictures for an interval)"
        return f"{self.difference:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


@dataclass(frozen=True)
class ClassHits:
    """How many of the first hits for a class are right, among the held-out regions.

    Attributes:
        name: of the class
        regions: held-out ones that are of it
        before: right ones among the first :data:`FIRST`, at most ``regions``
        after: the same with the trained encoder
    """

    name: str
    regions: int
    before: int
    after: int

    @property
    def said(self) -> str:
        """The same in words."""
        most = min(FIRST, self.regions)
        return f"{self.name}: {self.before} of {most} right before, {self.after} after"


@dataclass(frozen=True)
class Compared:
    """An encoder before and after training, on a set that it was not trained on.

    Attributes:
        before: as it was
        after: as it is now
        regions: the held-out ones
        cache: folder for their vectors
    """

    before: Encoder
    after: Encoder
    regions: RegionSet
    cache: Path

    def gain(self, direction: Direction) -> Gain:
        """The mean average precision of retrieval.

        Raises:
            FinetuneError: if no region could be measured twice
        """
        means = Means(self.cache)
        outcomes = [
            retrieve(one, self.regions, direction, means=means) for one in (self.before, self.after)
        ]
        first, second = compare(outcomes)
        gained = second.difference
        if gained is None:
            raise FinetuneError(f"{direction}: no held-out region could be measured twice")
        ends = (None if isnan(end) else end for end in (gained.low, gained.high))
        return Gain(first.own.value, second.own.value, gained.value, *ends)

    def class_hits(self) -> tuple[ClassHits, ...]:
        """The first hits for each class, the class with the most regions first.

        The query is the mean of the texts that the class's regions have.

        Returns:
            at most :data:`MOST_CLASSES`; none if there are fewer than two classes
        """
        labels = np.array([region.label for _, region in self.regions.regions])
        names, counts = np.unique(labels[labels != ""], return_counts=True)
        if len(names) < 2:
            return ()
        frequent = [str(name) for name in names[np.argsort(-counts, kind="stable")][:MOST_CLASSES]]
        right = [np.flatnonzero(labels == name) for name in frequent]
        columns = [
            self._first_hits(encoder, frequent, right) for encoder in (self.before, self.after)
        ]
        rows = zip(frequent, map(len, right), *columns, strict=True)
        return tuple(ClassHits(*row) for row in rows)

    def _first_hits(
        self, encoder: Encoder, names: Sequence[str], right: Sequence[np.ndarray]
    ) -> list[int]:
        """How many of the right regions of each class are among the first."""
        vectors = np.nan_to_num(region_vectors(encoder, self.regions, self.cache))
        queries = [self._query(encoder, name) for name in names]
        rankings = rank(np.stack(queries), vectors, right)
        return [int((one.ranks <= FIRST).sum()) for one in rankings]

    def _query(self, encoder: Encoder, name: str) -> np.ndarray:
        texts = dict.fromkeys(
            text for _, one in self.regions.regions if one.label == name for text in one.texts
        )
        mean = text_vectors(encoder, list(texts), cache=self.cache).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)
