"""What a person decided about regions that were shown as odd, so that they are not shown again.

Public: :func:`decide`, :func:`undecide`, :func:`decisions` and :func:`decided_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.store.ids import Lookup

Oddity = Literal["label errors", "outliers", "duplicates"]

STORE = "decisions"

_NAME = re.compile(r"[0-9a-f]{24}(-[0-9a-f]{24})?")
_MOST_CHARACTERS = 1000


@checked(kind=Oddity)
def decide(dataset: fo.Dataset, kind: Oddity, decisions: Mapping[str, Any]) -> None:
    """Remembers what was decided about regions; a later decision takes the place of an earlier one.

    Each has a record of its own, so that several people may decide at once.

    Args:
        dataset: of the regions
        kind: as what they were shown
        decisions: name of a region, see :class:`Example`, to what was decided, a text such as
            "keep"

    Raises:
        AlphaClipError: if a name or a decision is none; nothing is remembered then
    """
    for name, decision in decisions.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise AlphaClipError(
                f"decisions name the region {name!r:.80}: expected its label id, as index.names "
                "gives it"
            )
        is_text = isinstance(decision, str) and 0 < len(decision) <= _MOST_CHARACTERS
        if not is_text:
            raise AlphaClipError(
                f"the decision on {name} is {decision!r:.80}: expected a text, such as 'keep'"
            )
    records = Records(dataset, STORE)
    for name, decision in decisions.items():
        records.set(f"{kind}/{name}", decision)


@checked(kind=Oddity)
def undecide(dataset: fo.Dataset, kind: Oddity, names: Sequence[str]) -> None:
    """Forgets decisions, so that the regions are shown again; those without one stay so."""
    records = Records(dataset, STORE)
    for name in names:
        records.delete(f"{kind}/{name}")


@checked(kind=Oddity)
def decisions(dataset: fo.Dataset, kind: Oddity) -> dict[str, str]:
    """What was decided, by the names of the regions."""
    records = Records(dataset, STORE)
    return {name: records.get(f"{kind}/{name}") for name in _names(records, kind)}


def decided_rows(dataset: fo.Dataset, kind: Oddity, lookup: Lookup) -> np.ndarray:
    """The rows of an index that were decided about: int64 (n,)."""
    names = _names(Records(dataset, STORE), kind)
    rows = lookup.find_named(names)
    return rows[rows >= 0]


def _names(records: Records, kind: Oddity) -> list[str]:
    return [key.partition("/")[2] for key in records.keys(f"{kind}/")]
