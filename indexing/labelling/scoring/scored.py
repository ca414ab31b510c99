"""The regions of an index with an answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing.labelling.scoring.choosing import Choice, choose_scorer
from alphaclip.indexing.labelling.scoring.classes import Answer, ClassSet
from alphaclip.indexing.labelling.scoring.scoring import (
    Answers,
    Scorer,
    answer,
    answer_logits,
    with_background,
    zero_shot,
)
from alphaclip.indexing.progress import Progress

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot

BLOCK = 65_536
"""Regions whose vectors are read together: 192 MB where a vector has 768 numbers."""


@dataclass(frozen=True, eq=False)
class LanguageScores:
    """What a language model says of all regions of a snapshot, in place of their vectors.

    Attributes:
        snapshot: the same
        scorer: of the evidence
        evidence: float32 (n, t), of each region and text, over ``SCALE``; 0 where it failed
        failed: bool (n,), where it did
        model: its name
    """

    snapshot: Snapshot
    scorer: Scorer
    evidence: np.ndarray
    failed: np.ndarray
    model: str


@dataclass(frozen=True, eq=False)
class Scored:
    """All regions of one snapshot of an index, and what they were taken for.

    Attributes:
        snapshot: of the index
        classes: to tell apart
        choice: the scorer, and why it was taken
        answers: for each region, in the order of the rows
        training: rows of the regions that the scorer learned from, int64 (t,)
        truths: of these, the numbers of their classes, int64 (t,)
        model: name of the encoder, or of the language model that was asked
        failed: rows that the language model had no answer for, int64 (f,); they are taken for none
            of the classes
    """

    snapshot: Snapshot
    classes: ClassSet
    choice: Choice
    answers: Answers
    training: np.ndarray
    truths: np.ndarray
    model: str = ""
    failed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def is_candidate(self) -> np.ndarray:
        """Which regions may get a label: those with a class for an answer, bool (n,)."""
        return np.asarray(self.answers.classes < len(self.classes))

    def label_ids(self, rows: np.ndarray) -> list[str]:
        """The names of some rows: label ids, but for copies of labels; see
        :class:`alphaclip.indexing.Example`."""
        return [str(one) for one in self.snapshot.lookup.names(rows)]

    def rows(self, label_ids: Sequence[str]) -> np.ndarray:
        """The rows of such names, -1 where one is not in the index: int64 (n,)."""
        return self.snapshot.lookup.find_named(label_ids)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows: float32 (n, dim)."""
        return np.asarray(self.snapshot.version.table.take(rows), np.float32)

    def names(self, rows: np.ndarray) -> list[str | None]:
        """The answers of some rows by name, None for "none of these"."""
        return [self.classes.name(number) for number in self.answers.classes[rows].tolist()]

    def held_out(self) -> Answers:
        """Answers for the regions that the scorer learned from, by scorers that did not see them,
        in the order of ``training``."""
        return answer_logits(self.choice.held_out, self.classes)


def score(
    index: SearchIndex,
    classes: ClassSet,
    training: Mapping[str, str | None],
    templates: Sequence[str] | None,
    seed: int,
    show: Progress,
    said: LanguageScores | None = None,
) -> Scored:
    """Answers for all regions.

    Args:
        index: whose regions
        classes: to tell apart
        training: label id to class of the regions to learn from, None for "none of these"
        templates: of the prompts
        seed: of the folds that the scorer is chosen by
        show: told how far it is
        said (None): what a language model says of them, in place of their vectors

    Raises:
        AlphaClipError: if the index is empty, or a region to learn from is not in it
    """
    if not len(index):
        raise AlphaClipError(f"index {index.key!r} holds no regions: there is nothing to label")
    snapshot = index.snapshot() if said is None else said.snapshot
    choice, learnt, truths = choose(index, snapshot, classes, training, templates, seed, show, said)
    parts, total = [], len(snapshot.version)
    for start in range(0, total, BLOCK):
        rows = np.arange(start, min(start + BLOCK, total))
        parts.append(answer(_seen(snapshot, rows, said), choice.scorer, classes))
        show("regions scored", int(rows[-1]) + 1, total)
    scored = Scored(snapshot, classes, choice, Answers.joined(parts), learnt, truths)
    if said is None:
        return replace(scored, model=snapshot.version.info["encoder"])
    failed = np.flatnonzero(said.failed)
    scored.answers.classes[failed] = len(classes)
    return replace(scored, model=said.model, failed=failed)


def _seen(snapshot: Snapshot, rows: np.ndarray, said: LanguageScores | None) -> np.ndarray:
    """What some rows are scored by: float32 (n, dim)."""
    if said is not None:
        return said.evidence[rows]
    return np.asarray(snapshot.version.table.take(rows), np.float32)


def in_index(index: SearchIndex, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers about regions that are there: from what was deleted nothing can be learned."""
    rows = index.snapshot().lookup.find_named(list(answers))
    return dict(compress(answers.items(), rows >= 0))


def choose(
    index: SearchIndex,
    snapshot: Snapshot,
    classes: ClassSet,
    training: Mapping[str, str | None],
    templates: Sequence[str] | None,
    seed: int,
    show: Progress | None = None,
    said: LanguageScores | None = None,
) -> tuple[Choice, np.ndarray, np.ndarray]:
    """The scorer of the regions of a snapshot; see :func:`score`.

    Returns:
        the choice, and rows and numbers of classes of what it learned from, int64 (t,) each
    """
    rows = snapshot.lookup.find_named(list(training))
    missing = [label for label, row in zip(training, rows, strict=True) if row < 0]
    if missing:
        raise AlphaClipError(
            f"{len(missing)} of {len(rows)} regions to learn from are not in index "
            f"{index.key!r}, the first is {missing[0]}: bring the index up to date, or leave them "
            "out"
        )
    truths = np.array([classes.number(name) for name in training.values()], np.int64)
    vectors = _seen(snapshot, rows, said)
    background = vectors[truths == len(classes)]
    try:
        if said is not None:
            by_text = with_background(said.scorer, background)
        else:
            encode = partial(index.encoder.recall_text, show=show)
            by_text = zero_shot(classes, encode, templates, background)
    except MissingWeightsError as error:
        raise AlphaClipError(
            f"{error}; labels start from the classes' names, which needs the model's text weights"
        ) from error
    choice = choose_scorer(by_text, vectors, truths, snapshot.pictures[rows], seed)
    return choice, rows, truths
