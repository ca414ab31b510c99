"""Regions whose human label disagrees with their vectors.

Public: :func:`find_label_errors` and :class:`LabelErrors`.

How sure a disagreement is, is said by cleanlab's confident learning (Northcutt, Jiang and Chuang,
JAIR 2021) on probabilities that no region's own label had a share in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.asking import ask_rows
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.language.loading import open_describer
from alphaclip.language.questions import Question

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot
    from alphaclip.indexing.store.table import VectorTable
    from alphaclip.language.describer import Describer

By = Literal["auto", "texts", "regions", "language"]

FOLDS = 5
LEARNT = 50_000
"""Regions at most that each fold's classifier learns from."""

MOST_CLASSES = 1000
"""For more classes than these, "auto" does not try the regions: a fit would take hours."""

_ROOM = 8_000_000
"""Probabilities in memory at a time: 64 MB."""

_TRIED = 2000
"""Regions that the scale of the cosines is chosen on: a single number needs no more."""

_SCALES = (10.0, 20.0, 40.0, 80.0, 160.0)
"""That are tried, round CLIP's own of 100: other encoders spread their cosines more, or less."""

_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0)
"""The same for log-likelihoods: models that write are mostly too sure."""

_SEED = 0


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Labels that are probably wrong, the surest first.

    Attributes:
        hits: the regions; ``scores`` are the probabilities of the labels they have, in [0, 1]
        given: str (k,), the labels that they have
        suggested: str (k,), what the vectors say
        suggested_scores: float32 (k,), the probabilities of that, in [0, 1]
        is_sure: bool (k,), whether confident learning counts the region among the errors
        judged_by: "texts", "regions" or "language"; see :func:`find_label_errors`
        agreement: share of all judged labels that the vectors agree with, in [0, 1]
        errors: how many of all labels confident learning estimates to be wrong
        judged: how many labels were looked at
        left_out: how many were not: without a class or, by regions, of a class that only one
            picture has
    """

    hits: Hits
    given: np.ndarray
    suggested: np.ndarray
    is_sure: np.ndarray
    judged_by: str
    agreement: float
    errors: int
    judged: int
    left_out: int
    suggested_scores: np.ndarray

    def __len__(self) -> int:
        return len(self.hits)

    def __str__(self) -> str:
        return (
            f"{self.errors:,} of {self.judged:,} labels are probably wrong, judged by "
            f"{self.judged_by}, which agrees with {self.agreement:.0%}; {len(self):,} of them here"
        )


@checked(count=COUNT, by=By)
def find_label_errors(
    index: SearchIndex,
    count: int = 50,
    attribute: str = "label",
    by: By = "auto",
    templates: Sequence[str] | None = None,
    progress: Progress | None = None,
    skip_decided: bool = True,
    model: str | Path | Describer = "auto",
) -> LabelErrors:
    """Finds the regions whose label is most probably wrong.

    Args:
        index: whose regions
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        by ("auto"): where the probabilities are from. "texts": the cosines to the names of the
            classes, which suits an encoder that knows them, and many classes with few regions.
            "regions": logistic regression on the vectors, cross-validated in five parts by
            picture, which suits classes that words do not tell apart. "language": a language
            model, asked what each region is, with the classes for choices. "auto": whichever of
            the first two agrees with more of the labels
        templates (None): that the names are put into, as "a photo of a {}."; None takes the names
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about; the estimates are of all
        model ("auto"): that is asked; what :func:`alphaclip.language.load` gives, or its name

    Raises:
        AlphaClipError: if count is below 1, the attribute is missing, there are fewer than two
            classes, cleanlab is not installed, or the model answers for no region
    """
    _inspector_class()
    describer = open_describer(model) if by == "language" else None
    snapshot = index.snapshot()
    labelled = _Labelled.of(index, snapshot, attribute)
    with shown(progress) as show:
        if describer is not None:
            name, judge = "language", _by_language(index, snapshot, labelled, describer, show)
        else:
            name, judge = _choose(index, labelled, by, templates, show)
        which, quality, best, chance, errors = _inspect(judge, labelled, show)
    given = labelled.given[which]
    rows, differs = labelled.rows[which], best != given
    # Of equal chances those come first that the vectors speak against.
    order = np.lexsort((~differs, quality))
    is_sure = np.arange(len(order)) < errors
    if skip_decided:
        decided = decided_rows(index.dataset, "label errors", snapshot.lookup, attribute)
        is_open = ~np.isin(rows[order], decided)
        order, is_sure = order[is_open], is_sure[is_open]
    order = order[:count]
    scores = quality[order].astype(np.float32)
    return LabelErrors(
        index.hits(snapshot, rows[order], scores, scores),
        labelled.names[given[order]],
        labelled.names[best[order]],
        is_sure[:count],
        name,
        float(1 - differs.mean()),
        errors,
        len(which),
        labelled.without + len(labelled.rows) - len(which),
        chance[order].astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The regions that have a class.

    Attributes:
        table: of all vectors
        rows: int64 (n,), of the regions
        names: str (K,), the classes, sorted
        given: int64 (n,), the class of each region
        pictures: int64 (n,), the picture of each region
        without: regions that have no class
    """

    table: VectorTable
    rows: np.ndarray
    names: np.ndarray
    given: np.ndarray
    pictures: np.ndarray
    without: int

    @classmethod
    def of(cls, index: SearchIndex, snapshot: Snapshot, attribute: str) -> _Labelled:
        classes = names_of(index.dataset, index.field, attribute, snapshot.version.ids)
        rows = np.array([row for row, name in enumerate(classes) if name], np.int64)
        names, given = np.unique([classes[row] or "" for row in rows], return_inverse=True)
        if len(names) < 2:
            raise AlphaClipError(
                f"{index.field}.{attribute} has {len(names)} class(es) in index {index.key!r}: "
                "wrong labels are found by comparing at least two"
            )
        table, pictures = snapshot.version.table, snapshot.pictures[rows]
        return cls(table, rows, names, given, pictures, len(classes) - len(rows))

    def vectors(self, which: np.ndarray) -> np.ndarray:
        """The vectors of some of the regions: float32 (b, dim)."""
        return self.table.take(self.rows[which]).astype(np.float32)


