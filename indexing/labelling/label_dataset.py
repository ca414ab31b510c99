"""Labels the regions of an index: scores, decides by the reviewed sample, writes, and reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.labelling.deciding import (
    Asked,
    Decision,
    decide,
    known_answers,
    with_sample,
)
from alphaclip.indexing.labelling.outcome import (
    Outcome,
    calibration_of,
    make_report,
    queue_of,
    score_columns,
)
from alphaclip.indexing.labelling.promise.drift import SAMPLE, Drift, Regions, find_drift
from alphaclip.indexing.labelling.report import LabelReport
from alphaclip.indexing.labelling.review.reviewing import Answer, ReviewBook
from alphaclip.indexing.labelling.review.runs import Labelling, add_reviews, book_of, labelling_of
from alphaclip.indexing.labelling.scoring.classes import ClassSet, LabelClass
from alphaclip.indexing.labelling.scoring.scored import Scored, score
from alphaclip.indexing.labelling.scoring.teaching import class_of, taught
from alphaclip.indexing.labelling.seen import Seen
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.labelling.writing import Written, check_into, write
from alphaclip.indexing.progress import Progress, shown

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex

REVIEW = "review"
"""What stands for the model where a person gave the answer."""

MOST_KEPT = 4_000_000
"""Characters of classes in JSON that are kept with the state, which has to fit into 16 MB."""

Classes = Iterable[str | LabelClass | Mapping[str, Any]]
Reviews = Mapping[str, str | None] | str | None


def label_dataset(
    index: SearchIndex,
    classes: Classes,
    settings: LabelSettings,
    reviews: Reviews = None,
    training: Mapping[str, str | None] | None = None,
    progress: Progress | None = None,
) -> LabelReport:
    """Labels the regions of an index; see :meth:`RegionIndex.label`.

    Raises:
        AlphaClipError: see there
    """
    checked = ClassSet(classes)
    labelling = check_asked(index, settings, reviews)
    book = book_of(index.dataset, labelling)
    learnt = _learnt(labelling, book, checked, training, settings.retrain)
    with shown(progress) as show:
        scored = score(index, checked, learnt, settings.templates, settings.seed, show)
    return _Run(index, settings, scored, learnt).finish(labelling, book, reviews)


def check_asked(index: SearchIndex, settings: LabelSettings, reviews: Reviews) -> Labelling:
    """Checks what a run is given against the dataset, before any work; returns the state.

    Raises:
        AlphaClipError: if `into` cannot be labelled from this index, or the reviews are none
    """
    check_into(index.dataset, index.field, settings.into)
    _check_reviews(index, settings, reviews)
    return _state(index, settings.into)


@dataclass(frozen=True, eq=False)
class _Run:
    """One run, once all regions are scored.

    Attributes:
        index: of the regions
        settings: what is asked for
        scored: all regions
        learnt: label id to class of those that the scorer learned from
    """

    index: SearchIndex
    settings: LabelSettings
    scored: Scored
    learnt: Mapping[str, str | None]

    def finish(self, labelling: Labelling, book: ReviewBook, reviews: Reviews) -> LabelReport:
        """Tests, writes what passes, queues the rest, and reports."""
        asked, decision = self._asked(), Decision.of_ranking()
        labelling = replace(labelling, class_set=self._class_set(), settings=asdict(self.settings))
        if asked.mode != "ranking":
            labelling = self._sampled(labelling, book, asked, reviews)
            decision = decide(labelling, book, self.scored, asked)
        if decision.is_tested:
            promises = {name: one.to_dict() for name, one in decision.promises.items()}
            tested = {"tested_with": asked.digest, "learnt": dict(self.learnt)}
            labelling = replace(labelling, promises=promises, **tested)
        ids, seen = self.scored.now.version.ids, self._seen("label", asked.digest)
        is_new = seen.is_new(ids)
        outcome = self._outcome(book, decision, is_new)
        wanted = is_new if self.settings.new_only else np.ones(len(ids), bool)
        calibration = calibration_of(self.scored)
        written = self._written(outcome, wanted, score_columns(self.scored, calibration))
        action = write(written, labelling.into, self.settings.overwrite)
        seen.add(ids.take(wanted & ~outcome.held), action.id, not self.settings.new_only)
        if action.count:
            labelling = replace(labelling, runs=(*labelling.runs, action.id))
        facts = (labelling, self.scored, decision, outcome, action, calibration)
        report = make_report(self.index, *facts)
        self._keep(labelling, book, outcome, report)
        return report

    def _class_set(self) -> tuple[dict[str, Any], ...]:
        values = tuple(one.to_dict() for one in self.scored.classes)
        return values if len(json.dumps(values)) <= MOST_KEPT else ()

    def _asked(self) -> Asked:
        own, classes = self.settings, [asdict(one) for one in self.scored.classes]
        mode, encoder = own.chosen_mode, self.scored.now.version.info["fingerprint"]
        goal = (mode, own.precision, own.confidence, own.per_class, own.sample, own.seed)
        parts = (goal, classes, own.templates, sorted(self.learnt.items()), encoder)
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        count = own.sample if isinstance(own.sample, int) else None
        return Asked(mode, own.precision, own.confidence, own.per_class, count, own.seed, digest)

    def _sampled(
        self, labelling: Labelling, book: ReviewBook, asked: Asked, reviews: Reviews
    ) -> Labelling:
        """The state with a sample, and what the reviews say of it in the book."""
        given = isinstance(reviews, Mapping) and self.settings.sample == "reviews"
        keys = list(reviews) if given and reviews else None
        drawn = with_sample(labelling, book, self.scored, asked, keys)
        if drawn is not labelling:
            drawn.save(self.index.dataset)
            name = f"draw-{len(book.draws)}"
            self._seen("population").add(self.scored.now.version.ids, name, forget=True)
        who = reviews if isinstance(reviews, str) else "python"
        own = {key: given.get(who, ...) for key, given in book.answers["promise"].items()}
        answers = self._of_sample(book, reviews)
        fresh = {key: answer for key, answer in answers.items() if own.get(key, ...) != answer}
        if fresh:
            add_reviews(self.index.dataset, drawn.into, fresh, reviewer=who)
            book.add("promise", fresh, who)
        return drawn

    def _of_sample(self, book: ReviewBook, reviews: Reviews) -> dict[str, str | None]:
        """What the reviews say of the sample; of an attribute, where it has a value."""
        sample, found = book.sample.label_ids, reviews
        if isinstance(reviews, str):
            field, _, attribute = reviews.partition(".")
            names = names_of(self.index.dataset, field, attribute, sample)
            found = {key: name for key, name in zip(sample, names, strict=True) if name}
        some = found if isinstance(found, Mapping) else {}
        return {key: class_of(self.scored.classes, some[key]) for key in sample if key in some}

    def _outcome(self, book: ReviewBook, decision: Decision, is_new: np.ndarray) -> Outcome:
        said = {**self.learnt, **known_answers(book)}
        places = self.scored.places(list(said))
        names = [class_of(self.scored.classes, name) for name in said.values()]
        known = places[places >= 0]
        is_ranking = self.settings.chosen_mode == "ranking"
        passes = self.scored.is_candidate if is_ranking else decision.passes(self.scored)
        later = self._seen("population").is_new(self.scored.now.version.ids)
        drift = self._drift(later, later & is_new) if decision.is_promised else None
        held = later & is_new if drift is not None and drift.moved else np.zeros(len(passes), bool)
        passes = passes & ~held
        passes[known] = False
        kept = [name for name, place in zip(names, places, strict=True) if place >= 0]
        return Outcome(passes, held, known, kept, drift)

    def _drift(self, later: np.ndarray, fresh: np.ndarray) -> Drift | None:
        """Compares new regions with those that the sample was drawn from."""
        if not fresh.any():
            return None
        before = ~later
        before[self.scored.training] = False
        known, new, all_new = (self._regions(side) for side in (before, fresh, later))
        drift = find_drift(known, new, seed=self.settings.seed)
        if drift.moved is None:
            # A few pictures each night say nothing by themselves, in the end they do together.
            return find_drift(known, all_new, seed=self.settings.seed)
        return drift

    def _regions(self, which: np.ndarray) -> Regions:
        """A random part of those in a mask (n,) that is large enough for the test."""
        rng = np.random.default_rng(self.settings.seed)
        some = np.sort(rng.permutation(np.flatnonzero(which))[: 20 * SAMPLE])
        pictures = self.scored.now.pictures[some]
        return Regions(self.scored.vectors(some), self.scored.answers.scores[some], pictures)

    def _written(self, outcome: Outcome, wanted: np.ndarray, scores: np.ndarray) -> Written:
        """The answers that pass, and those of people."""
        now, classes = self.scored.now, self.scored.classes
        passing = np.flatnonzero(outcome.passes & wanted)
        said = [(p, n) for p, n in zip(outcome.known, outcome.names, strict=True) if n is not None]
        places = np.concatenate([passing, np.array([p for p, _ in said], np.int64)])
        answers = [str(classes.name(p)) for p in self.scored.answers.places[passing].tolist()]
        model = f"{self.index.info()['encoder']}, {self.scored.choice.kind}"
        made_of = now.version.ids.fingerprints[places].tolist()
        return Written(
            self.index.hits(now, places, scores[places], scores[places]),
            [*answers, *(name for _, name in said)],
            [*[model] * len(passing), *[REVIEW] * len(said)],
            [one.decode() for one in made_of],
            now.version.number,
        )

    def _keep(
        self, labelling: Labelling, book: ReviewBook, outcome: Outcome, report: LabelReport
    ) -> None:
        """Keeps the queue and the answers to be judged with the dataset."""
        queue, waiting = queue_of(self.scored, book, outcome)
        asked = [*(book.sample.label_ids if book.draws else ()), *queue]
        places = self.scored.places(asked)
        answers = {
            label: self.scored.classes.name(int(self.scored.answers.places[place]))
            for label, place in zip(asked, places, strict=True)
            if place >= 0
        }
        classes = tuple(self.scored.classes.names)
        told = {"classes": classes, "answers": answers, "report": report.to_dict()}
        replace(labelling, queue=tuple(queue), waiting=waiting, **told).save(self.index.dataset)

    def _seen(self, what: str, settings: str = "") -> Seen:
        return Seen(self.index.dataset, (what, self.index.key, self.settings.into), settings)


def _check_reviews(index: SearchIndex, settings: LabelSettings, reviews: Reviews) -> None:
    if settings.sample == "reviews" and not (isinstance(reviews, Mapping) and reviews):
        raise AlphaClipError("sample is 'reviews': pass the reviews as a dict of label ids")
    if isinstance(reviews, str):
        field, _, attribute = reviews.partition(".")
        if field != index.field or not attribute:
            raise AlphaClipError(
                f"reviews is {reviews!r}: expected an attribute of the index's own field, as "
                f"'{index.field}.label'"
            )


def _state(index: SearchIndex, into: str) -> Labelling:
    labelling = labelling_of(index.dataset, into) or Labelling(into, index.key)
    if labelling.key != index.key:
        raise AlphaClipError(
            f"{into!r} is labelled from index {labelling.key!r}: give another `into`, such as "
            f"'{into}_{index.key}', for the labels of index {index.key!r}"
        )
    return labelling


def _learnt(
    labelling: Labelling,
    book: ReviewBook,
    classes: ClassSet,
    training: Mapping[str, str | None] | None,
    retrain: bool,
) -> dict[str, str | None]:
    """What to learn from; a promise that was made keeps what it was made with."""
    drawn = {label_id for draw in book.draws for label_id in draw.label_ids}
    given = taught(classes, training)
    both = sorted(drawn & set(given))
    if both:
        raise AlphaClipError(
            f"{len(both)} regions of training, the first {both[0]}, are in the promise's random "
            "sample, which is used for nothing else: leave them out"
        )
    keeps = labelling.is_promised and not retrain
    reviewed: Mapping[str, Answer] = labelling.learnt if keeps else book.examples()
    return {key: class_of(classes, name) for key, name in reviewed.items()} | given
