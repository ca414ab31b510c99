"""What a person decided about regions that were shown as odd, so that they are not shown again.

Public: :func:`decide`, :func:`undecide`, :func:`decisions`, :func:`last_decision`,
:func:`decided_rows` and :class:`OddDecision`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.store.ids import Lookup

Oddity = Literal[
    "label errors", "outliers", "duplicates", "missing labels", "badly drawn", "doubled"
]

STORE = "decisions"

_NAME = re.compile(r"[0-9a-f]{24}(-[0-9a-f]{24})?")
_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class OddDecision:
    """What was decided about a region.

    Attributes:
        name: of the region
        decision: such as "keep"
        at: when, in seconds since 1970; 0 where an earlier version of this package kept it
        action: the id of what was done to the label, see :class:`Action`; None if nothing was
    """

    name: str
    decision: str
    at: float = 0.0
    action: str | None = None


@checked(kind=Oddity)
def decide(
    dataset: fo.Dataset,
    kind: Oddity,
    decisions: Mapping[str, Any],
    action: str | None = None,
    attribute: str = "label",
) -> None:
    """Remembers what was decided about regions; a later decision takes the place of an earlier one.

    Each has a record of its own, so that several people may decide at once.

    Args:
        dataset: of the regions
        kind: as what they were shown
        decisions: name of a region, see :class:`Example`, to what was decided, a text such as
            "keep"
        action (None): id of what was done to the labels, see :class:`Action`
        attribute ("label"): of the labels, whose errors they were

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
    records, prefix, now = Records(dataset, STORE), _prefix(kind, attribute), time.time()
    for name, decision in decisions.items():
        records.set(prefix + name, asdict(OddDecision(name, decision, now, action)))


@checked(kind=Oddity)
def undecide(
    dataset: fo.Dataset, kind: Oddity, names: Sequence[str], attribute: str = "label"
) -> None:
    """Forgets decisions, so that the regions are shown again; those without one stay so."""
    records = Records(dataset, STORE)
    for name in names:
        records.delete(_prefix(kind, attribute) + name)


@checked(kind=Oddity)
def decisions(dataset: fo.Dataset, kind: Oddity, attribute: str = "label") -> dict[str, str]:
    """What was decided, by the names of the regions."""
    return {one.name: one.decision for one in _decisions(dataset, kind, attribute)}


@checked(kind=Oddity)
def last_decision(
    dataset: fo.Dataset, kind: Oddity, names: Sequence[str], attribute: str = "label"
) -> OddDecision | None:
    """The newest of the decisions about some regions; None if there is none."""
    of = set(names)
    made = (one for one in _decisions(dataset, kind, attribute) if one.name in of)
    return max(made, key=lambda one: one.at, default=None)


def decided_rows(
    dataset: fo.Dataset, kind: Oddity, lookup: Lookup, attribute: str = "label"
) -> np.ndarray:
    """The rows of an index that were decided about: int64 (n,)."""
    names = _names(Records(dataset, STORE), _prefix(kind, attribute))
    rows = lookup.find_named(names)
    return rows[rows >= 0]


def _decisions(dataset: fo.Dataset, kind: Oddity, attribute: str) -> Iterator[OddDecision]:
    records, prefix = Records(dataset, STORE), _prefix(kind, attribute)
    for name in _names(records, prefix):
        with records.reading(prefix + name) as value:
            if value is not None:
                # Earlier versions kept the text alone
                is_text = isinstance(value, str)
                yield OddDecision(name, value) if is_text else OddDecision(**value)


def _prefix(kind: Oddity, attribute: str) -> str:
    return f"{kind}/" if attribute == "label" else f"{kind} of {attribute}/"


def _names(records: Records, prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in records.keys(prefix)]