Judge = Callable[[np.ndarray], np.ndarray]
"""Some of the labelled regions, int64 (b,), to the probabilities of the classes, (b, K), that no
region's own label had a share in; lines of NaN where they cannot be judged."""


def _by_texts(labelled: _Labelled, texts: np.ndarray) -> Judge:
    """By the cosines to the names."""
    return _by_softmax(labelled, lambda which: labelled.vectors(which) @ texts.T, _SCALES)


def _by_language(
    index: SearchIndex, now: Snapshot, labelled: _Labelled, describer: Describer, show: Progress
) -> Judge:
    """By how likely a language model takes each name; it is not told the label."""
    question = Question("what is it?", tuple(labelled.names.tolist()))
    evidence = ask_rows(index, now, labelled.rows, describer, question, show)
    return _by_softmax(labelled, lambda which: evidence[which], _WEIGHTS)


def _by_softmax(labelled: _Labelled, scores: Judge, scales: Sequence[float]) -> Judge:
    """Softmax of scores of the names; of some scales with the one that fits the labels best."""
    from scipy.special import softmax

    count = len(labelled.rows)
    sample = np.unique(np.linspace(0, count - 1, min(count, _TRIED)).astype(np.int64))
    tried, given = scores(sample), labelled.given[sample]
    losses = []
    for scale in scales:
        own = softmax(scale * tried, axis=1)[np.arange(len(given)), given]
        losses.append((float(-np.nanmean(np.log(np.maximum(own, 1e-12)))), scale))
    best = min(losses)[1]
    return lambda which: np.asarray(softmax(best * scores(which), axis=1))


