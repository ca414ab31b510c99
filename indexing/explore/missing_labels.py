"""Labels that are missing: proposals that no label covers, and that are like labels of a class.

Public: :func:`find_missing_labels`, :func:`proposals_for` and :class:`MissingLabels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.dataset.overlaps import iou, nested
from alphaclip.indexing.dataset.schema import mask_settings
from alphaclip.indexing.explore.label_errors import FOLDS, LEARNT
from alphaclip.indexing.explore.unlabelled import (
    MAX_IOU,
    check_proposals,
    is_of_proposals,
    read_beside,
)
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.regions.region import Region

NEIGHBORS, BATCH = 5, 1024
"""Proposals on labels that give the class, and proposals that are compared with them at a time."""

BACKGROUND = ""
"""The class of what lies on no label."""

SAME = 0.5
"""IoU from which on a proposal has the class of a label, as in COCO's evaluation."""

PART = 0.7
"""Of the smaller of two boxes so much is in the other where one is a part of the other: a quarter
of an apple is like an apple too, but no apple that nobody labelled."""

_FIRST = 4
"""Times count proposals are looked at first; then, while some are missing, as many again and
more."""


@dataclass(frozen=True, eq=False)
class MissingLabels:
    """Proposals that are probably objects without a label, the surest first.

    Attributes:
        hits: the proposals; ``scores`` are how probable it is that each is an object of a class,
            in [0, 1]
        suggested: str (k,), the class that each probably has
    """

    hits: Hits
    suggested: np.ndarray

    def __len__(self) -> int:
        return len(self.hits)


