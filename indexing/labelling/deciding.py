"""Which answers may be written: the random sample, what it promises, and what people said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.expected import expected_share
from alphaclip.indexing.labelling.promise.promise import (
    ROOM,
    Promise,
    fix_threshold,
    fix_thresholds,
    needed,
)
from alphaclip.indexing.labelling.review.reviewing import (
    DISPUTED,
    SKIPPED,
    Answer,
    Draw,
    ReviewBook,
)
from alphaclip.indexing.labelling.review.runs import Labelling
from alphaclip.indexing.labelling.scoring.teaching import class_of

if TYPE_CHECKING:
    from alphaclip.indexing.labelling.scoring.scored import Scored

Mode = Literal["promise", "expected", "ranking"]

OVER_ALL = ""
"""The name of a promise that is not of one class."""


@dataclass(frozen=True)
class Asked:
    """What a run is to reach.

    Attributes:
        mode: "promise", "expected", or "ranking" for all answers as they are
        precision: asked for; None in a ranking
        confidence: of the promise
        per_class: whether each class has a promise of its own
        sample: regions to draw, of each class with ``per_class``; None takes twice as many as the
            strictest threshold needs with two wrong ones
        seed: of the draw
        digest: of these and of all that an answer depends on
    """

    mode: Mode
    precision: float | None
    confidence: float
    per_class: bool
    sample: int | None
    seed: int
    digest: str

    @property
    def sample_size(self) -> int:
        """How many regions to draw."""
        if self.sample is not None:
            return self.sample
        return 2 * needed(ROOM, self.precision or 0.0, self.confidence)


@dataclass(frozen=True, eq=False)
class Decision:
    """What came of the sample.

    Attributes:
        promises: class name, or ``OVER_ALL``, to what is promised
        is_tested: whether the sample was tested, now or before; it is not while reviews are missing
        unreviewed: label ids of the sample that wait
        correct: bool (s,), whether the answer to each reviewed region of the sample is right; for
            the reliability diagram
        sample: int64 (s,), their places
    """

    promises: Mapping[str, Promise]
    is_tested: bool
    unreviewed: Sequence[str]
    correct: np.ndarray
    sample: np.ndarray

    @classmethod
    def of_ranking(cls) -> Decision:
        """Where nothing is promised."""
        return cls({}, False, [], np.zeros(0, bool), np.zeros(0, np.int64))

    @property
    def is_promised(self) -> bool:
        """Whether there is a threshold."""
        return any(promise.kept for promise in self.promises.values())

    def passes(self, scored: Scored) -> np.ndarray:
        """Which regions' answers are promised: bool (n,)."""
        scores, found = scored.answers.scores, np.zeros(len(scored), bool)
        for name, promise in self.promises.items():
            mine = scored.is_candidate
            if name != OVER_ALL:
                mine = scored.answers.places == scored.classes.place(name)
            found |= mine & promise.passes(scores)
        return found


def with_sample(
    labelling: Labelling,
    book: ReviewBook,
    scored: Scored,
    asked: Asked,
    given: Sequence[str] | None,
) -> Labelling:
    """The state with a random sample that may be tested with these settings.

    A sample that was tested with others has told how they did: it is replaced. One that was drawn
    from each class alike serves the settings that it was drawn with only.

    Args:
        labelling: the state
        book: its samples and answers; gets the new draw
        scored: all regions
        asked: what is to be reached
        given: label ids that are themselves a uniform random sample; None draws one
    """
    used = labelling.tested_with not in ("", asked.digest)
    fits = bool(book.draws) and book.sample.per_class == asked.per_class and not used
    fits &= not asked.per_class or labelling.drawn_with == asked.digest
    if fits and (given is None or set(given) == set(book.sample.label_ids)):
        return labelling
    if given is not None:
        book.draws.append(Draw(tuple(given), -1, len(scored)))
    else:
        _draw(book, scored, asked)
    draws = tuple(asdict(draw) for draw in book.draws)
    return replace(labelling, draws=draws, drawn_with=asked.digest, tested_with="", promises={})


