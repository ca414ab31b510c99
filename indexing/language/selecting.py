"""Which regions of an index a language model is asked about, and what is put into the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alphaclip.arguments import listed
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.attributes import values_of
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import RowIds


def select_rows(index: SearchIndex, now: Snapshot, view: Any) -> np.ndarray:
    """The rows that are meant, each once: of hits and names in their order.

    Args:
        index: of the regions
        now: the index
        view: a FiftyOne view, hits, or names of regions, see :class:`Example`; None stands for all

    Raises:
        AlphaClipError: if it is something else, of another dataset, or none of it is in the index
    """
    names = listed(view)
    if view is None:
        rows = np.arange(len(now))
    elif isinstance(view, Hits):
        if view.dataset.name != index.dataset.name:
            raise AlphaClipError(
                f"the hits are of dataset {view.dataset.name!r}, the index of "
                f"{index.dataset.name!r}: search this index"
            )
        rows = now.lookup.find(RowIds.of(view.sample_ids, view.label_ids))
    elif names is not None and all(isinstance(name, str) for name in names):
        rows = now.lookup.find_named(names)
    else:
        rows = index.rows_in(now, view)
    rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
    if not (rows >= 0).any():
        raise AlphaClipError(
            f"there is nothing to ask about: index {index.key!r} holds "
            + ("no regions" if view is None else "none of these regions; is it up to date?")
        )
    return rows[rows >= 0]


def least_sure_first(index: SearchIndex, now: Snapshot, rows: np.ndarray, into: str) -> np.ndarray:
    """Rows by how sure the answers are that an attribute holds; those without one come last.

    Raises:
        AlphaClipError: if none holds one
    """
    sure = np.full(len(rows), np.inf)
    for name in (f"{into}_score", f"{into}_p"):
        for row, value in enumerate(_values(index, name, now.version.ids_of(rows))):
            if isinstance(value, float):
                sure[row] = value
    if np.isinf(sure).all():
        raise AlphaClipError(
            f"order is 'uncertain', and no region has an answer in {index.field}.{into} yet: ask "
            "without it first, a quick model such as 'alphaclip-nano-captioner'"
        )
    return rows[np.argsort(sure, kind="stable")]


def _values(index: SearchIndex, name: str, ids: RowIds) -> list[Any]:
    try:
        return values_of(index.dataset, index.field, name, ids)
    except FieldError:
        return []


def read_attributes(index: SearchIndex, ids: RowIds, names: Sequence[str]) -> list[dict[str, Any]]:
    """The attributes of each region's label that a question names.

    Raises:
        FieldError: if no label has one of them; names those that there are
    """
    columns = [values_of(index.dataset, index.field, name, ids) for name in names]
    if not columns:
        return [{}] * len(ids)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
