"""Regions whose human label disagrees with their vectors.

Public: :func:`find_label_errors` and :class:`LabelErrors`.

How sure a disagreement is, is said by cleanlab's confident learning (Northcutt, Jiang and Chuang,
JAIR 2021) on probabilities that no region's own label had a share in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.store.segments import as_text

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot
    from alphaclip.indexing.store.table import VectorTable

By = Literal["auto", "texts", "regions"]

FOLDS = 5
LEARNT = 50_000
"""Regions at most that each fold's classifier learns from."""

MOST_CLASSES = 1000
"""For more classes than these, "auto" does not try the regions: a fit would take hours."""

_ROOM = 8_000_000
"""Probabilities in memory at a time."""

_SCALES = (10.0, 20.0, 40.0, 80.0, 160.0)
_SEED = 0


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Labels that are probably wrong, the surest first.

    Attributes:
        hits: the regions; ``scores`` are the probabilities of the labels they have, in [0, 1]
        given: str (k,), the labels that they have
        suggested: str (k,), what the vectors say
        is_sure: bool (k,), whether confident learning counts the region among the errors
        judged_by: "texts" or "regions"; see :func:`find_label_errors`
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

    def __len__(self) -> int:
        return len(self.hits)


def find_label_errors(
    index: SearchIndex,
    count: int = 50,
    attribute: str = "label",
    by: By = "auto",
    templates: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LabelErrors:
    """Finds the regions whose label is most probably wrong.

    Args:
        index: whose regions
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        by ("auto"): where the probabilities are from. "texts": the cosines to the names of the
            classes, which suits an encoder that knows them, and many classes with few regions.
            "regions": logistic regression on the vectors, cross-validated in five parts by
            picture, which suits classes that words do not tell apart. "auto": whichever agrees
            with more of the labels
        templates (None): that the names are put into, as "a photo of a {}."; None takes the names
        progress (None): told how far it is; None shows a bar in the terminal

    Raises:
        AlphaClipError: if count is below 1, the attribute is missing, there are fewer than two
            classes, or cleanlab is not installed
    """
    _inspector_class()
    if count < 1:
        raise AlphaClipError(f"count is {count}: expected a whole number of at least 1")
    if by not in get_args(By):
        raise AlphaClipError(f"by is {by!r}: expected one of {', '.join(get_args(By))}")
    now = index.snapshot()
    labelled = _Labelled.of(index, now, attribute)
    with shown(progress) as show:
        judge = _choose(index, labelled, by, templates, show)
        judged = _inspect(judge, labelled, show)
    return _report(index, now, labelled, judged, count)


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The regions that have a class.

    Attributes:
        table: of all vectors
        places: int64 (n,), of the regions
        names: str (K,), the classes, sorted
        given: int64 (n,), the class of each region
        pictures: int64 (n,), the picture of each region
        without: regions that have no class
    """

    table: VectorTable
    places: np.ndarray
    names: np.ndarray
    given: np.ndarray
    pictures: np.ndarray
    without: int

    @classmethod
    def of(cls, index: SearchIndex, now: Snapshot, attribute: str) -> _Labelled:
        label_ids = as_text(now.version.ids.label_ids).tolist()
        found = names_of(index.dataset, index.field, attribute, label_ids)
        places = np.array([i for i, name in enumerate(found) if name], np.int64)
        names, given = np.unique([found[i] or "" for i in places], return_inverse=True)
        if len(names) < 2:
            raise AlphaClipError(
                f"{index.field}.{attribute} has {len(names)} class(es) in index {index.key!r}: "
                "wrong labels are found by comparing at least two"
            )
        pictures = now.pictures[places]
        return cls(now.version.table, places, names, given, pictures, len(label_ids) - len(places))

    def blocks(self) -> Iterator[np.ndarray]:
        """Which regions to judge together: int64 (b,) each."""
        size = max(1, _ROOM // len(self.names))
        for start in range(0, len(self.places), size):
            yield np.arange(start, min(start + size, len(self.places)))

    def vectors(self, which: np.ndarray) -> np.ndarray:
        """The vectors of some of the regions: float32 (b, dim)."""
        return self.table.take(self.places[which]).astype(np.float32)


class _Judge(Protocol):
    """Gives probabilities that no region's own label had a share in."""

    name: str

    def probabilities(self, which: np.ndarray) -> np.ndarray:
        """Of each class for some regions, (b, K); lines of NaN where they cannot be judged."""
        ...


class _ByTexts:
    """Softmax of the cosines to the names; its scale is the one that fits the labels best."""

    name = "texts"

    def __init__(self, labelled: _Labelled, texts: np.ndarray) -> None:
        self._labelled, self._texts = labelled, texts
        count = len(labelled.places)
        sample = np.unique(np.linspace(0, count - 1, min(count, 2000)).astype(np.int64))
        cosines, given = labelled.vectors(sample) @ texts.T, labelled.given[sample]
        chances = ((_softmax(scale * cosines), scale) for scale in _SCALES)
        losses = [(_loss(chance, given), scale) for chance, scale in chances]
        self._scale = min(losses)[1]

    def probabilities(self, which: np.ndarray) -> np.ndarray:
        return _softmax(self._scale * (self._labelled.vectors(which) @ self._texts.T))


class _ByRegions:
    """Logistic regression of the other pictures' regions."""

    name = "regions"

    def __init__(self, labelled: _Labelled, show: Progress) -> None:
        from sklearn.model_selection import GroupKFold

        folds = min(FOLDS, len(np.unique(labelled.pictures)))
        if folds < 2:
            raise AlphaClipError(
                "all regions are of one picture: labels are judged by those of other pictures; "
                "pass by='texts'"
            )
        self._labelled, self._models = labelled, []
        self._fold = np.zeros(len(labelled.places), np.int64)
        parts = GroupKFold(folds, shuffle=True, random_state=_SEED)
        for number, (others, own) in enumerate(
            parts.split(labelled.places, groups=labelled.pictures)
        ):
            self._fold[own] = number
            self._models.append(_fit(labelled, others))
            show("folds learnt", number + 1, folds)

    def probabilities(self, which: np.ndarray) -> np.ndarray:
        found = np.full((len(which), len(self._labelled.names)), np.nan)
        vectors, given = self._labelled.vectors(which), self._labelled.given[which]
        for number, model in enumerate(self._models):
            usable = (self._fold[which] == number) & np.isin(given, model.classes_)
            if usable.any():
                found[usable] = 0
                found[np.ix_(usable, model.classes_)] = model.predict_proba(vectors[usable])
        return found


def _fit(labelled: _Labelled, others: np.ndarray) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    if len(others) > LEARNT:
        others = np.random.default_rng(_SEED).choice(others, LEARNT, replace=False)
    given = labelled.given[others]
    several = len(np.unique(given)) > 1
    model = LogisticRegression(C=10.0, max_iter=500) if several else DummyClassifier()
    return model.fit(labelled.vectors(others), given)


def _choose(
    index: SearchIndex,
    labelled: _Labelled,
    by: By,
    templates: Sequence[str] | None,
    show: Progress,
) -> _Judge:
    """The judge that was asked for, or the one that agrees with more labels."""
    if by == "regions":
        return _ByRegions(labelled, show)
    try:
        texts = index.encoder.encode_text(labelled.names.tolist(), templates)
    except MissingWeightsError:
        if by == "texts":
            raise
        return _ByRegions(labelled, show)
    words = _ByTexts(labelled, texts)
    one_picture = len(np.unique(labelled.pictures)) < 2
    if by == "texts" or len(labelled.names) > MOST_CLASSES or one_picture:
        return words
    judges: list[_Judge] = [words, _ByRegions(labelled, show)]
    return max(judges, key=lambda one: _agreement(one, labelled))


def _agreement(judge: _Judge, labelled: _Labelled) -> float:
    right = 0
    for which in labelled.blocks():
        found = np.nan_to_num(judge.probabilities(which), nan=-1)
        right += int(((found.argmax(axis=1) == labelled.given[which]) & (found[:, 0] >= 0)).sum())
    return right / len(labelled.places)


@dataclass(frozen=True, eq=False)
class _Judged:
    """What became of each region that could be judged.

    Attributes:
        name: of the judge
        which: int64 (m,), of the labelled regions
        quality: float (m,), probability of the label that the region has
        suggested: int64 (m,), the likeliest class
        errors: how many labels are estimated to be wrong
    """

    name: str
    which: np.ndarray
    quality: np.ndarray
    suggested: np.ndarray
    errors: int


def _inspect(judge: _Judge, labelled: _Labelled, show: Progress) -> _Judged:
    """Two passes, as cleanlab asks: how sure each class usually is, then each label."""
    settings = {"num_class": len(labelled.names), "verbose": False, "store_results": False}
    inspector = _inspector_class()(**settings)
    total = len(labelled.places)
    for which, found in _judged_blocks(judge, labelled):
        inspector.update_confident_thresholds(labelled.given[which], found)
        show("labels compared", int(which[-1]) + 1, total)
    kept, quality, suggested = [], [], []
    for which, found in _judged_blocks(judge, labelled):
        quality.append(inspector.score_label_quality(labelled.given[which], found))
        suggested.append(found.argmax(axis=1))
        kept.append(which)
        show("labels judged", int(which[-1]) + 1, total)
    if not kept:
        raise AlphaClipError(
            "each class has regions in one picture only, so none can be judged by other pictures: "
            "pass by='texts'"
        )
    which, chances, likeliest = (np.concatenate(some) for some in (kept, quality, suggested))
    errors = int(inspector.get_num_issues(silent=True))
    return _Judged(judge.name, which, chances, likeliest, errors)


def _inspector_class() -> Any:
    try:
        from cleanlab.experimental.label_issues_batched import LabelInspector
    except ImportError as error:
        raise AlphaClipError(
            f"label errors need cleanlab ({error}): run `pip install cleanlab`"
        ) from error
    return LabelInspector


def _judged_blocks(judge: _Judge, labelled: _Labelled) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for which in labelled.blocks():
        found = judge.probabilities(which)
        known = ~np.isnan(found[:, 0])
        if known.any():
            yield which[known], found[known]


def _report(
    index: SearchIndex, now: Snapshot, labelled: _Labelled, judged: _Judged, count: int
) -> LabelErrors:
    given = labelled.given[judged.which]
    differs = judged.suggested != given
    # Of equal chances those come first that the vectors speak against.
    order = np.lexsort((~differs, judged.quality))[:count]
    places, scores = labelled.places[judged.which[order]], judged.quality[order].astype(np.float32)
    return LabelErrors(
        index.hits(now, places, scores, scores),
        labelled.names[given[order]],
        labelled.names[judged.suggested[order]],
        np.arange(len(order)) < judged.errors,
        judged.name,
        float(1 - differs.mean()),
        judged.errors,
        len(judged.which),
        labelled.without + len(labelled.places) - len(judged.which),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return np.asarray(softmax(logits, axis=1))


def _loss(chances: np.ndarray, given: np.ndarray) -> float:
    own = chances[np.arange(len(given)), given]
    return float(-np.log(np.maximum(own, 1e-12)).mean())
