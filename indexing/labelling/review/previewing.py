"""What regions would be taken for, before anything is written or drawn.

Public: :func:`preview_classes`, :class:`ClassPreview`, :func:`alternatives` and
:func:`review_choices`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.indexing.labelling.review.runs import Labelling
from alphaclip.indexing.labelling.scoring.classes import Answer, Classes, ClassSet, LabelClass
from alphaclip.indexing.labelling.scoring.scored import choose, in_index, score
from alphaclip.indexing.labelling.scoring.scoring import Scorer, batches
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class ClassPreview:
    """How many regions would be taken for a class, None for "none of these", and some of them, the
    surest first; their scores are rank scores, no cosines."""

    name: str | None
    count: int
    hits: Hits


@checked(examples=(0, 1000))
def preview_classes(
    index: SearchIndex,
    classes: Classes,
    training: Mapping[str, str | None] | None = None,
    templates: Sequence[str] | None = None,
    examples: int = 6,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[ClassPreview]:
    """Answers for all regions of an index; nothing is written, no sample is drawn.

    Texts that were asked about before are not encoded again.

    Args:
        index: whose regions
        classes: names, :class:`LabelClass` objects, or their JSON values
        training (None): label id to class of regions to learn from; reviews are not read
        templates (None): of the prompts
        examples (6): hits of each class, at most
        seed (0): of the folds that the scorer is chosen by
        progress (None): told how far it is; None shows a bar in the terminal

    Returns:
        one for each class in its order, then one for "none of these"

    Raises:
        AlphaClipError: if classes contradict each other, the index is empty, a region to learn
            from is not in it, or ``examples`` is below 0
    """
    checked = ClassSet(classes)
    learnt = checked.learnt_from(training)
    with shown(progress) as show:
        scored = score(index, checked, learnt, templates, seed, show)
    answers, numbers = scored.answers, range(len(checked) + 1)
    order = np.lexsort((-answers.scores, answers.classes))
    bounds = np.searchsorted(answers.classes[order], range(len(numbers) + 1)).tolist()
    firsts = [order[bounds[one] : bounds[one + 1]][:examples] for one in numbers]
    rows = np.concatenate(firsts)
    # All regions are looked up at once, then taken apart by class.
    hits = index.hits(scored.snapshot, rows, answers.scores[rows], answers.scores[rows])
    ends = np.cumsum([len(some) for some in firsts]).tolist()
    return [
        ClassPreview(
            name=checked.name(one),
            count=bounds[one + 1] - bounds[one],
            hits=hits.take(slice(ends[one] - len(firsts[one]), ends[one])),
        )
        for one in numbers
    ]


@checked(count=COUNT)
def alternatives(
    index: SearchIndex,
    classes: Classes,
    label_ids: Sequence[str],
    training: Mapping[str, str | None] | None = None,
    templates: Sequence[str] | None = None,
    count: int = 5,
) -> dict[str, list[str]]:
    """What regions may be: the classes that each is most like.

    Quick when asked again for other regions with the same classes.

    Args:
        index: of the regions
        classes: see :func:`preview_classes`
        label_ids: of the regions; those that are not in the index are left out
        training (None): see there
        templates (None): see there
        count (5): classes for each region, at most

    Returns:
        label id to names of classes, the likeliest first, without "none of these"

    Raises:
        AlphaClipError: see there; or if ``count`` is below 1
    """
    checked, snapshot = ClassSet(classes), index.snapshot()
    rows = snapshot.lookup.find_named(label_ids)
    there = [key for key, row in zip(label_ids, rows, strict=True) if row >= 0]
    if not there:
        return {}
    learnt = tuple(checked.learnt_from(training).items())
    wording = None if templates is None else tuple(templates)
    scorer = _scorer(index, snapshot, tuple(checked), learnt, wording)
    vectors = np.asarray(snapshot.version.table.take(rows[rows >= 0]), np.float32)
    names, likeliest = checked.names, []
    for some in batches(vectors, scorer):
        logits = scorer.logits(some)[:, : scorer.classes]
        for row, order in zip(logits, np.argsort(-logits, axis=1, kind="stable"), strict=True):
            # A logit of -inf is that of a class without text or example.
            best = [one for one in order[:count].tolist() if row[one] > -np.inf]
            likeliest.append([names[one] for one in best])
    return dict(zip(there, likeliest, strict=True))


@checked(count=COUNT)
def review_choices(
    index: SearchIndex, labelling: Labelling, label_ids: Sequence[str], count: int = 9
) -> dict[str, list[str]]:
    """What number keys stand for in a review: the classes that each region may be.

    Args:
        index: of the regions
        labelling: what :func:`alphaclip.indexing.labelling.review.runs.labelling_of` gives
        label_ids: of the regions
        count (9): classes for each region, at most

    Returns:
        label id to names of classes: what the last run took it for, then those that it is most like
        as far as that run had learned; where that cannot be told, in the order of the classes

    Raises:
        AlphaClipError: see :func:`alternatives`
    """
    likeliest = {}
    if labelling.class_set:
        learnt, templates = in_index(index, labelling.learnt), labelling.settings.get("templates")
        classes = list(labelling.class_set)
        likeliest = alternatives(index, classes, label_ids, learnt, templates, count)
    choices = {}
    for label_id in label_ids:
        answer = labelling.answers.get(label_id)
        names = likeliest.get(label_id, list(labelling.classes))
        first = [] if answer is None else [answer]
        choices[label_id] = [*first, *(name for name in names if name != answer)][:count]
    return choices


@lru_cache(maxsize=2)
def _scorer(
    index: SearchIndex,
    snapshot: Snapshot,
    classes: tuple[LabelClass, ...],
    learnt: tuple[tuple[str, Answer], ...],
    templates: tuple[str, ...] | None,
) -> Scorer:
    """Kept for the pages of a review, as with examples it takes seconds to choose one; the second
    is for whoever goes to and fro between two sets of classes."""
    return choose(index, snapshot, ClassSet(classes), dict(learnt), templates, 0)[0].scorer
