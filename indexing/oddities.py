"""Odd regions and labels of any kind, as a finding that is looked through and decided one by one.

Public: :func:`find_odd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from alphaclip.arguments import COUNT, checked
from alphaclip.indexing.brain.duplicates import find_duplicates
from alphaclip.indexing.dataset.decisions import Oddity
from alphaclip.indexing.explore.drawn_labels import find_badly_drawn_labels, find_doubled_labels
from alphaclip.indexing.explore.findings import MOST_REGIONS, Finding
from alphaclip.indexing.explore.label_errors import find_label_errors
from alphaclip.indexing.explore.missing_labels import find_missing_labels, proposals_for
from alphaclip.indexing.explore.outliers import find_outliers
from alphaclip.indexing.progress import Progress

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex

LIKELY = 0.5
"""Of a proposal without a label, the least probability of being an object."""


@checked(kind=Oddity, count=COUNT)
def find_odd(
    index: SearchIndex,
    kind: Oddity,
    count: int = MOST_REGIONS,
    attribute: str = "label",
    progress: Progress | None = None,
) -> Finding:
    """Finds what is odd among the regions of an index, the surest first.

    Regions that were decided about are left out. :func:`remember` hands a finding to the panel.

    Args:
        index: of the labels
        kind: "label errors", "missing labels" (of proposals, see :func:`find_missing_labels`, those
            more likely an object than not), "badly drawn", "doubled", "outliers" or "duplicates"
        count (2000): how many at most
        attribute ("label"): of the labels, that holds the class
        progress (None): told how far it is; None shows a bar in the terminal

    Raises:
        AlphaClipError: if the index does not allow it, such as without proposals or masks; says
            what is needed
    """
    return _FINDERS[kind](index, count, attribute, progress)


def _errors(index: SearchIndex, count: int, attribute: str, progress: Progress | None) -> Finding:
    suspects = find_label_errors(index, len(index), attribute, progress=progress)
    first = (suspects.suggested != suspects.given).nonzero()[0][:count]
    notes = suspects.suggested[first], suspects.suggested_scores[first]
    return Finding.of("label errors", index, suspects.hits.take(first), *notes, attribute)


def _missing(index: SearchIndex, count: int, attribute: str, progress: Progress | None) -> Finding:
    proposals = proposals_for(index)
    found = find_missing_labels(proposals, count, attribute, progress=progress)
    likely = found.hits.scores >= LIKELY
    hits, notes = found.hits.take(likely), found.suggested[likely]
    return Finding.of("missing labels", proposals, hits, notes, labels=index.key)


def _drawn(index: SearchIndex, count: int, attribute: str, progress: Progress | None) -> Finding:
    found = find_badly_drawn_labels(index, count=count, progress=progress)
    return Finding.of("badly drawn", index, found.hits, found.boxes)


def _doubled(index: SearchIndex, count: int, attribute: str, progress: Progress | None) -> Finding:
    found = find_doubled_labels(index, count=count, progress=progress)
    return Finding.of("doubled", index, found.hits, found.originals)


def _outliers(index: SearchIndex, count: int, attribute: str, progress: Progress | None) -> Finding:
    return Finding.of("outliers", index, find_outliers(index, count, progress=progress))


def _duplicates(
    index: SearchIndex, count: int, attribute: str, progress: Progress | None
) -> Finding:
    repeated = find_duplicates(index)
    hits, notes = repeated.hits.take(slice(count)), repeated.originals[:count]
    return Finding.of("duplicates", index, hits, notes)


_FINDERS: dict[Oddity, Callable[..., Finding]] = {
    "label errors": _errors,
    "missing labels": _missing,
    "badly drawn": _drawn,
    "doubled": _doubled,
    "outliers": _outliers,
    "duplicates": _duplicates,
}
