"""Which answers may be written: the random sample, and what it promises once it is reviewed.

A run that fails its test goes on with another sample: see :func:`with_sample` and
:func:`promise.share_of_risk`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import needed
from alphaclip.indexing.labelling.promise.promise import Promise, fix_threshold, share_of_risk
from alphaclip.indexing.labelling.review.runs import Draw, Labelling, ReviewBook
from alphaclip.indexing.labelling.scoring.classes import DISPUTED, SKIPPED, Answer

if TYPE_CHECKING:
    from alphaclip.indexing.labelling.scoring.scored import Scored
    from alphaclip.indexing.labelling.settings import LabelSettings

UNKNOWN = -1
"""What stands for the number of a class where people did not agree on one."""

OVER_ALL = ""
"""The name of a promise that is not of one class."""

NOT_YET = (
    "{} of the {} regions of the random sample are not reviewed: nothing is promised before all "
    "are, as who stops early could stop at a lucky moment"
)
NONE_LEFT = (
    "a precision of {:.4g} at a confidence of {:.4g} is not reachable: of the {} regions that are "
    "left, which nobody was asked about, a new random sample cannot have the {} that its test "
    "needs even if all are right; review what is left instead, or ask for less"
)


@dataclass(frozen=True, eq=False)
class Decision:
    """What came of the sample; of a ranking, only what passes.

    Attributes:
        promises: class name, or ``OVER_ALL``, to what is promised
        is_tested: whether the sample was tested, now or before; it is not while reviews are missing
        is_lost: whether it would fail its test even if all that waits of it were right
        unreviewed: label ids of the sample that wait
        sample: int64 (s,), rows of the reviewed regions of the sample
        correct: bool (s,), whether their answers are right
        truths: int64 (s,), number of the class that people said; that of none for "none of these",
            ``UNKNOWN`` where it was skipped or is disputed
        passes: bool (n,), which of all regions have an answer that is promised
        next_sample: regions that another sample would have; 0 if it cannot be tested
    """

    promises: Mapping[str, Promise] = field(default_factory=dict)
    is_tested: bool = False
    is_lost: bool = False
    unreviewed: Sequence[str] = ()
    sample: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    truths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    passes: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    next_sample: int = 0

    @property
    def is_promised(self) -> bool:
        """Whether there is a threshold."""
        return any(promise.is_made for promise in self.promises.values())


@dataclass(frozen=True, eq=False)
class Pool:
    """What another sample may be drawn from.

    Attributes:
        rows: int64 (n,), of the regions that nothing was learned from and nobody was asked about
        names: of each, the class that it was taken for, where as many are drawn of each
        share: of the risk, for its test
        each: regions to draw, of each class with ``names``
        least: that the test needs, if all are right
    """

    rows: np.ndarray
    names: Sequence[str | None] | None
    share: float
    each: int
    least: int

    @classmethod
    def of(cls, book: ReviewBook, scored: Scored, settings: LabelSettings) -> Pool:
        """What is left after the samples of a book."""
        is_free = np.ones(len(scored), bool)
        is_free[scored.training] = False
        is_free[_rows(scored, book.asked)] = False
        if settings.per_class:
            is_free &= scored.is_candidate
        rows = np.flatnonzero(is_free)
        test = len(book.draws) + 1
        share = share_of_risk(test)
        risk = share * (1 - settings.confidence)
        least = needed(0, float(settings.precision or 0), 1 - risk)
        names = scored.names(rows) if settings.per_class else None
        return cls(rows, names, share, settings.size_of_sample(test), least)

    @property
    def size(self) -> int:
        """Regions of the sample; 0 if it would be too small for its test."""
        groups = [len(self.rows)] if self.names is None else list(Counter(self.names).values())
        sizes = [min(self.each, one) for one in groups]
        return sum(sizes) if max(sizes, default=0) >= self.least else 0


def with_sample(
    state: Labelling,
    book: ReviewBook,
    scored: Scored,
    settings: LabelSettings,
    digest: str,
    label_ids: Sequence[str] | None,
) -> Labelling:
    """The state with a random sample that may be tested with these settings.

    A sample that is spent, or that was tested with other settings, has told how they did: it is
    replaced. One that was drawn from each class alike, or that nobody has begun to review, serves
    the settings that it was drawn with only. A new one is drawn from all regions but those that
    people were asked about, or that something was learned from.

    Args:
        state: of the labelling
        book: its samples and answers; gets the new draw
        scored: all regions
        settings: what is to be reached
        digest: of the settings, and of all that an answer depends on
        label_ids: are themselves a uniform random sample; None draws one

    Returns:
        the same state if its sample may be tested, or was, and too few regions are left for another

    Raises:
        AlphaClipError: if too few regions are left to draw, or those given were drawn before
    """
    fits = not book.is_spent and state.tested_with in ("", digest)
    fits &= bool(book.draws) and book.draws[-1].per_class == settings.per_class
    is_begun = bool(state.tested_with or book.settled("promise"))
    fits &= state.drawn_with == digest or (is_begun and not settings.per_class)
    if fits and (label_ids is None or set(label_ids) == set(book.sample)):
        return state
    # The next draw of the same seed is to be another one.
    seed = max([settings.seed, *(draw.seed + 1 for draw in book.draws)])
    # What nobody has begun to review has told nothing: it spends no share of the risk, and its
    # regions may be drawn again.
    if book.draws and not is_begun:
        book.draws.pop()
    pool = Pool.of(book, scored, settings)
    if label_ids is None and book.draws and not pool.size and state.tested_with:
        return state
    _draw(book, scored, settings.per_class, seed, pool, label_ids)
    draws = tuple(asdict(draw) for draw in book.draws)
    return replace(state, draws=draws, drawn_with=digest, tested_with="", promises={})


def with_test(
    state: Labelling, decision: Decision, digest: str, learnt: Mapping[str, Answer]
) -> Labelling:
    """The state with what a test has shown; the same if there was none."""
    if not decision.is_tested:
        return state
    promises = {name: one.to_dict() for name, one in decision.promises.items()}
    return replace(state, promises=promises, tested_with=digest, learnt=dict(learnt))


def decide(
    state: Labelling, book: ReviewBook, scored: Scored, settings: LabelSettings, digest: str
) -> Decision:
    """Tests the sample, if all of it is reviewed; one that was tested keeps its thresholds.

    Raises:
        AlphaClipError: if no region was taken for a class
    """
    settled = book.settled("promise")
    there = [p for p in zip(book.sample, scored.rows(book.sample), strict=True) if p[1] >= 0]
    waiting = {label_id: row for label_id, row in there if label_id not in settled}
    reviewed = {row: settled[label_id] for label_id, row in there if label_id in settled}
    sample = np.array(list(reviewed), np.int64)
    truths = np.array([_number(scored, truth) for truth in reviewed.values()], np.int64)
    correct = _correct(scored, sample, truths)
    pool, is_tested, is_lost = Pool.of(book, scored, settings), False, False
    if state.tested_with == digest:
        promises = {name: Promise.from_dict(values) for name, values in state.promises.items()}
        is_tested = True
    elif state.tested_with:
        reason = NONE_LEFT.format(
            settings.precision, settings.confidence, len(pool.rows), pool.least
        )
        promises = {OVER_ALL: _no_promise(settings, reason)}
    elif waiting or not len(sample):
        reason = NOT_YET.format(len(waiting), len(there))
        promises = {OVER_ALL: _no_promise(settings, reason, len(sample), len(waiting))}
        rows = np.array([*sample, *waiting.values()], np.int64)
        hoped = np.append(correct, np.ones(len(waiting), bool))
        hopes = _tested(book, scored, settings, rows, hoped).values()
        is_lost = not any(promise.is_made for promise in hopes)
    else:
        promises, is_tested = _tested(book, scored, settings, sample, correct), True
        if not promises:
            raise AlphaClipError(
                "no region was taken for one of the classes: there is nothing to label"
            )
    passes = _passes(book, scored, promises)
    reviews = (tuple(waiting), sample, correct, truths)
    return Decision(promises, is_tested, is_lost, *reviews, passes, pool.size)


def _draw(
    book: ReviewBook,
    scored: Scored,
    per_class: bool,
    seed: int,
    pool: Pool,
    label_ids: Sequence[str] | None,
) -> None:
    """Adds the next sample to the book."""
    if label_ids is None:
        if not len(pool.rows) or (book.draws and not pool.size):
            raise AlphaClipError(
                f"of {len(scored)} regions {len(pool.rows)} are left that are not known and were "
                "not drawn before: too few for a new random sample, as a promise needs regions "
                "that nothing was learned from; review the sample that was drawn, with its settings"
            )
        count = min(pool.each, len(pool.rows))
        book.draw(scored.label_ids(pool.rows), count, seed, pool.names, pool.share)
        return
    if not set(label_ids) - book.drawn:
        raise AlphaClipError(
            "the regions of these reviews are in samples that were drawn before, and a sample is "
            "tested once: give reviews of a new random sample, or leave `sample` out, so that one "
            "is drawn"
        )
    book.draws.append(Draw(tuple(label_ids), -1, len(scored), per_class, pool.share))
    book.is_spent = False


def _rows(scored: Scored, label_ids: set[str]) -> np.ndarray:
    """The rows of those that are in the index."""
    rows = scored.rows(list(label_ids))
    return rows[rows >= 0]


def _number(scored: Scored, truth: Answer) -> int:
    """The class that people said."""
    return UNKNOWN if truth in (SKIPPED, DISPUTED) else scored.classes.find(truth)


def _correct(scored: Scored, sample: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Whether the answer of each row is what people said of it: bool (s,)."""
    pairs = zip(scored.answers.classes[sample].tolist(), truths.tolist(), strict=True)
    is_right = scored.classes.is_right
    return np.array([truth != UNKNOWN and is_right(own, truth) for own, truth in pairs], bool)


