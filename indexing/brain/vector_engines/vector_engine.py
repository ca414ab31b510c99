"""What a copy asks of the engine that holds it, and how any backend of FiftyOne's Brain does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from fiftyone.brain import SimilarityIndex

IDS = 10_000
"""Ids that go into one request."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some vectors, and whose they are.

    Attributes:
        ids: what tells them apart: of the labels, in an index of samples of these
        sample_ids: of each
        vectors: float16 or float32 (n, dim)
    """

    ids: list[str]
    sample_ids: list[str]
    vectors: np.ndarray


class VectorEngine:
    """The vectors of a Brain run in its engine. This one does all by the methods that each backend
    has; those that know a quicker way are its subclasses.

    Attributes:
        run: of the Brain
        title: of the engine, as people call it
        names: the settings of a run that name what its vectors are kept in
        client: the package that the Brain uses, and its versions that it can; None is any
        most: rows that one search may return
        counts: whether it can tell how many vectors it holds at the moment
    """

    title: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()
    client: ClassVar[tuple[str, str] | None] = None
    most: ClassVar[int] = 10_000
    counts: ClassVar[bool] = True

    def __init__(self, run: SimilarityIndex) -> None:
        self.run: Any = run

    def check(self) -> None:
        """Raises what the client raises, where the engine cannot be reached and the Brain did not
        say so."""

    def count(self) -> int | None:
        """How many vectors it holds; None if it cannot tell."""
        return int(self.run.total_index_size) if self.counts else None

    def load(self, first: Batch, others: Iterator[Batch]) -> None:
        """Takes the vectors of an engine that holds none; what speeds up searches is made once, at
        the end."""
        self.add(first)
        for batch in others:
            self.add(batch)

    def add(self, batch: Batch) -> None:
        """Adds vectors whose ids it does not hold."""
        labels = batch.ids if self.is_of_patches else None
        vectors = np.asarray(batch.vectors, np.float32)
        self.run.add_to_index(vectors, batch.sample_ids, labels, reload=False)

    def replace(self, batch: Batch) -> None:
        """Adds vectors, in place of those of these ids."""
        self.delete(batch.ids)
        self.add(batch)

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes vectors; those that are not there are left out."""
        kind = "label_ids" if self.is_of_patches else "sample_ids"
        for start in range(0, len(ids), IDS):
            self.run.remove_from_index(**{kind: list(ids[start : start + IDS])}, reload=False)

    def empty(self) -> None:
        """Deletes all vectors."""
        ids = self.run.label_ids if self.is_of_patches else self.run.sample_ids
        if ids is None:
            self.drop()
        else:
            self.delete([str(one) for one in ids])

    def drop(self) -> None:
        """Deletes all vectors, and what they are kept in."""
        self.run.cleanup()

    def finish(self) -> None:
        """Makes changes last, and the Brain see them."""
        self.run.reload()
        self.run.save()

    def search(self, query: np.ndarray, k: int) -> list[str]:
        """The ids of about the k nearest vectors to a query, float32 (dim,), in any order."""
        samples, labels = self.run._kneighbors(query=query, k=k)
        return labels if self.is_of_patches else samples

    @property
    def is_of_patches(self) -> bool:
        """Whether vectors are of labels."""
        return self.run.config.patches_field is not None


class Milvus(VectorEngine):
    """Takes batches by the Brain, column by column. It counts deleted vectors for a while."""

    title = "Milvus"
    names = ("collection_name",)
    client = ("pymilvus", "<3.1")
    counts = False
