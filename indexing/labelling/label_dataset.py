"""Labels the regions of an index: scores, tests the reviewed sample, writes, queues and reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.calibration import Calibration, calibrate
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.dataset.labels import split_attribute
from alphaclip.indexing.dataset.records import new_key
from alphaclip.indexing.labelling.deciding import Decision, decide, with_sample, with_test
from alphaclip.indexing.labelling.promise.drift import SAMPLE, Drift, Regions, find_drift
from alphaclip.indexing.labelling.report import Labelled, LabelReport, make_report
from alphaclip.indexing.labelling.report_pictures import pick_regions
from alphaclip.indexing.labelling.review.queueing import queue_of
from alphaclip.indexing.labelling.review.runs import (
    Labelling,
    ReviewBook,
    add_reviews,
    book_of,
    labelling_of,
    report_of,
)
from alphaclip.indexing.labelling.scoring.classes import Answer, Classes, ClassSet
from alphaclip.indexing.labelling.scoring.language import ask_classes
from alphaclip.indexing.labelling.scoring.scored import Scored, in_index, score
from alphaclip.indexing.labelling.seen import Seen
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.labelling.writing import check_into, write
from alphaclip.indexing.progress import Progress, shown

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.hits import Hits
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.language.describer import Describer

REVIEW = "review"
"""What stands for the model where a person gave the answer."""

MOST_KEPT = 4_000_000
"""Characters of classes in JSON that are kept with the state, which has to fit into 16 MB."""

POOL = 20
"""Times ``SAMPLE`` regions are read for the drift test, which takes one of each picture."""

Reviews = Mapping[str, str | None] | str | None


def label_dataset(
    index: SearchIndex,
    classes: Classes,
    settings: LabelSettings,
    reviews: Reviews = None,
    training: Mapping[str, str | None] | None = None,
    progress: Progress | None = None,
    describer: Describer | None = None,
) -> LabelReport:
    """Labels the regions of an index; see :meth:`RegionIndex.label`.

    Raises:
        AlphaClipError: see there
    """
    # Score, by what was learned: a promise that was made keeps what it was made with.
    dataset, into, checked = index.dataset, settings.into, ClassSet(classes)
    state = check_run(index, settings, reviews)
    book = book_of(dataset, state)
    if isinstance(reviews, Mapping):
        reviews = _named(index, reviews)
    _add_reviews(index, into, book, checked, reviews)
    is_sample = settings.sample == "reviews" and isinstance(reviews, Mapping)
    label_ids = list(reviews) if reviews and is_sample else None
    # A sample that is given once more is not drawn anew, so it is not learned from either.
    is_again = label_ids is not None and set(label_ids) == set(book.sample)
    book.is_spent = (book.is_spent or (settings.retrain and bool(book.draws))) and not is_again
    learnt = _learnt(index, state, book, checked, training, settings)
    with shown(progress) as show:
        in_words = None
        if describer is not None:
            in_words = ask_classes(index, index.snapshot(), checked, describer, show)
        scored = score(index, checked, learnt, settings.templates, settings.seed, show, in_words)
    digest, ids = _digest(settings, scored, learnt, describer), scored.snapshot.version.ids
    class_set = tuple(one.to_dict() for one in checked)
    fits = len(json.dumps(class_set)) <= MOST_KEPT
    state = replace(state, class_set=class_set if fits else (), settings=asdict(settings))

    # Test: a sample is drawn once, and tested once all of it is reviewed.
    population = Seen(dataset, ("population", index.key, into), "")
    decision = Decision(passes=scored.is_candidate)
    if settings.chosen_mode == "promise":
        drawn = with_sample(state, book, scored, settings, digest, label_ids)
        if drawn is not state:
            state = replace(drawn, learnt=dict(learnt))
            state.save(dataset)
            population.add(ids, f"draw-{new_key()}", forget=True)
        _add_reviews(index, into, book, checked, reviews)
        decision = decide(state, book, scored, settings, digest)
    state = with_test(state, decision, digest, learnt)

    # Write what passes, but for new regions that are not like those of the sample; and what
    # people said.
    seen = Seen(dataset, ("label", index.key, into), digest)
    is_new, held, drift = seen.is_new(ids), np.zeros(len(scored), bool), None
    if decision.is_promised:
        is_later = population.is_new(ids)
        drift = _drift(scored, is_later, is_later & is_new, settings.seed)
        if drift is not None and drift.moved:
            held = is_later & is_new
    said = {**learnt, **book.agreed("training", "promise")}
    rows = scored.rows(list(said))
    there = zip(said.values(), rows.tolist(), strict=True)
    names = [checked.own_name(name) for name, row in there if row >= 0]
    passes = decision.passes & ~held
    passes[rows[rows >= 0]] = False
    labelled = Labelled(passes, held, rows[rows >= 0], names, drift)
    calibration = _calibration(scored)
    scores = scored.answers.scores.astype(np.float32)
    if not calibration.is_ranking:
        scores = calibration.probabilities(scored.answers.scores, scored.answers.classes)
    looked_at = is_new if settings.new_only else np.ones(len(ids), bool)
    run = new_key()
    # Before the first label is written: a run that is cut off is known to whoever undoes it
    before = labelling_of(dataset, into) or Labelling(into, index.key)
    replace(before, runs=(*before.runs, run)).save(dataset)
    hits, answers = _answers(index, scored, labelled, looked_at, scores, run)
    action, written = write(hits, answers, into, run, settings.overwrite)
    seen.add(ids.take(looked_at & ~held), action.id, forget=not settings.new_only)
    if action.count:
        state = replace(state, runs=(*state.runs, action.id))

    # Queue the rest, and report; both are kept for whoever reviews.
    queue, waiting = queue_of(scored, book, labelled.waits)
    machine = np.flatnonzero(labelled.passes & looked_at)
    are_written = [region in written for region in hits.region_ids[: len(machine)]]
    machine = machine[np.array(are_written, bool)]
    pictures = pick_regions(
        scored, machine, scores, labelled.reviewed, labelled.names, settings.seed
    )
    if not action.count:
        pictures |= _earlier_pictures(dataset, before)
    done = (decision, labelled, action, calibration, scores, pictures)
    report = make_report(index, state, scored, *done)
    judged = [*book.sample, *queue]
    rows = scored.rows(judged)
    answered = zip(judged, rows.tolist(), scored.names(rows), strict=True)
    replace(
        state,
        queue=tuple(queue),
        waiting=waiting,
        classes=tuple(checked.names),
        answers={label_id: name for label_id, row, name in answered if row >= 0},
        report=report.to_dict(),
    ).save(dataset)
    return report


def check_run(index: SearchIndex, settings: LabelSettings, reviews: Reviews) -> Labelling:
    """Checks what a run is given against the dataset, before any work; returns the state.

    Raises:
        AlphaClipError: if `into` cannot be labelled from this index, or the reviews are none
    """
    into = settings.into
    check_into(index.dataset, index.field, into)
    if settings.sample == "reviews" and not (isinstance(reviews, Mapping) and reviews):
        raise AlphaClipError("sample is 'reviews': pass the reviews as a dict of label ids")
    if not isinstance(reviews, str):
        check("reviews", reviews, "Mapping[str, str | None] | None")
    if isinstance(reviews, str):
        field, attribute = split_attribute(reviews)
        if field != index.field or not attribute:
            raise AlphaClipError(
                f"reviews is {reviews!r}: expected an attribute of the index's own field, as "
                f"'{index.field}.label'"
            )
    state = labelling_of(index.dataset, into) or Labelling(into, index.key)
    if state.key != index.key:
        raise AlphaClipError(
            f"{into!r} is labelled from index {state.key!r}: give another `into`, such as "
            f"'{into}_{index.key}', for the labels of index {index.key!r}"
        )
    return state


def _named(index: SearchIndex, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """The same by the names that the samples and the queue have; regions that are not in the index
    stay as they are called."""
    lookup = index.snapshot().lookup
    rows = lookup.find_named(list(answers))
    names = np.array(list(answers), object)
    names[rows >= 0] = lookup.names(rows[rows >= 0])
    return dict(zip(names.tolist(), answers.values(), strict=True))


def _learnt(
    index: SearchIndex,
    state: Labelling,
    book: ReviewBook,
    classes: ClassSet,
    training: Mapping[str, str | None] | None,
    settings: LabelSettings,
) -> dict[str, Answer]:
    """What to learn from: label id to class."""
    taught = _named(index, classes.learnt_from(training))
    both = [] if book.is_spent else sorted(set(book.sample) & set(taught))
    if both:
        raise AlphaClipError(
            f"{len(both)} regions of training, the first {both[0]}, are in the promise's random "
            "sample, which is used for nothing else: leave them out"
        )
    reviewed = state.learnt if _keeps_scorer(state, book, settings) else book.examples()
    there = in_index(index, reviewed)
    return {key: classes.own_name(name) for key, name in there.items()} | taught


def _keeps_scorer(state: Labelling, book: ReviewBook, settings: LabelSettings) -> bool:
    """Whether nothing new is learned, as that would take a new sample."""
    if book.is_spent or not book.draws:
        return False
    if state.tested_with:
        return state.is_promised
    # Who taught while half of a sample is answered could go on until the answers suit. Earlier
    # versions, which gave no share of the risk, did not keep what a sample was drawn with.
    is_begun = bool(book.settled("promise")) and book.draws[-1].share < 1
    return is_begun and settings.chosen_mode == "promise"


def _digest(
    settings: LabelSettings,
    scored: Scored,
    learnt: Mapping[str, Answer],
    describer: Describer | None,
) -> str:
    """Of all that decides an answer and its test; it is kept with the state, so it must not change
    between versions."""
    mode, encoder = settings.chosen_mode, scored.snapshot.version.info["fingerprint"]
    classes = [asdict(one) for one in scored.classes]
    shares = (settings.precision, settings.confidence, settings.per_class)
    goal = (mode, *shares, settings.sample, settings.seed)
    if describer is not None:
        encoder = f"{encoder} {describer.fingerprint}"
    parts = (goal, classes, settings.templates, sorted(learnt.items()), encoder)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _add_reviews(
    index: SearchIndex, into: str, book: ReviewBook, classes: ClassSet, reviews: Reviews
) -> None:
    """Keeps what the reviews say of the sample; of an attribute, where it has a value."""
    some: dict[str, str | None]
    if isinstance(reviews, str):
        who, (field, attribute) = reviews, split_attribute(reviews)
        snapshot = index.snapshot()
        rows = snapshot.lookup.find_named(book.sample)
        ids = snapshot.version.ids.take(rows[rows >= 0])
        there = compress(book.sample, rows >= 0)
        names = names_of(index.dataset, field, attribute, ids)
        some = {key: name for key, name in zip(there, names, strict=True) if name}
    else:
        who, some = "python", dict(reviews or {})
    answers = {key: classes.own_name(some[key]) for key in book.sample if key in some}
    before = book.answers["promise"]
    fresh = {key: a for key, a in answers.items() if before.get(key, {}).get(who, ...) != a}
    if fresh:
        add_reviews(index.dataset, into, fresh, reviewer=who)
        book.add("promise", fresh, who)


def _drift(scored: Scored, is_later: np.ndarray, is_fresh: np.ndarray, seed: int) -> Drift | None:
    """Compares regions that came after the draw with those that were drawn from, of which nothing
    was learned; bool (n,) each."""
    if not is_fresh.any():
        return None
    before = ~is_later
    before[scored.training] = False
    sides = []
    for which in (before, is_fresh, is_later):
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(np.flatnonzero(which))[: POOL * SAMPLE])
        pictures = scored.snapshot.pictures[rows]
        sides.append(Regions(scored.vectors(rows), scored.answers.scores[rows], pictures))
    drift = find_drift(sides[0], sides[1], seed=seed)
    # A few pictures each night say nothing by themselves, in the end they do together.
    return find_drift(sides[0], sides[2], seed=seed) if drift.moved is None else drift


def _calibration(scored: Scored) -> Calibration:
    """Learned from the regions that the scorer was trained on, by scorers that did not see them."""
    answers = scored.held_out()
    pairs = zip(answers.classes.tolist(), scored.truths.tolist(), strict=True)
    right = [scored.classes.is_right(answer, truth) for answer, truth in pairs]
    return calibrate(answers.scores, np.array(right, bool), answers.classes)


def _earlier_pictures(dataset: fo.Dataset, before: Labelling) -> dict[str, Any]:
    """What the run before wrote, if it stands: of a run that changes nothing, that is shown."""
    pictures = report_of(dataset, before).get("pictures", {})
    return {name: pictures[name] for name in ("least_sure", "random") if name in pictures}


def _answers(
    index: SearchIndex,
    scored: Scored,
    labelled: Labelled,
    looked_at: np.ndarray,
    scores: np.ndarray,
    run: str,
) -> tuple[Hits, dict[tuple[str, str], dict[str, Any]]]:
    """The answers that pass of the regions that are looked at, and those of people."""
    passing = np.flatnonzero(labelled.passes & looked_at)
    pairs = zip(labelled.reviewed.tolist(), labelled.names, strict=True)
    by_people = {row: name for row, name in pairs if name is not None}
    rows = np.concatenate([passing, np.array(list(by_people), np.int64)])
    snapshot, model = scored.snapshot, f"{scored.model}, {scored.choice.kind}"
    hits = index.hits(snapshot, rows, scores[rows], scores[rows])
    names = [*map(str, scored.names(passing)), *by_people.values()]
    models = [model] * len(passing) + [REVIEW] * len(by_people)
    made_of = snapshot.version.ids.fingerprints[rows].tolist()
    columns = (hits.region_ids, names, hits.scores.tolist(), models, made_of)
    return hits, {
        region: {
            "label": name,
            "score": score,
            "model": model,
            "index_version": snapshot.version.number,
            "run": run,
            "made_of": fingerprint.decode(),
        }
        for region, name, score, model, fingerprint in zip(*columns, strict=True)
    }
