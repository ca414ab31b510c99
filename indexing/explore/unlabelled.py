"""Objects that nobody labelled: proposals that match a query and overlap no label.

Public: :func:`find_unlabelled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.indexing.dataset.labels import PATCHABLE, check_field, images_of, label_region
from alphaclip.indexing.dataset.overlaps import most_overlap
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import Query
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

MAX_IOU = 0.3
"""A proposal that overlaps a label by less than this is taken for another object."""

_FIRST = 4
"""Times k candidates are looked at first; then, while hits are missing, as many again and more."""


def find_unlabelled(
    index: SearchIndex,
    query: Query,
    label_fields: str | Sequence[str],
    max_iou: float = MAX_IOU,
    k: int = 50,
    view: fo.SampleCollection | None = None,
    min_score: float | None = None,
    negative: Query | None = None,
) -> Hits:
    """Finds the proposals that match a query best among those that no label covers.

    The IoU is that of the masks where proposal and label both have one (a filled polygon is one),
    else that of the boxes. A label whose box or mask cannot be used covers nothing.

    Args:
        index: of the field with the proposals, such as automatic masks
        query: see :meth:`RegionIndex.search`
        label_fields: one or several fields of the same dataset that hold the labels
        max_iou (0.3): a proposal is left out if its IoU with any label of its picture reaches
            this; in (0, 1]
        k: proposals to find
        view (None): see :meth:`RegionIndex.search`
        min_score (None): the lowest cosine to the query
        negative (None): what to avoid

    Returns:
        in rank order; fewer than k where there are no more

    Raises:
        AlphaClipError: if a field holds no regions or is that of the index, or a number is out of
            range
    """
    fields = [label_fields] if isinstance(label_fields, str) else list(label_fields)
    _check(index, fields, max_iou)
    asked, seen, uncovered = _FIRST * k, 0, np.zeros(0, np.int64)
    while True:
        found = index.search(query, asked, view, negative, min_score=min_score)
        fresh = _uncovered(found, index.dataset, index.field, fields, max_iou, seen)
        uncovered = np.concatenate([uncovered, fresh])
        if len(uncovered) >= k or len(found) < asked:
            return _take(found, uncovered[:k])
        seen, asked = asked, 4 * asked


def _check(index: SearchIndex, fields: Sequence[str], max_iou: float) -> None:
    if not fields:
        raise AlphaClipError("label_fields is empty: name the fields that hold the labels")
    if index.field in fields:
        raise AlphaClipError(
            f"{index.field!r} is the field of index {index.key!r} itself: name the fields that "
            "hold the labels, and pass an index of proposals"
        )
    for field in fields:
        check_field(index.dataset, field)
    if not 0 < max_iou <= 1:
        raise AlphaClipError(f"max_iou is {max_iou}: expected a number above 0, at most 1")


def _uncovered(
    found: Hits,
    dataset: fo.Dataset,
    field: str,
    label_fields: Sequence[str],
    max_iou: float,
    start: int,
) -> np.ndarray:
    """The places in a list of hits, from ``start`` on, of those that no label covers."""
    candidates = dict(zip(found.label_ids[start:].tolist(), range(start, len(found)), strict=True))
    if not candidates:
        return np.zeros(0, np.int64)
    uncovered = []
    samples = list(dict.fromkeys(found.sample_ids[start:].tolist()))
    for sample in _with_labels(dataset, samples, field, list(candidates), label_fields):
        covers = [r for name in label_fields for _, r in _regions(sample[name])]
        for label_id, region in _regions(sample[field]):
            if label_id in candidates and most_overlap(region, covers) < max_iou:
                uncovered.append(candidates[label_id])
    return np.sort(np.array(uncovered, np.int64))


def _with_labels(
    dataset: fo.Dataset,
    sample_ids: list[str],
    field: str,
    label_ids: list[str],
    label_fields: Sequence[str],
) -> Any:
    """The samples with their labels, and of the proposals only the candidates."""
    from bson import ObjectId
    from fiftyone import ViewField

    wanted = ViewField("_id").is_in([ObjectId(label) for label in label_ids])
    view = images_of(dataset).select(sample_ids).select_fields([field, *label_fields])
    return view.filter_labels(field, wanted, only_matches=False).iter_samples()


def _regions(value: Any) -> list[tuple[str, Region]]:
    """The usable regions of a field's value, with the ids of their labels."""
    kind = type(value).__name__
    labels = [] if value is None else value[kind.lower()] if kind in PATCHABLE else [value]
    found = []
    for label in labels:
        try:
            found.append((str(label.id), label_region(label)))
        except RegionError:
            continue
    return found


def _take(hits: Hits, places: np.ndarray) -> Hits:
    columns = (hits.sample_ids, hits.label_ids, hits.fields, hits.scores, hits.rank_scores)
    return Hits(*(column[places] for column in columns), hits.dataset)