def _no_promise(settings: LabelSettings, reason: str, reviewed: int = 0, more: int = 0) -> Promise:
    shares = (float(settings.precision or 0), settings.confidence)
    return Promise(*shares, None, reviewed, 0, 0, (0.0, 1.0), 0.0, more, reason)


def _tested(
    book: ReviewBook,
    scored: Scored,
    settings: LabelSettings,
    sample: np.ndarray,
    correct: np.ndarray,
) -> dict[str, Promise]:
    """Tests rows of the sample, by what is right of them; nothing if no region may be labelled."""
    # The test is of what was drawn from: of regions that have an answer, were not learned from, and
    # were in no sample before.
    is_open, numbers, scores = scored.is_candidate, scored.answers.classes, scored.answers.scores
    is_open[scored.training] = False
    is_open[_rows(scored, book.drawn_before)] = False
    groups = {OVER_ALL: is_open} if is_open.any() else {}
    if settings.per_class:
        present = np.unique(numbers[is_open]).tolist()
        groups = {scored.classes[one].name: is_open & (numbers == one) for one in present}
    promises = {}
    for name, group in sorted(groups.items()):
        promises[name] = fix_threshold(
            scores[sample[group[sample]]], correct[group[sample]],
            float(settings.precision or 0), settings.confidence,
            candidates=scores[group], share=book.draws[-1].share,
        )  # fmt: skip
    return promises


def _passes(book: ReviewBook, scored: Scored, promises: Mapping[str, Promise]) -> np.ndarray:
    """Which regions have an answer that is promised: bool (n,)."""
    passes = np.zeros(len(scored), bool)
    for name, promise in promises.items():
        if promise.threshold is not None:
            mine = scored.is_candidate
            if name != OVER_ALL:
                mine = scored.answers.classes == scored.classes.number(name)
            passes |= mine & (scored.answers.scores >= promise.threshold)
    # The promise is not about what people were asked about before: without an answer it waits.
    passes[_rows(scored, book.asked - set(book.sample))] = False
    return passes
