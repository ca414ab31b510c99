"""The regions of an index with an answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing.labelling.scoring.choosing import Choice, choose_scorer
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scoring import (
    Answers,
    Encode,
    answer,
    answer_logits,
    zero_shot,
)
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.store.segments import as_bytes, as_text

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot

BLOCK = 65_536
"""Regions whose vectors are read together."""


@dataclass(frozen=True, eq=False)
class Scored:
    """All regions of one version of an index, and what they were taken for.

    Attributes:
        now: the version
        classes: that were asked about
        choice: the scorer, and why it was taken
        answers: for each region, in the order of the index
        training: places of the regions that the scorer learned from, int64 (t,)
        truths: of these, the places of their classes, int64 (t,)
    """

    now: Snapshot
    classes: ClassSet
    choice: Choice
    answers: Answers
    training: np.ndarray
    truths: np.ndarray

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def is_candidate(self) -> np.ndarray:
        """Which regions may get a label: those with a class for an answer, bool (n,)."""
        return np.asarray(self.answers.places < len(self.classes))

    def label_ids(self, places: np.ndarray) -> list[str]:
        """The label ids at some places."""
        return [str(one) for one in as_text(self.now.version.ids.label_ids[places])]

    def places(self, label_ids: Sequence[str]) -> np.ndarray:
        """The places of label ids, -1 where one is not in the index: int64 (n,)."""
        return self.now.lookup.find(as_bytes(list(label_ids)))

    def vectors(self, places: np.ndarray) -> np.ndarray:
        """The vectors at some places: float32 (n, dim)."""
        return np.asarray(self.now.version.table.take(places), np.float32)

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
    encode: Encode | None = None,
) -> Scored:
    """Answers for all regions.

    Args:
        index: whose regions
        classes: to tell apart
        training: label id to class of the regions to learn from, None for "none of these"
        templates: of the prompts
        seed: of the folds that the scorer is chosen by
        show: told how far it is
        encode (None): the encoder's ``encode_text``, or what gives the same

    Raises:
        AlphaClipError: if the index is empty, or a region to learn from is not in it
    """
    if not len(index):
        raise AlphaClipError(f"index {index.key!r} holds no regions: there is nothing to label")
    now = index.snapshot()
    learnt = choose(index, now, classes, training, templates, seed, encode)
    choice, parts, total = learnt.choice, [], len(now.version)
    for start in range(0, total, BLOCK):
        some = np.arange(start, min(start + BLOCK, total))
        block = np.asarray(now.version.table.take(some), np.float32)
        parts.append(answer(block, choice.scorer, classes))
        show("regions scored", int(some[-1]) + 1, total)
    return Scored(now, classes, choice, Answers.joined(parts), learnt.places, learnt.truths)


@dataclass(frozen=True, eq=False)
class Learnt:
    """A scorer, and what it learned from.

    Attributes:
        choice: the scorer, and why it was taken
        places: of the regions that it learned from, int64 (t,)
        truths: of these, the places of their classes, int64 (t,)
    """

    choice: Choice
    places: np.ndarray
    truths: np.ndarray


def choose(
    index: SearchIndex,
    now: Snapshot,
    classes: ClassSet,
    training: Mapping[str, str | None],
    templates: Sequence[str] | None,
    seed: int,
    encode: Encode | None = None,
) -> Learnt:
    """The scorer of the regions of a version; see :func:`score`."""
    places = _places(index, now, list(training))
    truths = np.array([classes.place(name) for name in training.values()], np.int64)
    vectors = np.asarray(now.version.table.take(places), np.float32)
    background = vectors[truths == len(classes)]
    try:
        by_text = zero_shot(classes, encode or index.encoder.encode_text, templates, background)
    except MissingWeightsError as error:
        raise AlphaClipError(
            f"{error}; labels start from the classes' names, which needs the model's text weights"
        ) from error
    choice = choose_scorer(by_text, vectors, truths, now.pictures[places], seed)
    return Learnt(choice, places, truths)


def _places(index: SearchIndex, now: Snapshot, label_ids: Sequence[str]) -> np.ndarray:
    places = now.lookup.find(as_bytes(list(label_ids)))
    missing = [label for label, place in zip(label_ids, places, strict=True) if place < 0]
    if missing:
        raise AlphaClipError(
            f"{len(missing)} of {len(label_ids)} regions to learn from are not in index "
            f"{index.key!r}, the first is {missing[0]}: bring the index up to date, or leave them "
            "out"
        )
    return np.asarray(places)
