"""Objects that nobody labelled: proposals that match a query and overlap no label.

Public: :func:`find_unlabelled` and :func:`is_of_proposals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COSINE, COUNT, SHARE, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import (
    check_field,
    images_of,
    region_fields,
    regions_of,
)
from alphaclip.indexing.dataset.overlaps import most_overlap
from alphaclip.indexing.dataset.schema import mask_settings
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import Query
from alphaclip.indexing.retrieval.ranking import Ranking
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

MAX_IOU = 0.3
"""A proposal that overlaps a label by less than this is taken for another object."""

_FIRST = 4
"""Times k candidates are looked at first; then, while hits are missing, as many again and more."""

_TOGETHER = 100
"""Pictures that are read at once: the database compares each label with all ids that are meant."""


@checked(max_iou=SHARE, k=COUNT, min_score=COSINE)
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
        index: of a field of proposals, such as automatic masks, see :func:`is_of_proposals`
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
        AlphaClipError: if a field holds no regions or is that of the index, the index is not of
            proposals, or a number is out of range
    """
    fields = [label_fields] if isinstance(label_fields, str) else list(label_fields)
    ranking = index.ranking(query, negative)
    return find_uncovered(index, ranking, fields, max_iou, k, view, min_score)


@checked()
def is_of_proposals(dataset: fo.Dataset, field: str) -> bool:
    """Whether the regions of a field are proposals: boxes or masks that have no class yet.

    Those are the masks that :func:`alphaclip.indexing.segment` makes of whole pictures, whatever
    became of them, and the labels of a field most of which have no class. Reads all its labels.

    Raises:
        FieldError: if the field holds no regions
    """
    from fiftyone import ViewField

    check_field(dataset, field)
    settings = mask_settings(dataset, field)
    if settings is not None and settings.get("kind") == "sam":
        return settings.get("field") is None
    images = images_of(dataset)
    path = images._get_label_field_path(field, "id")[1]
    named = images.filter_labels(field, ViewField("label") > "")
    return bool(2 * named.count(path) < images.count(path))


def find_uncovered(
    index: SearchIndex,
    ranking: Ranking,
    label_fields: Sequence[str],
    max_iou: float,
    k: int,
    view: fo.SampleCollection | None = None,
    min_score: float | None = None,
) -> Hits:
    """:func:`find_unlabelled` with an encoded query."""
    if not label_fields:
        raise AlphaClipError(
            f"label_fields is empty: name the fields that hold the labels which proposals in "
            f"{index.field!r}, the field of index {index.key!r}, are compared with"
        )
    if index.field in label_fields:
        raise AlphaClipError(
            f"{index.field!r} is the field of index {index.key!r} itself: name the fields that "
            "hold the labels, and pass an index of proposals"
        )
    for field in label_fields:
        check_field(index.dataset, field)
    if not 0 < max_iou <= 1:
        raise AlphaClipError(f"max_iou is {max_iou}: expected a number above 0, at most 1")
    check_proposals(index)
    number, seen, uncovered = _FIRST * k, 0, np.zeros(0, np.int64)
    while True:
        hits = index.find(ranking, number, view, min_score)
        fresh = _uncovered(hits, index, label_fields, max_iou, seen)
        uncovered = np.concatenate([uncovered, fresh])
        if len(uncovered) >= k or len(hits) < number:
            return hits.take(uncovered[:k])
        seen, number = number, 4 * number


def _uncovered(
    hits: Hits, index: SearchIndex, label_fields: Sequence[str], max_iou: float, start: int
) -> np.ndarray:
    """The positions in a list of hits, from ``start`` on, of those that no label covers."""
    uncovered = [
        start + position
        for _, candidates, labels in read_beside(hits.take(slice(start, None)), index, label_fields)
        for position, region in candidates
        if most_overlap(region, [covers for _, covers in labels]) < max_iou
    ]
    return np.sort(np.array(uncovered, np.int64))


Candidates = list[tuple[int, Region]]
Labels = list[tuple[Any, Region]]


def read_beside(
    hits: Hits, index: SearchIndex, label_fields: Sequence[str]
) -> Iterator[tuple[str, Candidates, Labels]]:
    """Reads hits of proposals and the labels beside them, a picture at a time; what cannot be used
    is left out.

    Returns:
        the sample id; positions in the hits, with their regions; labels, with their regions
    """
    from bson import ObjectId
    from fiftyone import ViewField

    positions: dict[str, dict[str, int]] = {}
    for position, (sample_id, label_id) in enumerate(hits.region_ids):
        positions.setdefault(sample_id, {})[label_id] = position
    sample_ids, pictures = list(positions), images_of(index.dataset)
    pictures = pictures.select_fields([index.field, *label_fields])
    for start in range(0, len(sample_ids), _TOGETHER):
        some = sample_ids[start : start + _TOGETHER]
        # Of the proposals only the candidates are read: there may be hundreds in a picture.
        ids = [ObjectId(label_id) for one in some for label_id in positions[one]]
        is_candidate = ViewField("_id").is_in(ids)
        samples = pictures.select(some).filter_labels(index.field, is_candidate, only_matches=False)
        for sample in samples.iter_samples():
            own, found = positions[sample.id], regions_of(sample[index.field])
            candidates = [(own[one.id], region) for one, region in found if one.id in own]
            labels = [one for name in label_fields for one in regions_of(sample[name])]
            yield sample.id, candidates, labels


def check_proposals(index: SearchIndex) -> None:
    """Checks that an index is of proposals.

    Raises:
        AlphaClipError: if it is not; says which field would do, or how to make some
    """
    if is_of_proposals(index.dataset, index.field):
        return
    fields = [name for name in region_fields(index.dataset) if is_of_proposals(index.dataset, name)]
    proposals = f"choose an index of {' or '.join(map(repr, fields))}, or build one"
    if not fields:
        proposals = (
            "“Segment regions” without a field (indexing.segment(dataset, into='proposals')) makes "
            "some of everything in a picture; then “Embed regions” (indexing.build) makes them "
            "searchable"
        )
    raise AlphaClipError(
        f"index {index.key!r} is of field {index.field!r}, whose labels have a class: what nobody "
        f"labelled is looked for among proposals, regions without a class: {proposals}"
    )
