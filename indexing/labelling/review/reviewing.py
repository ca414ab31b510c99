"""Who reviewed what and for which purpose: the promise's sample is used for nothing else.

Public: :class:`ReviewBook`, :data:`DISPUTED`, :data:`SKIPPED` and :func:`most_informative`.

A *promise* sample is drawn uniformly at random from all candidates, or from those of each class
alike, which serves promises per class only. Its regions can never be given as training examples,
and training examples are never candidates. Answers count for a promise only when the whole sample
is answered: who stops early could stop at a lucky moment. A region that somebody skipped, or that
reviewers disagree on without a majority, counts as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np

from alphaclip.errors import AlphaClipError

Purpose = Literal["promise", "training"]

DISPUTED: Final = "(disputed)"
SKIPPED: Final = "(skipped)"

Answer = str | None
"""A class's name, None for "none of these", or ``SKIPPED``."""


@dataclass(frozen=True)
class Draw:
    """A random sample as it was drawn.

    Attributes:
        label_ids: in the order to be reviewed, which is random
        seed: of the draw
        candidates: how many it was drawn from
        per_class: whether as many were drawn of each class
    """

    label_ids: tuple[str, ...]
    seed: int
    candidates: int
    per_class: bool = False


@dataclass
class ReviewBook:
    """The samples drawn and the answers given; to be kept as JSON.

    Attributes:
        draws: the promise's samples; of several, the last one counts
        answers: for each purpose and label id, the answer of each reviewer, by name
    """

    draws: list[Draw] = field(default_factory=list)
    answers: dict[Purpose, dict[str, dict[str, Answer]]] = field(
        default_factory=lambda: {"promise": {}, "training": {}}
    )

    def draw(
        self,
        label_ids: Iterable[str],
        count: int,
        seed: int,
        classes: Sequence[str | None] | None = None,
    ) -> Draw:
        """Draws the promise's sample, uniformly at random.

        Args:
            label_ids: of all candidates; their order does not matter
            count: regions to draw; of each class, with ``classes``
            seed: the same seed draws the same regions
            classes (None): the class that each candidate was taken for: draws from each alike

        Returns:
            the sample; it is kept in the book, and takes the place of an earlier one

        Raises:
            AlphaClipError: if there is no candidate, one is there twice or was trained on, or the
                count is below 1
        """
        ids = list(label_ids)
        self._check_candidates(ids, count)
        rng = np.random.default_rng(seed)
        names = [""] * len(ids) if classes is None else ["" if c is None else c for c in classes]
        groups: dict[str, list[str]] = {}
        for label_id, name in sorted(zip(ids, names, strict=True)):
            groups.setdefault(name, []).append(label_id)
        drawn = [
            one
            for _, group in sorted(groups.items())
            for one in rng.choice(group, min(count, len(group)), replace=False).tolist()
        ]
        sample = Draw(tuple(rng.permutation(drawn).tolist()), seed, len(ids), classes is not None)
        self.draws.append(sample)
        return sample

    @property
    def sample(self) -> Draw:
        """The sample that counts.

        Raises:
            AlphaClipError: if none was drawn
        """
        if not self.draws:
            raise AlphaClipError("no random sample was drawn: draw one before a promise is asked")
        return self.draws[-1]

    def add(self, purpose: Purpose, answers: Mapping[str, Answer], reviewer: str = "") -> None:
        """Adds what a reviewer answered; a second answer of the same one replaces the first.

        Args:
            purpose: ``promise`` for regions of the sample, ``training`` for all others
            answers: label id to answer
            reviewer (""): who

        Raises:
            AlphaClipError: if a region belongs to the other purpose
        """
        drawn = self._ever_drawn()
        if purpose == "promise":
            wrong = [one for one in answers if one not in drawn]
            why = "not in a random sample: only what was drawn can count for a promise"
        else:
            wrong = [one for one in answers if one in drawn]
            why = "in the promise's random sample, which is used for nothing else"
        if wrong:
            raise AlphaClipError(f"{len(wrong)} of the regions, the first {wrong[0]}, are {why}")
        for label_id, answer in answers.items():
            self.answers[purpose].setdefault(label_id, {})[reviewer] = answer

    def take_back(self, label_id: str, reviewer: str = "") -> None:
        """Forgets an answer; nothing happens if there is none."""
        for given in self.answers.values():
            given.get(label_id, {}).pop(reviewer, None)

    def settled(self, purpose: Purpose) -> dict[str, Answer]:
        """The answer of each region: that of most reviewers, or ``DISPUTED``.

        Who skipped has no vote beside others.
        """
        found = {
            label_id: _majority(list(given.values()))
            for label_id, given in self.answers[purpose].items()
            if given
        }
        if purpose == "promise":
            return {one: found[one] for one in self._sample_ids() if one in found}
        return found

    def examples(self) -> dict[str, Answer]:
        """What may be trained on: settled, neither skipped nor disputed."""
        settled = self.settled("training")
        return {key: a for key, a in settled.items() if a not in (SKIPPED, DISPUTED)}

    def waiting(self) -> list[str]:
        """The regions of the sample that nobody answered yet, in its order."""
        settled = self.settled("promise")
        return [one for one in self._sample_ids() if one not in settled]

    def promise_answers(self) -> dict[str, Answer]:
        """The answers of the whole sample.

        Raises:
            AlphaClipError: if none was drawn, or some is not answered
        """
        sample, waiting = self.sample, self.waiting()
        if waiting:
            raise AlphaClipError(
                f"{len(waiting)} of the {len(sample.label_ids)} regions of the random sample are "
                f"not reviewed, the first is {waiting[0]}: a promise needs all of them; skip what "
                "cannot be told, it counts as wrong"
            )
        return self.settled("promise")

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        draws = [asdict(one) | {"label_ids": list(one.label_ids)} for one in self.draws]
        return {"draws": draws, "answers": self.answers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReviewBook:
        """A book from its JSON values.

        Raises:
            AlphaClipError: if they are not such
        """
        try:
            draws = [
                Draw(**{**one, "label_ids": tuple(one["label_ids"])}) for one in values["draws"]
            ]
            answers = values["answers"]
            book = cls(draws)
            for purpose in book.answers:
                for label_id, given in answers[purpose].items():
                    for reviewer, answer in given.items():
                        book.add(purpose, {label_id: answer}, reviewer)
        except (KeyError, TypeError, AttributeError) as error:
            raise AlphaClipError(f"this is no book of reviews: {error!r}") from error
        return book

    def _sample_ids(self) -> tuple[str, ...]:
        return self.draws[-1].label_ids if self.draws else ()

    def _ever_drawn(self) -> set[str]:
        return {one for draw in self.draws for one in draw.label_ids}

    def _check_candidates(self, ids: Sequence[str], count: int) -> None:
        if type(count) is not int or count < 1:
            raise AlphaClipError(f"count is {count!r}: expected a whole number of at least 1")
        if not ids:
            raise AlphaClipError("there is no candidate to draw from: no region has an answer")
        if len(set(ids)) < len(ids):
            raise AlphaClipError(f"{len(ids) - len(set(ids))} candidates are given twice")
        trained = [one for one in ids if self.answers["training"].get(one)]
        if trained:
            raise AlphaClipError(
                f"{len(trained)} candidates, the first {trained[0]}, were reviewed for training: "
                "leave them out, they have their answer"
            )


def most_informative(
    vectors: np.ndarray, margins: np.ndarray, count: int, pool: int = 10
) -> np.ndarray:
    """Which regions to review next: unsure ones that are not all alike.

    Args:
        vectors: float (n, dim), of unit length; without the promise's sample
        margins: float (n,), best logit less second best; small is unsure
        count: how many to order
        pool (10): times ``count`` the least sure are looked at

    Returns:
        int64 (at most count,): each is the one of the pool with the largest product of how unsure
        it is, by its rank, and its cosine distance to those before
    """
    if len(vectors) != len(margins):
        raise AlphaClipError(f"{len(vectors)} vectors, {len(margins)} margins: expected the same")
    if count < 1:
        raise AlphaClipError(f"count is {count}: expected a whole number of at least 1")
    unsure = np.argsort(margins, kind="stable")[: count * pool]
    some = np.asarray(vectors[unsure], np.float32)
    worth = 1 - np.arange(len(unsure)) / max(len(unsure), 1)
    distance = np.full(len(unsure), 2.0, np.float32)
    order: list[int] = []
    for _ in range(min(count, len(unsure))):
        worths = worth * distance
        worths[order] = -1
        order.append(int(worths.argmax()))
        distance = np.minimum(distance, 1 - some @ some[order[-1]])
    return np.asarray(unsure[order], np.int64)


def _majority(answers: Sequence[Answer]) -> Answer:
    """The answer of more than half of those who did not skip."""
    votes = Counter(answer for answer in answers if answer != SKIPPED)
    if not votes:
        return SKIPPED
    answer, count = votes.most_common(1)[0]
    return answer if 2 * count > votes.total() else DISPUTED