def _by_regions(labelled: _Labelled, show: Progress) -> Judge:
    """Logistic regression of the other pictures' regions."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(labelled.pictures)))
    if folds < 2:
        raise AlphaClipError(
            "all regions are of one picture: labels are judged by those of other pictures; "
            "pass by='texts'"
        )
    models: list[Any] = []
    fold = np.zeros(len(labelled.rows), np.int64)
    parts = GroupKFold(folds, shuffle=True, random_state=_SEED)
    for others, own in parts.split(labelled.rows, groups=labelled.pictures):
        fold[own] = len(models)
        if len(others) > LEARNT:
            others = np.random.default_rng(_SEED).choice(others, LEARNT, replace=False)
        given = labelled.given[others]
        # Vectors of unit length need a weak penalty; of one class there is nothing to learn.
        several = len(np.unique(given)) > 1
        model = LogisticRegression(C=10.0, max_iter=500) if several else DummyClassifier()
        models.append(model.fit(labelled.vectors(others), given))
        show("folds learnt", len(models), folds)

    def probabilities(which: np.ndarray) -> np.ndarray:
        chances = np.full((len(which), len(labelled.names)), np.nan)
        vectors, given = labelled.vectors(which), labelled.given[which]
        for number, model in enumerate(models):
            usable = (fold[which] == number) & np.isin(given, model.classes_)
            if usable.any():
                chances[usable] = 0
                chances[np.ix_(usable, model.classes_)] = model.predict_proba(vectors[usable])
        return chances

    return probabilities


def _choose(
    index: SearchIndex,
    labelled: _Labelled,
    by: By,
    templates: Sequence[str] | None,
    show: Progress,
) -> tuple[str, Judge]:
    """The judge that was asked for, or the one that agrees with more labels, and its name."""
    if by == "regions":
        return "regions", _by_regions(labelled, show)
    try:
        texts = index.encoder.recall_text(labelled.names.tolist(), templates)
    except MissingWeightsError:
        if by == "texts":
            raise
        return "regions", _by_regions(labelled, show)
    judges = {"texts": _by_texts(labelled, texts)}
    one_picture = len(np.unique(labelled.pictures)) < 2
    if not (by == "texts" or len(labelled.names) > MOST_CLASSES or one_picture):
        judges["regions"] = _by_regions(labelled, show)
    if len(judges) == 1:
        return "texts", judges["texts"]

    def agreement(name: str) -> int:
        blocks = _blocks(judges[name], labelled)
        return sum(int((c.argmax(axis=1) == labelled.given[some]).sum()) for some, c in blocks)

    best = max(judges, key=agreement)
    return best, judges[best]


def _blocks(judge: Judge, labelled: _Labelled) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Regions that can be judged, int64 (b,), and their probabilities (b, K)."""
    size = max(1, _ROOM // len(labelled.names))
    for start in range(0, len(labelled.rows), size):
        which = np.arange(start, min(start + size, len(labelled.rows)))
        chances = judge(which)
        usable = ~np.isnan(chances[:, 0])
        if usable.any():
            yield which[usable], chances[usable]


def _inspect(
    judge: Judge, labelled: _Labelled, show: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Two passes, as cleanlab asks: how sure each class usually is, then each label.

    Returns:
        the regions that could be judged, the probability of the label of each, the likeliest class
        of each and its probability, and how many labels are estimated to be wrong
    """
    settings = {"num_class": len(labelled.names), "verbose": False, "store_results": False}
    inspector = _inspector_class()(**settings)
    total, parts = len(labelled.rows), []
    for which, chances in _blocks(judge, labelled):
        inspector.update_confident_thresholds(labelled.given[which], chances)
        show("labels compared", int(which[-1]) + 1, total)
    for which, chances in _blocks(judge, labelled):
        quality = inspector.score_label_quality(labelled.given[which], chances)
        parts.append((which, quality, chances.argmax(axis=1), chances.max(axis=1)))
        show("labels judged", int(which[-1]) + 1, total)
    if not parts:
        raise AlphaClipError(
            "each class has regions in one picture only, so none can be judged by other pictures: "
            "pass by='texts'"
        )
    which, quality, best, chance = (np.concatenate(some) for some in zip(*parts, strict=True))
    return which, quality, best, chance, int(inspector.get_num_issues(silent=True))


def _inspector_class() -> Any:
    try:
        from cleanlab.experimental.label_issues_batched import LabelInspector
    except ImportError as error:
        raise AlphaClipError(
            f"label errors need cleanlab ({error}): run `pip install cleanlab`"
        ) from error
    return LabelInspector
