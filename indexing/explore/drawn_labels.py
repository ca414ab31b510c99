"""Labels whose shape speaks against them: drawn badly, or drawn twice.

Public: :func:`find_badly_drawn_labels`, :class:`BadlyDrawn`, :func:`find_doubled_labels` and
:class:`DoubledLabels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import decided_rows
from alphaclip.indexing.dataset.labels import count_samples, images_of, region_fields, regions_of
from alphaclip.indexing.dataset.overlaps import iou, outer_box
from alphaclip.indexing.dataset.schema import mask_settings
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import names_in
from alphaclip.indexing.store.segments import RowIds
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    from alphaclip.indexing.dataset.decisions import Oddity
    from alphaclip.indexing.retrieval.index import SearchIndex

DOUBLED = 0.5
"""IoU from which on two labels are of one object, as in COCO's evaluation."""

RIGHT = 0.8
"""IoU with the segmenter's box above which nobody would draw a box anew."""

OF_ANOTHER_CLASS = 0.8
"""The same for labels of two classes: a hat is in the box of its head, but does not fill it."""


@dataclass(frozen=True, eq=False)
class BadlyDrawn:
    """Labels that are probably drawn badly, the worst first.

    Attributes:
        hits: the labels; ``scores`` are the IoU of their boxes with those of the masks
        boxes: float64 (k, 4), ``(x, y, w, h)`` round the mask of each
        unjudged: labels of the index that have no mask
    """

    hits: Hits
    boxes: np.ndarray
    unjudged: int

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, eq=False)
class DoubledLabels:
    """Labels of an object that has an earlier one, the surest first.

    Attributes:
        hits: the later labels; ``scores`` are their IoU with the earlier ones
        originals: str (k,), the name of the earlier label of each, see :class:`Example`
    """

    hits: Hits
    originals: np.ndarray

    def __len__(self) -> int:
        return len(self.hits)


@checked(count=COUNT, max_iou=SHARE)
def find_badly_drawn_labels(
    index: SearchIndex,
    masks: str | None = None,
    count: int = 50,
    max_iou: float = RIGHT,
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> BadlyDrawn:
    """Finds labels whose box is not the one round what a segmenter sees there.

    Args:
        index: of the labels
        masks (None): the field that :func:`segment` made for the labels' field; None takes the
            first such
        count (50): how many to find
        max_iou (0.8): of a box that is found
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about

    Raises:
        AlphaClipError: if there are no masks for the labels
    """
    field = _masks_for(index, masks)
    regions, overlaps, boxes = [], [], []
    for sample in _samples(index, [field], progress):
        seen = {mask.source_id: outer_box(region) for mask, region in regions_of(sample[field])}
        for label, region in regions_of(sample[index.field]):
            if label.id in seen:
                box, own = seen[label.id], outer_box(region)
                regions.append((sample.id, label.id))
                overlaps.append(iou(Region.from_box(own), Region.from_box(box)))
                boxes.append(box)
    scores = np.array(overlaps, np.float32)
    which, hits = _best(index, "badly drawn", regions, scores, scores, count, skip_decided)
    first = slice(int((hits.scores <= max_iou).sum()))
    unjudged = len(index) - len(regions)
    return BadlyDrawn(hits.take(first), np.reshape(boxes, (-1, 4))[which[first]], unjudged)


@checked(count=COUNT, min_iou=SHARE)
def find_doubled_labels(
    index: SearchIndex,
    min_iou: float = DOUBLED,
    count: int = 50,
    attribute: str = "label",
    progress: Progress | None = None,
    skip_decided: bool = True,
) -> DoubledLabels:
    """Finds objects that are labelled twice: labels of a picture that lie on each other.

    The later one of a pair is found. Labels of two classes have to overlap by at least 0.8.

    Args:
        index: of the labels
        min_iou (0.5): IoU from which on two labels are of one object
        count (50): how many to find
        attribute ("label"): of the labels, that holds the class
        progress (None): told how far it is; None shows a bar in the terminal
        skip_decided (True): leave out what :func:`decide` was told about
    """
    regions, originals, overlaps = [], [], []
    for sample in _samples(index, [], progress):
        labels = regions_of(sample[index.field])
        for later, earlier, overlap in _doubled(labels, min_iou, attribute):
            regions.append((sample.id, labels[later][0].id))
            originals.append((sample.id, labels[earlier][0].id))
            overlaps.append(overlap)
    scores = np.array(overlaps, np.float32)
    which, hits = _best(index, "doubled", regions, scores, -scores, count, skip_decided)
    return DoubledLabels(hits, np.array(names_in([index], [originals[i] for i in which]), "U"))


def _masks_for(index: SearchIndex, masks: str | None) -> str:
    """The field of masks that was made for the labels of an index."""
    dataset, field = index.dataset, index.field
    images_of(dataset)
    for name in region_fields(dataset) if masks is None else [masks]:
        made_with = mask_settings(dataset, name)
        if made_with and made_with.get("kind") == "sam" and made_with.get("field") == field:
            return name
    named = "" if masks is None else f"{masks!r} is none: "
    raise AlphaClipError(
        f"labels of {field!r} are compared with masks that a segmenter makes for them: {named}"
        f"“Segment regions” of this field (indexing.segment(dataset, {field!r}, "
        f"into='{field}_masks')) makes some"
    )


def _samples(index: SearchIndex, beside: Sequence[str], progress: Progress | None) -> Iterator[Any]:
    """The pictures of an index's dataset, with the labels of its field and of some others."""
    images = images_of(index.dataset).select_fields([index.field, *beside])
    total = count_samples(images)
    with shown(progress) as show:
        for number, sample in enumerate(images.iter_samples(), 1):
            yield sample
            show("samples read", number, total)


def _best(
    index: SearchIndex,
    kind: Oddity,
    regions: Sequence[tuple[str, str]],
    scores: np.ndarray,
    keys: np.ndarray,
    count: int,
    skip_decided: bool,
) -> tuple[np.ndarray, Hits]:
    """The positions of the regions with the lowest keys, of those that the index holds, and they as
    hits."""
    now = index.snapshot()
    samples, labels = zip(*regions, strict=True) if regions else ((), ())
    rows = now.lookup.find(RowIds.of(samples, labels))
    is_open = rows >= 0
    if skip_decided:
        is_open &= ~np.isin(rows, decided_rows(index.dataset, kind, now.lookup))
    order = np.argsort(keys, kind="stable")
    which = order[is_open[order]][:count]
    return which, index.hits(now, rows[which], scores[which], scores[which])


def _doubled(
    labels: Sequence[tuple[Any, Region]], min_iou: float, attribute: str
) -> Iterator[tuple[int, int, float]]:
    """Each label that lies on an earlier one, the one that it overlaps most, and by how much."""
    boxes = np.reshape([outer_box(region) for _, region in labels], (-1, 4))
    begins, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    for later, (label, region) in enumerate(labels):
        name, best = getattr(label, attribute, None), (0.0, -1)
        touching = (begins[:later] < ends[later]) & (begins[later] < ends[:later])
        for earlier in np.flatnonzero(touching.all(axis=1)).tolist():
            other, covered = labels[earlier]
            is_same = getattr(other, attribute, None) == name
            overlap = iou(region, covered)
            if overlap >= (min_iou if is_same else max(min_iou, OF_ANOTHER_CLASS)):
                best = max(best, (overlap, earlier))
        if best[1] >= 0:
            yield later, best[1], best[0]
