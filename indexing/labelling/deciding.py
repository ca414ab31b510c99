"""Which answers may be written: the random sample, and what it promises once it is reviewed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.promise import Promise, fix_threshold
from alphaclip.indexing.labelling.review.runs import Draw, Labelling, ReviewBook
from alphaclip.indexing.labelling.scoring.classes import DISPUTED, SKIPPED

if TYPE_CHECKING:
    from alphaclip.indexing.labelling.scoring.scored import Scored
    from alphaclip.indexing.labelling.settings import LabelSettings

OVER_ALL = ""
"""The name of a promise that is not of one class."""

NOT_YET = (
    "{} of the {} regions of the random sample are not reviewed: nothing is promised before all "
    "are, as who stops early could stop at a lucky moment"
)


@dataclass(frozen=True, eq=False)
class Decision:
    """What came of the sample; of a ranking, only what passes.

    Attributes:
        promises: class name, or ``OVER_ALL``, to what is promised
        is_tested: whether the sample was tested, now or before; it is not while reviews are missing
        unreviewed: label ids of the sample that wait
        sample: int64 (s,), rows of the reviewed regions of the sample
        correct: bool (s,), whether their answers are right
        passes: bool (n,), which of all regions have an answer that is promised
    """

    promises: Mapping[str, Promise] = field(default_factory=dict)
    is_tested: bool = False
    unreviewed: Sequence[str] = ()
    sample: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    passes: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def is_promised(self) -> bool:
        """Whether there is a threshold."""
        return any(promise.is_made for promise in self.promises.values())


def with_sample(
    state: Labelling,
    book: ReviewBook,
    scored: Scored,
    settings: LabelSettings,
    digest: str,
    label_ids: Sequence[str] | None,
) -> Labelling:
    """The state with a random sample that may be tested with these settings.

    A sample that was tested with others has told how they did: it is replaced. One that was drawn
    from each class alike serves the settings that it was drawn with only. A new one is drawn from
    all regions but those that were drawn before, or that something was learned from.

    Args:
        state: of the labelling
        book: its samples and answers; gets the new draw
        scored: all regions
        settings: what is to be reached
        digest: of the settings, and of all that an answer depends on
        label_ids: are themselves a uniform random sample; None draws one

    Raises:
        AlphaClipError: if there is no region left to draw
    """
    fits = bool(book.draws) and book.draws[-1].per_class == settings.per_class
    fits &= state.tested_with in ("", digest)
    fits &= not settings.per_class or state.drawn_with == digest
    if fits and (label_ids is None or set(label_ids) == set(book.sample)):
        return state
    if label_ids is not None:
        book.draws.append(Draw(tuple(label_ids), -1, len(scored)))
    else:
        is_free = np.ones(len(scored), bool)
        is_free[scored.training] = False
        before = scored.rows(list(book.drawn))
        is_free[before[before >= 0]] = False
        if settings.per_class:
            is_free &= scored.is_candidate
        free = np.flatnonzero(is_free)
        if not len(free):
            raise AlphaClipError(
                f"all {len(scored)} regions are known or were drawn before: there is none left to "
                "draw a random sample from; a promise needs regions that nothing was learned from"
            )
        count = min(settings.sample_size, len(free))
        names = scored.names(free) if settings.per_class else None
        # The next draw of the same seed is to be another one.
        book.draw(scored.label_ids(free), count, settings.seed + len(book.draws), names)
    draws = tuple(asdict(draw) for draw in book.draws)
    return replace(state, draws=draws, drawn_with=digest, tested_with="", promises={})


def decide(
    state: Labelling, book: ReviewBook, scored: Scored, settings: LabelSettings, digest: str
) -> Decision:
    """Tests the sample, if all of it is reviewed; one that was tested keeps its thresholds.

    Raises:
        AlphaClipError: if no region was taken for a class
    """
    classes, settled = scored.classes, book.settled("promise")
    there = [p for p in zip(book.sample, scored.rows(book.sample), strict=True) if p[1] >= 0]
    unreviewed = [label_id for label_id, _ in there if label_id not in settled]
    reviewed = {row: settled[label_id] for label_id, row in there if label_id in settled}
    sample = np.array(list(reviewed), np.int64)
    answered = zip(scored.answers.classes[sample].tolist(), reviewed.values(), strict=True)
    correct = np.array(
        [
            truth not in (SKIPPED, DISPUTED) and classes.is_right(answer, classes.find(truth))
            for answer, truth in answered
        ],
        bool,
    )
    is_tested = state.tested_with == digest
    precision, confidence = float(settings.precision or 0), settings.confidence
    numbers, scores = scored.answers.classes, scored.answers.scores
    if is_tested:
        promises = {name: Promise.from_dict(values) for name, values in state.promises.items()}
    elif unreviewed or not len(sample):
        reason = NOT_YET.format(len(unreviewed), len(there))
        nothing = (None, len(sample), 0, 0, (0.0, 1.0), 0.0, len(unreviewed), reason)
        promises = {OVER_ALL: Promise(precision, confidence, *nothing)}
    else:
        # The test is of regions that have an answer and were not learned from.
        is_open, promises = scored.is_candidate, {}
        is_open[scored.training] = False
        if not is_open.any():
            raise AlphaClipError(
                "no region was taken for one of the classes: there is nothing to label"
            )
        groups = {OVER_ALL: is_open}
        if settings.per_class:
            present = np.unique(numbers[is_open]).tolist()
            groups = {classes[one].name: is_open & (numbers == one) for one in present}
        for name, group in sorted(groups.items()):
            tested = sample[group[sample]]
            promises[name] = fix_threshold(
                scores[tested], correct[group[sample]], precision, confidence,
                candidates=scores[group],
            )  # fmt: skip
        is_tested = True
    passes = np.zeros(len(scored), bool)
    for name, promise in promises.items():
        if promise.threshold is not None:
            mine = scored.is_candidate if name == OVER_ALL else numbers == classes.number(name)
            passes |= mine & (scores >= promise.threshold)
    return Decision(promises, is_tested, unreviewed, sample, correct, passes)
