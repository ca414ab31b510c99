"""What is kept with a dataset of labelling it: samples, thresholds, queues, and answers of people.

Public: :class:`Labelling`, :func:`labelling_of`, :func:`labelled_fields`, :func:`add_reviews`,
:func:`book_of`, :class:`ReviewBook` and :class:`Draw`.

A *promise* sample is drawn uniformly at random from all candidates, or from those of each class
alike, which serves promises per class only. Until its test is over its regions cannot be given as
training examples, and training examples are never candidates. Answers count for a promise only when
the whole sample is answered: who stops early could stop at a lucky moment. A region that somebody
skipped, or that reviewers disagree on without a majority, counts as wrong. A sample whose test has
failed, or that was given up, is *spent*: it is never tested again, and its answers are learned
from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import is_undone
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.indexing.labelling.scoring.classes import DISPUTED, SKIPPED, Answer

if TYPE_CHECKING:
    import fiftyone as fo

Purpose = Literal["promise", "training"]

STORE, REVIEWS = "labelling", "reviews"

_MOST_ANSWERS = 50_000
"""Answers in one record, of 16 MB at most."""


@dataclass(frozen=True)
class Draw:
    """A random sample: its label ids in random order, the seed of the draw, how many it was drawn
    from, whether as many were drawn of each class, and the share of the risk that its test may
    spend, which was all of it in earlier versions."""

    label_ids: tuple[str, ...]
    seed: int
    candidates: int
    per_class: bool = False
    share: float = 1.0


@dataclass
class ReviewBook:
    """The samples drawn and the answers of people.

    Attributes:
        draws: the promise's samples; of several, the last one counts
        answers: for each purpose and label id, the answer of each reviewer, by name
        is_spent: whether the last sample is not to be tested any more; those before it never are
    """

    draws: list[Draw] = field(default_factory=list)
    answers: dict[Purpose, dict[str, dict[str, Answer]]] = field(
        default_factory=lambda: {"promise": {}, "training": {}}
    )
    is_spent: bool = False

    def draw(
        self,
        label_ids: Iterable[str],
        count: int,
        seed: int,
        classes: Sequence[str | None] | None = None,
        share: float = 1.0,
    ) -> Draw:
        """Draws the promise's sample, uniformly at random; it replaces the one before.

        Args:
            label_ids: of all candidates; their order does not matter
            count: regions to draw; of each class, with ``classes``
            seed: the same seed draws the same regions
            classes (None): the class that each candidate was taken for: draws from each alike
            share (1): of the risk, that the test of the sample may spend

        Raises:
            AlphaClipError: if there is no candidate, one is there twice or was trained on, or the
                count is below 1
        """
        ids = list(label_ids)
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
        mixed, per_class = tuple(rng.permutation(drawn).tolist()), classes is not None
        sample = Draw(mixed, seed, len(ids), per_class, share)
        self.draws.append(sample)
        self.is_spent = False
        return sample

    @property
    def sample(self) -> tuple[str, ...]:
        """The label ids of the sample that counts; none before a draw."""
        return self.draws[-1].label_ids if self.draws else ()

    @property
    def drawn(self) -> set[str]:
        """The label ids of all samples."""
        return {one for draw in self.draws for one in draw.label_ids}

    @property
    def asked(self) -> set[str]:
        """The label ids of all that people were asked about: in samples, or in the queue."""
        return self.drawn | {key for key, by in self.answers["training"].items() if by}

    @property
    def drawn_before(self) -> set[str]:
        """The label ids of the samples before the one that counts."""
        return {one for draw in self.draws[:-1] for one in draw.label_ids}

    def add(self, purpose: Purpose, answers: Mapping[str, Answer], reviewer: str = "") -> None:
        """Adds what a reviewer answered; a second answer of the same one replaces the first.

        Raises:
            AlphaClipError: if a region is in a sample and this is for training, or the other way
        """
        drawn = self.drawn
        wrong = [one for one in answers if (one in drawn) != (purpose == "promise")]
        if wrong:
            why = "in the promise's random sample, which is used for nothing else"
            if purpose == "promise":
                why = "not in a random sample: only what was drawn can count for a promise"
            raise AlphaClipError(f"{len(wrong)} of the regions, the first {wrong[0]}, are {why}")
        for label_id, answer in answers.items():
            self.answers[purpose].setdefault(label_id, {})[reviewer] = answer

    def settled(self, purpose: Purpose) -> dict[str, Answer]:
        """The answer of each region: that of more than half of its reviewers, or ``DISPUTED``.

        Who skipped has no vote beside others. For a promise, only the sample that counts; for
        training also what is spent.
        """
        drawn = self.answers["promise"]
        answers = {key: drawn[key] for key in self.sample if key in drawn}
        if purpose == "training":
            counting = {} if self.is_spent else answers
            spent = {key: one for key, one in drawn.items() if key not in counting}
            answers = self.answers["training"] | spent
        settled: dict[str, Answer] = {}
        for label_id, by_reviewer in answers.items():
            if by_reviewer:
                votes = Counter(answer for answer in by_reviewer.values() if answer != SKIPPED)
                answer, count = votes.most_common(1)[0] if votes else (SKIPPED, 0)
                settled[label_id] = answer if 2 * count > votes.total() or not votes else DISPUTED
        return settled

    def examples(self) -> dict[str, str | None]:
        """What may be trained on."""
        return self.agreed("training")

    def agreed(self, *purposes: Purpose) -> dict[str, str | None]:
        """The settled answers of some purposes that are neither skipped nor disputed."""
        settled = {key: a for purpose in purposes for key, a in self.settled(purpose).items()}
        return {key: a for key, a in settled.items() if a not in (SKIPPED, DISPUTED)}


@dataclass(frozen=True)
class Labelling:
    """The state of labelling into one field or attribute, as JSON holds it.

    Attributes:
        into: the field or attribute
        key: of the index
        draws: the promise's random samples, :class:`Draw` in JSON; the last counts
        drawn_with: digest of the settings of the run that drew the last sample
        tested_with: digest of the settings that the last sample was tested with, as a sample is
            tested once; empty before
        promises: class name to :class:`promise.Promise` in JSON, once tested; the name is empty
            for a promise over all
        learnt: label id to class of the regions that the scorer learned from when the sample was
            drawn, and then, when it was tested
        queue: label ids that wait for a person, the most informative first
        waiting: how many regions wait, in the queue and beyond it
        runs: ids of the actions that wrote labels, the oldest first
        classes: names of the classes
        answers: label id to the answer of each region of sample and queue
        report: of the last run, in JSON
        class_set: the classes in JSON, as :meth:`LabelClass.from_dict` takes them; empty where they
            are too large to be kept
        settings: of the last run, :class:`settings.LabelSettings` in JSON
    """

    into: str
    key: str
    draws: tuple[Mapping[str, Any], ...] = ()
    drawn_with: str = ""
    tested_with: str = ""
    promises: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learnt: Mapping[str, str | None] = field(default_factory=dict)
    queue: tuple[str, ...] = ()
    waiting: int = 0
    runs: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    answers: Mapping[str, str | None] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    class_set: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_promised(self) -> bool:
        """Whether there is a threshold."""
        return any(promise["threshold"] is not None for promise in self.promises.values())

    @property
    def has_failed(self) -> bool:
        """Whether the last sample was tested, and nothing can be promised."""
        return bool(self.tested_with) and not self.is_promised

    def save(self, dataset: fo.Dataset) -> None:
        """Keeps the state with a dataset."""
        Records(dataset, STORE).set(self.into, asdict(self))


def labelling_of(dataset: fo.Dataset, into: str) -> Labelling | None:
    """The state of labelling into a field or attribute; None before the first run."""
    with Records(dataset, STORE).reading(into) as values:
        if values is None:
            return None
        # What other versions keep beside this is left out, what they do not keep is empty.
        own = {one.name: values[one.name] for one in fields(Labelling) if one.name in values}
        lists = ("draws", "queue", "runs", "classes", "class_set")
        return Labelling(**own | {name: tuple(own.get(name, ())) for name in lists})


def report_of(dataset: fo.Dataset, labelling: Labelling) -> Mapping[str, Any]:
    """The report of the last run; empty before the first, and where that run was taken back."""
    run = labelling.report.get("run", {}).get("run", "")
    return {} if run and is_undone(dataset, run) else labelling.report


def labelled_fields(dataset: fo.Dataset) -> list[str]:
    """The fields and attributes that runs have labelled into."""
    return Records(dataset, STORE).keys()


@checked()
def add_reviews(
    dataset: fo.Dataset,
    into: str,
    answers: Mapping[str, str | None],
    skipped: Sequence[str] = (),
    withdrawn: Sequence[str] = (),
    reviewer: str = "",
) -> str:
    """Keeps what a person said of regions, for the next run.

    Answers for the promise's sample go to the promise, all others to training. Of one reviewer
    the last answer for a region counts.

    Args:
        dataset: whose regions
        into: what they are labelled into
        answers: label id to the right class, or to None for "none of these"
        skipped: label ids of which the person cannot tell, also where only the answer is surely
            wrong: in the sample they count as wrong
        withdrawn: label ids whose answer of this reviewer no longer counts
        reviewer: who

    Returns:
        the key of the record

    Raises:
        AlphaClipError: if an answer is no text, or there is nothing to keep
    """
    wrong = [a for a in answers.values() if not (a is None or (isinstance(a, str) and a.strip()))]
    if wrong:
        raise AlphaClipError(
            f"an answer is {wrong[0]!r:.60}: expected the name of a class, or None"
        )
    if not len(answers) + len(skipped) + len(withdrawn):
        raise AlphaClipError("there are no answers: give at least one")
    if len(answers) + len(skipped) + len(withdrawn) > _MOST_ANSWERS:
        raise AlphaClipError(f"more than {_MOST_ANSWERS:,} answers at once: add them in parts")
    key = f"{into}/{new_key()}"
    value = {
        "reviewer": reviewer,
        "answers": {**answers, **dict.fromkeys(skipped, SKIPPED)},
        "withdrawn": list(withdrawn),
    }
    Records(dataset, REVIEWS).set(key, value)
    return key


def book_of(dataset: fo.Dataset, labelling: Labelling) -> ReviewBook:
    """The samples and all answers of people, each with the purpose that it serves."""
    draws = [Draw(**{**one, "label_ids": tuple(one["label_ids"])}) for one in labelling.draws]
    book = ReviewBook(draws, is_spent=labelling.has_failed)
    drawn = book.drawn
    for value in Records(dataset, REVIEWS).read_all(f"{labelling.into}/", _checked_answers):
        for label_id in value["withdrawn"]:
            for answers in book.answers.values():
                answers.get(label_id, {}).pop(value["reviewer"], None)
        for label_id, answer in value["answers"].items():
            by_reviewer = book.answers["promise" if label_id in drawn else "training"]
            by_reviewer.setdefault(label_id, {})[value["reviewer"]] = answer
    return book


def _checked_answers(record: Any) -> Mapping[str, Any]:
    return {
        "reviewer": str(record["reviewer"]),
        "answers": dict(record["answers"]),
        "withdrawn": list(record["withdrawn"]),
    }
