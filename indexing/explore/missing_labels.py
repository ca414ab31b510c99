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
from alphaclip.indexing.dataset.overlaps import iou, nested, outer_box
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
"""IoU from which on a proposal is of the object of a label, as in COCO's evaluation. Objects that
nobody labelled often overlap a neighbour's label by less."""

PART = 0.7
"""Of the smaller of two boxes so much is in the other where one is a part of the other: a quarter
of an apple is like an apple too, but no apple that nobody labelled."""

_SHAPES = 0.3
"""Weight of size, aspect ratio and overlaps beside a vector of unit length; 0.1 to 0.5 do alike."""

_ROUNDS = 2
"""Of learning: the second leaves out what the first takes for objects that nobody labelled."""

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
    max_iou: float = SAME,
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> MissingLabels:
    """Finds objects of the classes in use that have no label.

    Logistic regression on the vectors, on the size and shape of the boxes and on how far labels
    cover them, cross-validated by picture, learns from the proposals that lie on labels and those
    that lie on none what an object is; the class is that of the nearest proposals on labels. A
    proposal is left out if it overlaps a label, or is a part of a label of its class, or of a
    proposal that is surer. The labels of all fields count, but for those that a segmenter made.

    Args:
        index: of proposals, such as automatic masks, see :func:`is_of_proposals`
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        max_iou (0.5): IoU with a label from which on a proposal is of the same object; in (0, 1]
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about

    Raises:
        AlphaClipError: if the index is not of proposals, no proposal lies on a label with a class,
            or all are of one picture
    """
    check_proposals(index)
    now, fields = index.snapshot(), _fields_with_classes(index)
    with shown(progress) as show:
        classes, shapes = _compare(index, fields, attribute, max_iou, show)
        clear = np.flatnonzero([name is not None for name in classes])
        is_object = classes[clear] != BACKGROUND
        chances = _chances(now, clear, shapes[clear], is_object, show)
        rows, scores = clear[~is_object], chances[~is_object]
        suggested = _nearest_classes(now, rows, classes)
        order = np.argsort(-scores, kind="stable")
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
    None where that is not clear or the label has no class; and what tells a whole object besides
    its vector, float64 (n, 4): logarithms of size and aspect ratio, the greatest IoU with a label
    of another object, and how much of the smaller of the two is in the other at most."""
    now = index.snapshot()
    classes, everything = np.full(len(now), None, object), np.arange(len(now))
    shapes, total = np.zeros((len(now), 4)), len(np.unique(now.pictures))
    beside = read_beside(index.hits(now, everything, *np.zeros((2, len(now)))), index, fields)
    for number, (_, proposals, labels) in enumerate(beside, 1):
        for row, region in proposals:
            overlaps = [iou(region, covers) for _, covers in labels]
            best = max(overlaps, default=0.0)
            others = [covers for _, covers in labels]
            if best < max_iou:
                classes[row] = BACKGROUND
            elif best >= SAME:
                on = overlaps.index(best)
                classes[row] = getattr(labels[on][0], attribute, None) or None
                del overlaps[on], others[on]
            parts = [nested(region, covers) for covers in others]
            beside_it = max(overlaps, default=0.0), max(parts, default=0.0)
            _, _, width, height = outer_box(region)
            shapes[row] = np.log(width * height), np.log(width / height), *beside_it
        show("pictures compared", number, total)
    if not any(classes):
        raise AlphaClipError(
            f"no proposal of index {index.key!r} lies on a label with a class in {attribute!r}: "
            "missing labels are found by those that are like them"
        )
    return classes, shapes


def _chances(
    now: Snapshot, rows: np.ndarray, shapes: np.ndarray, is_object: np.ndarray, show: Progress
) -> np.ndarray:
    """How probable it is that each of some proposals is an object, judged by those of other
    pictures: float32 (n,)."""
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import scale

    folds = min(FOLDS, len(np.unique(now.pictures[rows])))
    if folds < 2:
        raise AlphaClipError("all proposals are of one picture: each is judged by other pictures")
    shapes = scale(shapes)
    # Size and aspect ratio have a best value, not the more the better
    shapes = (_SHAPES * np.hstack([shapes, shapes[:, :2] ** 2])).astype(np.float32)
    chances = np.zeros(len(rows), np.float32)
    splits = GroupKFold(folds, shuffle=True, random_state=0)
    for turn in range(_ROUNDS):
        is_clear = is_object | (chances <= 0.5)
        judged = np.zeros(len(rows), np.float32)
        parts = splits.split(rows, groups=now.pictures[rows])
        for number, (others, own) in enumerate(parts, turn * folds + 1):
            model = _learn(now, rows, shapes, is_object, others[is_clear[others]])
            for start in range(0, len(own) if model.classes_[-1] else 0, LEARNT):
                some = own[start : start + LEARNT]
                seen = np.hstack([now.vectors(rows[some]), shapes[some]])
                judged[some] = model.predict_proba(seen)[:, -1]
            show("folds learnt", number, _ROUNDS * folds)
        chances = judged
    return chances


def _learn(
    now: Snapshot, rows: np.ndarray, shapes: np.ndarray, is_object: np.ndarray, which: np.ndarray
) -> Any:
    """A classifier that has learnt from some of the proposals."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    if len(which) > LEARNT:
        which = np.random.default_rng(0).choice(which, LEARNT, replace=False)
    several = len(np.unique(is_object[which])) > 1
    model: Any = LogisticRegression(C=10.0, max_iter=500) if several else DummyClassifier()
    return model.fit(np.hstack([now.vectors(rows[which]), shapes[which]]), is_object[which])


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


_Object = tuple[str | None, Region]
"""The class that something has or probably has, and where it is."""


class _Walk:
    """Goes through proposals, the surest first, and remembers what it took in each picture."""

    def __init__(
        self, index: SearchIndex, fields: Sequence[str], attribute: str, max_iou: float
    ) -> None:
        self._index, self._fields = index, fields
        self._attribute, self._max_iou = attribute, max_iou
        self._taken: dict[str, list[_Object]] = {}

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
            labelled = [(getattr(label, self._attribute, None), one) for label, one in labels]
            taken = self._taken.setdefault(sample_id, [])
            for position, region in sorted(candidates, key=lambda one: one[0]):
                own = classes[position], region
                is_labelled = any(_is_same(own, one, self._max_iou) for one in labelled)
                if not is_labelled and not any(_is_same(own, one, MAX_IOU) for one in taken):
                    taken.append(own)
                    yield start + position


def _is_same(one: _Object, other: _Object, max_iou: float) -> bool:
    (name, region), (other_name, covers) = one, other
    is_part = name == other_name and nested(region, covers) >= PART
    return is_part or iou(region, covers) >= max_iou
