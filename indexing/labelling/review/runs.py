"""What is kept with a dataset of labelling it: samples, thresholds, queues, and answers of people.

Public: :class:`Labelling`, :func:`labelling_of`, :func:`labelled_fields`, :func:`add_reviews` and
:func:`book_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.indexing.labelling.review.reviewing import SKIPPED, Draw, Purpose, ReviewBook

if TYPE_CHECKING:
    import fiftyone as fo

STORE, REVIEWS = "labelling", "reviews"

_MOST_ANSWERS = 50_000
"""Answers in one record, of 16 MB at most."""

_SMALL, _REMEMBERED = 20, 20_000
"""Answers in a record that is remembered in this process, and how many records are."""


@dataclass(frozen=True)
class Labelling:
    """The state of labelling into one field or attribute, as JSON holds it.

    Attributes:
        into: the field or attribute
        key: of the index
        draws: the promise's random samples, :class:`reviewing.Draw` in JSON; the last counts
        drawn_with: digest of the settings of the run that drew the last sample
        tested_with: digest of the settings that the last sample was tested with, as a sample is
            tested once; empty before
        promises: class name to :class:`promise.Promise` in JSON, once tested; the name is empty
            for a promise over all
        learnt: label id to class of the regions that the scorer learned from when it was tested
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

    def save(self, dataset: fo.Dataset) -> None:
        """Keeps the state with a dataset."""
        Records(dataset, STORE).set(self.into, asdict(self))


def labelling_of(dataset: fo.Dataset, into: str) -> Labelling | None:
    """The state of labelling into a field or attribute; None before the first run."""
    values = Records(dataset, STORE).get(into)
    if values is None:
        return None
    known = {one.name for one in fields(Labelling)}
    lists = ("draws", "queue", "runs", "classes", "class_set")
    kept = {name: value for name, value in values.items() if name in known}
    return Labelling(**kept | {name: tuple(kept.get(name, ())) for name in lists})


def labelled_fields(dataset: fo.Dataset) -> list[str]:
    """The fields and attributes that runs have labelled into."""
    return Records(dataset, STORE).keys()


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
    value = {
        "reviewer": reviewer,
        "answers": {**answers, **dict.fromkeys(skipped, SKIPPED)},
        "withdrawn": list(withdrawn),
    }
    key = f"{into}/{new_key()}"
    Records(dataset, REVIEWS).set(key, value)
    return key


def book_of(dataset: fo.Dataset, labelling: Labelling) -> ReviewBook:
    """The samples and all answers of people, each with the purpose that it serves."""
    book = ReviewBook([Draw(**_with_tuple(draw)) for draw in labelling.draws])
    drawn = {label_id for draw in book.draws for label_id in draw.label_ids}
    records = Records(dataset, REVIEWS)
    for key in records.keys(f"{labelling.into}/"):
        value = _read.get(key) or records.get(key)
        if value is None:
            continue
        _remember(key, value)
        for label_id in value["withdrawn"]:
            book.take_back(label_id, value["reviewer"])
        for label_id, answer in value["answers"].items():
            purpose: Purpose = "promise" if label_id in drawn else "training"
            book.add(purpose, {label_id: answer}, value["reviewer"])
    return book


_read: dict[str, Mapping[str, Any]] = {}
"""Small records of answers by their keys: each is written once, and read at every look."""


def _remember(key: str, value: Mapping[str, Any]) -> None:
    if len(value["answers"]) + len(value["withdrawn"]) <= _SMALL:
        _read[key] = value
    while len(_read) > _REMEMBERED:
        _read.pop(next(iter(_read)), None)


def _with_tuple(draw: Mapping[str, Any]) -> dict[str, Any]:
    return {**draw, "label_ids": tuple(draw["label_ids"])}
