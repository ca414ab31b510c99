"""Labels that are missing: proposals that no label covers, and that are like labels of a class.

Public: :func:`find_missing_labels`, :func:`proposals_for` and :class:`MissingLabels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.attributes import names_of
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.dataset.overlaps import iou, nested
from alphaclip.indexing.dataset.schema import mask_settings
from alphaclip.indexing.explore.several_indexes import check_together
from alphaclip.indexing.explore.unlabelled import (
    MAX_IOU,
    check_proposals,
    is_of_proposals,
    read_beside,
)
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.regions.region import Region

NEIGHBORS = 5
BATCH = 1024
"""Proposals that are compared at a time: a matrix product over all, and a step of the progress."""

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
        hits: the proposals; ``scores`` are the mean cosine to the nearest labels, as far as these
            are of the suggested class
        suggested: str (k,), the class that each probably has
    """

    hits: Hits
    suggested: np.ndarray

    def __len__(self) -> int:
        return len(self.hits)


@checked(count=COUNT, max_iou=SHARE)
def find_missing_labels(
    proposals: SearchIndex,
    labelled: SearchIndex,
    count: int = 50,
    attribute: str = "label",
    max_iou: float = MAX_IOU,
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> MissingLabels:
    """Finds objects of the classes in use that have no label.

    A proposal is left out if it overlaps a label, or is a part of a label of its class, or of a
    proposal that is surer. The labels of all fields count, but for those that a segmenter made.

    Args:
        proposals: an index of proposals, such as automatic masks, see :func:`is_of_proposals`
        labelled: an index of the labels, by the same encoder
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        max_iou (0.3): IoU with a label from which on a proposal is of the same object; in (0, 1]
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about

    Raises:
        AlphaClipError: if the indexes are of different datasets or encoders, the first is not of
            proposals, or no label has a class
    """
    check_together([proposals, labelled])
    check_proposals(proposals)
    now, dataset = proposals.snapshot(), proposals.dataset
    with shown(progress) as show:
        scores, classes = _likeness(proposals, labelled, attribute, show)
        order = np.argsort(-scores, kind="stable")
        if skip_decided:
            order = order[~np.isin(order, decided_rows(dataset, "missing labels", now.lookup))]
        ranked = proposals.hits(now, order, scores[order], scores[order])
        walk = _Walk(proposals, _fields_with_classes(proposals), attribute, max_iou)
        which = walk.first_missing(ranked, classes[order], count, show)
    return MissingLabels(ranked.take(which), classes[order][which].astype(str))


def proposals_for(labelled: SearchIndex) -> SearchIndex:
    """The first index of proposals that :func:`find_missing_labels` takes with one of labels.

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


def _likeness(
    proposals: SearchIndex, labelled: SearchIndex, attribute: str, show: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """How like labels of one class each proposal is, float32 (n,), and the class, object (n,)."""
    now, there = proposals.snapshot(), labelled.snapshot()
    names = names_of(labelled.dataset, labelled.field, attribute, there.version.ids)
    classes = np.array(names, object)
    rows = np.flatnonzero([name is not None for name in names])
    if not len(rows):
        raise AlphaClipError(
            f"no label of index {labelled.key!r} has a class in {labelled.field}.{attribute}: "
            "missing labels are found by those that are like them"
        )
    total, count = len(now), min(NEIGHBORS, len(rows))
    scores, suggested = np.zeros(total, np.float32), np.full(total, None, object)
    for start in range(0, total, BATCH):
        some = np.arange(start, min(start + BATCH, total))
        cosines, nearest = there.engine().search(now.vectors(some), count, rows)
        near = classes[nearest]
        # For each neighbour, the cosines of all that are of its class
        votes = (cosines[:, None] * (near[:, None] == near[:, :, None])).sum(axis=2) / count
        best = votes.argmax(axis=1)
        scores[some] = votes[np.arange(len(some)), best]
        suggested[some] = near[np.arange(len(some)), best]
        show("proposals compared", int(some[-1]) + 1, total)
    return scores, suggested


def _fields_with_classes(proposals: SearchIndex) -> list[str]:
    """Those with labels that a segmenter did not make."""
    dataset = proposals.dataset
    fields = (name for name in region_fields(dataset) if mask_settings(dataset, name) is None)
    return [name for name in fields if not is_of_proposals(dataset, name)]


class _Walk:
    """Goes through proposals, the surest first, and remembers what it took in each picture."""

    def __init__(
        self, proposals: SearchIndex, fields: Sequence[str], attribute: str, max_iou: float
    ) -> None:
        self._proposals, self._fields = proposals, fields
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
        for sample_id, candidates, labels in read_beside(hits, self._proposals, self._fields):
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