@checked(count=COUNT, max_iou=SHARE)
def find_missing_labels(
    index: SearchIndex,
    count: int = 50,
    attribute: str = "label",
    max_iou: float = MAX_IOU,
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> MissingLabels:
    """Finds objects of the classes in use that have no label.

    Logistic regression on the vectors, cross-validated by picture, learns from the proposals that
    lie on labels and those that lie on none what an object is; the class is that of the nearest
    proposals on labels. A proposal is left out if it overlaps a label, or is a part of a label of
    its class, or of a proposal that is surer; what lies inside of a label of another class comes
    last. The labels of all fields count, but for those that a segmenter made.

    Args:
        index: of proposals, such as automatic masks, see :func:`is_of_proposals`
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        max_iou (0.3): IoU with a label from which on a proposal is of the same object; in (0, 1]
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about

    Raises:
        AlphaClipError: if the index is not of proposals, no proposal lies on a label with a class,
            or all are of one picture
    """
    check_proposals(index)
    now, fields = index.snapshot(), _fields_with_classes(index)
    with shown(progress) as show:
        classes, is_inside = _compare(index, fields, attribute, max_iou, show)
        clear = np.flatnonzero([name is not None for name in classes])
        is_object = classes[clear] != BACKGROUND
        chances = _chances(now, clear, is_object, show)
        rows, scores = clear[~is_object], chances[~is_object]
        suggested = _nearest_classes(now, rows, classes)
        order = np.lexsort((-scores, is_inside[rows]))
        if skip_decided:
            decided = decided_rows(index.dataset, "missing labels", now.lookup)
            order = order[~np.isin(rows[order], decided)]
        ranked = index.hits(now, rows[order], scores[order], scores[order])
        walk = _Walk(index, fields, attribute, max_iou)
        which = walk.first_missing(ranked, suggested[order], count, show)
    return MissingLabels(ranked.take(which), suggested[order][which].astype(str))


def proposals_for(labelled: SearchIndex) -> SearchIndex:
    """The first index of proposals by the encoder of an index of labels, so that what is found in
    one can be compared with the other.

    Raises:
        AlphaClipError: if there is none; says how to make one
    """
    dataset = labelled.dataset
    of = labelled.snapshot().version.info["fingerprint"]
    for key in index_keys(dataset):
        index = SearchIndex(dataset, key)
        is_alike = index.snapshot().version.info["fingerprint"] == of
        if key != labelled.key and is_alike and is_of_proposals(dataset, index.field):
            return index
    raise AlphaClipError(
        f"no index of proposals by the encoder of {labelled.key!r} is there, to find what has no "
        "label: “Segment regions” without a field (indexing.segment(dataset, into='proposals')) "
        "makes some of everything in a picture; then “Embed regions” (indexing.build) embeds them"
    )


def _compare(
    index: SearchIndex, fields: Sequence[str], attribute: str, max_iou: float, show: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """The class of the label that each proposal lies on, object (n,): empty where it lies on none,
    None where that is not clear or the label has no class; and whether it is inside of a label, or
    has one inside: bool (n,)."""
    now = index.snapshot()
    classes, everything = np.full(len(now), None, object), np.arange(len(now))
    is_inside = np.zeros(len(now), bool)
    beside = read_beside(index.hits(now, everything, *np.zeros((2, len(now)))), index, fields)
    for number, (_, proposals, labels) in enumerate(beside, 1):
        for row, region in proposals:
            overlap, on = max(
                ((iou(region, covers), place) for place, (_, covers) in enumerate(labels)),
                default=(0.0, -1),
            )
            is_inside[row] = any(nested(region, covers) >= PART for _, covers in labels)
            if overlap < max_iou:
                classes[row] = BACKGROUND
            elif overlap >= SAME:
                classes[row] = getattr(labels[on][0], attribute, None) or None
        show("pictures compared", number, len(np.unique(now.pictures)))
    if not any(classes):
        raise AlphaClipError(
            f"no proposal of index {index.key!r} lies on a label with a class in {attribute!r}: "
            "missing labels are found by those that are like them"
        )
    return classes, is_inside


def _chances(now: Snapshot, rows: np.ndarray, is_object: np.ndarray, show: Progress) -> np.ndarray:
    """How probable it is that each of some proposals is an object, judged by those of other
    pictures: float32 (n,)."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(now.pictures[rows])))
    if folds < 2:
        raise AlphaClipError("all proposals are of one picture: each is judged by other pictures")
    chances = np.zeros(len(rows), np.float32)
    split = GroupKFold(folds, shuffle=True, random_state=0).split(rows, groups=now.pictures[rows])
    for number, (others, own) in enumerate(split, 1):
        if len(others) > LEARNT:
            others = np.random.default_rng(0).choice(others, LEARNT, replace=False)
        several = len(np.unique(is_object[others])) > 1
        model: Any = LogisticRegression(C=10.0, max_iter=500) if several else DummyClassifier()
        model.fit(now.vectors(rows[others]), is_object[others])
        if model.classes_[-1]:
            chances[own] = model.predict_proba(now.vectors(rows[own]))[:, -1]
        show("folds learnt", number, folds)
    return chances


def _nearest_classes(now: Snapshot, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class that most of the nearest proposals on labels have, by cosine: object (n,)."""
    on_labels = np.flatnonzero([bool(name) for name in classes])
    suggested = np.full(len(rows), None, object)
    for start in range(0, len(rows), BATCH):
        some = slice(start, start + BATCH)
        cosines, nearest = now.engine().search(now.vectors(rows[some]), NEIGHBORS, on_labels)
        near = classes[nearest]
        votes = (cosines[:, None] * (near[:, None] == near[:, :, None])).sum(axis=2)
        suggested[some] = np.take_along_axis(near, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return suggested


def _fields_with_classes(index: SearchIndex) -> list[str]:
    """Those with labels that a segmenter did not make."""
    dataset = index.dataset
    fields = (name for name in region_fields(dataset) if mask_settings(dataset, name) is None)
    return [name for name in fields if not is_of_proposals(dataset, name)]


class _Walk:
    """Goes through proposals, the surest first, and remembers what it took in each picture."""

    def __init__(
        self, index: SearchIndex, fields: Sequence[str], attribute: str, max_iou: float
    ) -> None:
        self._index, self._fields = index, fields
        self._attribute, self._max_iou = attribute, max_iou
        self._taken: dict[str, list[tuple[str, Region]]] = {}

    def first_missing(
        self, ranked: Hits, classes: np.ndarray, count: int, show: Progress
    ) -> np.ndarray:
        """The positions of the first that are objects without a label: int64 (count,) at most."""
        missing: list[int] = []
        end, total = 0, len(ranked)
        while len(missing) < count and end < total:
            start, end = end, min(_FIRST * max(end, count), total)
            missing += sorted(self._of(ranked.take(slice(start, end)), classes[start:end], start))
            show("proposals looked at", end, total)
        return np.array(missing[:count], np.int64)

    def _of(self, hits: Hits, classes: np.ndarray, start: int) -> Iterator[int]:
        for sample_id, candidates, labels in read_beside(hits, self._index, self._fields):
            beside = [(getattr(label, self._attribute, None), one) for label, one in labels]
            beside += self._taken.setdefault(sample_id, [])
            for position, region in sorted(candidates, key=lambda one: one[0]):
                name = classes[position]
                if not any(self._is_same(name, region, *one) for one in beside):
                    beside.append((name, region))
                    self._taken[sample_id].append((name, region))
                    yield start + position

    def _is_same(self, name: str, region: Region, other: str | None, covers: Region) -> bool:
        is_part = name == other and nested(region, covers) >= PART
        return is_part or iou(region, covers) >= self._max_iou