def decide(labelling: Labelling, book: ReviewBook, scored: Scored, asked: Asked) -> Decision:
    """Tests the sample, if all of it is reviewed; one that was tested keeps its thresholds."""
    places = scored.places(book.sample.label_ids)
    settled = book.settled("promise")
    there = [(label, p) for label, p in zip(book.sample.label_ids, places, strict=True) if p >= 0]
    unreviewed = [label for label, _ in there if label not in settled]
    known = [(settled[label], place) for label, place in there if label in settled]
    sample = np.array([place for _, place in known], np.int64)
    correct = np.array([_is_right(scored, place, answer) for answer, place in known], bool)
    was_tested = labelling.tested_with == asked.digest
    if was_tested:
        promises = {name: _promise(values) for name, values in labelling.promises.items()}
    elif unreviewed or not len(sample):
        promises = {OVER_ALL: _not_yet(asked, len(known), len(unreviewed))}
    else:
        promises = _tested(scored, sample, correct, asked)
    is_tested = was_tested or (not unreviewed and len(sample) > 0)
    return Decision(promises, is_tested, unreviewed, correct, sample)


def known_answers(book: ReviewBook) -> dict[str, str | None]:
    """What people agreed on, for whatever purpose: label id to class, None for none of these."""
    settled = {**book.settled("training"), **book.settled("promise")}
    return {key: answer for key, answer in settled.items() if answer not in (SKIPPED, DISPUTED)}


def _draw(book: ReviewBook, scored: Scored, asked: Asked) -> None:
    """Draws from all regions but those that were drawn before, or are known."""
    is_free = np.ones(len(scored), bool)
    is_free[scored.training] = False
    before = scored.places([label for draw in book.draws for label in draw.label_ids])
    is_free[before[before >= 0]] = False
    if asked.per_class:
        is_free &= scored.is_candidate
    free = np.flatnonzero(is_free)
    if not len(free):
        raise AlphaClipError(
            f"all {len(scored)} regions are known or were drawn before: there is none left to draw "
            "a random sample from; a promise needs regions that nothing was learned from"
        )
    names = [scored.classes.name(place) for place in scored.answers.places[free].tolist()]
    label_ids = scored.label_ids(free)
    count = min(asked.sample_size, len(free))
    book.draw(label_ids, count, asked.seed + len(book.draws), names if asked.per_class else None)


def _is_right(scored: Scored, place: int, truth: Answer) -> bool:
    if truth in (SKIPPED, DISPUTED):
        return False
    classes = scored.classes
    return classes.is_right(
        classes.name(int(scored.answers.places[place])), class_of(classes, truth)
    )


def _not_yet(asked: Asked, reviewed: int, missing: int) -> Promise:
    """What is said while the sample waits."""
    return Promise(
        mode="promise" if asked.mode == "promise" else "on average",
        precision=float(asked.precision or 0),
        confidence=asked.confidence if asked.mode == "promise" else None,
        threshold=None,
        reviewed=reviewed,
        passed=0,
        right=0,
        interval=(0.0, 1.0),
        coverage=0.0,
        more=missing,
        reason=(
            f"{missing} of the {reviewed + missing} regions of the random sample are not reviewed: "
            "nothing is promised before all are, as who stops early could stop at a lucky moment"
        ),
    )


def _tested(
    scored: Scored, sample: np.ndarray, correct: np.ndarray, asked: Asked
) -> dict[str, Promise]:
    """The promises: of regions that have an answer and were not learned from."""
    answers, precision = scored.answers, float(asked.precision or 0)
    is_open = scored.is_candidate
    is_open[scored.training] = False
    open_, mine = np.flatnonzero(is_open), is_open[sample]
    tested, right = sample[mine], correct[mine]
    if not len(open_):
        raise AlphaClipError(
            "no region was taken for one of the classes: there is nothing to label"
        )
    scores, candidates = answers.scores[tested], answers.scores[open_]
    if asked.mode == "expected":
        return {OVER_ALL: expected_share(scores, right, precision, candidates=candidates)}
    if not asked.per_class:
        fixed = fix_threshold(scores, right, precision, asked.confidence, candidates=candidates)
        return {OVER_ALL: fixed}
    names = [
        [str(scored.classes.name(int(answers.places[p]))) for p in at] for at in (tested, open_)
    ]
    return fix_thresholds(
        scores,
        right,
        names[0],
        precision,
        asked.confidence,
        candidates=candidates,
        candidate_answers=names[1],
    )


def _promise(values: Mapping[str, Any]) -> Promise:
    """A promise as it was kept."""
    kept = {name: value for name, value in values.items() if name != "estimate"}
    return Promise(**{**kept, "interval": tuple(kept["interval"])})
