"""What a suspected label looks like beside others of its class, and of the class suggested instead.

Public: :func:`error_neighbors` and :class:`ErrorNeighbors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.indexing.dataset.attributes import names_of

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex

Neighbors = tuple[tuple[str, float], ...]
"""Regions, nearest first: the name of each, see :class:`Example`, and its cosine."""

LIKELY, LOOKED_AT = 9, 50
"""Classes that a region may rather have, from so many nearest regions."""


@dataclass(frozen=True)
class ErrorNeighbors:
    """The regions that a suspect is to be compared with.

    Attributes:
        name: of the suspect
        given: the label that it has now; None if that is gone
        suggested: the label that it may rather have, or None
        of_given: the nearest other regions that have the given label
        of_suggested: the nearest that have the suggested one; empty where no region has
        likely: other classes that it may have, first those of the regions that are nearest to it,
            then those that most regions have
    """

    name: str
    given: str | None
    suggested: str | None
    of_given: Neighbors
    of_suggested: Neighbors
    likely: tuple[str, ...] = ()


@checked(count=COUNT)
def error_neighbors(
    index: SearchIndex,
    suggested: Mapping[str, Any],
    attribute: str = "label",
    count: int = 4,
    among: SearchIndex | None = None,
) -> list[ErrorNeighbors]:
    """Finds what suspects of :func:`find_label_errors` and :func:`find_missing_labels` are to be
    compared with, for a page of them.

    The classes of all regions are read once, as they are now.

    Args:
        index: whose regions
        suggested: name of each suspect to the label that it may rather have, or None
        attribute ("label"): of the labels, that holds the class
        count (4): neighbours of each class at most
        among (None): the index of the neighbours; None is that of the suspects

    Returns:
        in the order of ``suggested``

    Raises:
        AlphaClipError: if a suspect is not in the index, or the attribute is missing
    """
    now, names = index.snapshot(), list(suggested)
    rows = index.rows_of(now, names)
    labelled, there = (index, now) if among is None else (among, among.snapshot())
    ids = there.version.ids
    classes = np.array(names_of(labelled.dataset, labelled.field, attribute, ids), object)
    own = [classes[row] if there is now else None for row in rows.tolist()]
    usual = [label for label, _ in Counter(filter(None, classes)).most_common(LIKELY + 1)]

    def nearest(row: int, label: str | None) -> Neighbors:
        others = np.flatnonzero(classes == label) if label else np.zeros(0, np.int64)
        others = others[others != row] if there is now else others
        scores, near = there.engine().search(now.vectors(np.array([row])), count, others)
        pairs = zip(there.lookup.names(near[0]).tolist(), scores[0].tolist(), strict=True)
        return tuple((name, round(score, 4)) for name, score in pairs)

    def likely(row: int, given: str | None) -> tuple[str, ...]:
        _, near = there.engine().search(now.vectors(np.array([row])), LOOKED_AT)
        labels = dict.fromkeys([*filter(None, classes[near[0]].tolist()), *usual])
        return tuple(label for label in labels if label != given)[:LIKELY]

    return [
        ErrorNeighbors(
            name,
            given,
            label,
            nearest(row, given),
            nearest(row, label and str(label)),
            likely(row, given),
        )
        for row, given, (name, label) in zip(rows.tolist(), own, suggested.items(), strict=True)
    ]
