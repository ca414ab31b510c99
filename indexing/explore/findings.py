"""What was found without a query: outliers, duplicates and label errors, kept as they were.

Public: :class:`Finding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import check, check_fields
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import Oddity
from alphaclip.indexing.retrieval.hits import Hits

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex

MOST_REGIONS = 2000
"""Of a finding; those after them are left out: a page shows some dozens."""


@dataclass(frozen=True)
class Finding:
    """Regions of one index that were found without a query, as JSON holds them.

    Attributes:
        kind: as what they were found
        key: of the index
        names: of the regions, in rank order, see :class:`Example`
        scores: of the regions, as whatever found them gave them
        notes: what else is said of each: the label that it may rather have, or the name of the
            region that it repeats; empty where nothing is
    """

    kind: Oddity
    key: str
    names: tuple[str, ...]
    scores: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, kind=Oddity)
        for name, meant in (("names", "str"), ("scores", "float"), ("notes", "str")):
            values = check(name, getattr(self, name), f"Sequence[{meant}]")
            object.__setattr__(self, name, tuple(values[:MOST_REGIONS]))
        if len(self.scores) != len(self.names) or len(self.notes) not in (0, len(self.names)):
            raise AlphaClipError(
                f"the finding has {len(self.names)} names, {len(self.scores)} scores and "
                f"{len(self.notes)} notes: give one of each for each region, or no notes"
            )

    @classmethod
    def of(
        cls, kind: Oddity, index: SearchIndex, hits: Hits, notes: Sequence[str] | np.ndarray = ()
    ) -> Finding:
        """What :func:`find_outliers`, :func:`find_duplicates` or :func:`find_label_errors` found.

        Args:
            kind: "outliers", "duplicates" or "label errors"
            index: that was looked through
            hits: that were found
            notes (()): ``originals`` of duplicates, ``suggested`` of label errors
        """
        first = hits.take(slice(MOST_REGIONS))
        scores = [round(score, 6) for score in first.scores.tolist()]
        return cls(kind, index.key, (*index.names(first),), (*scores,), (*map(str, notes),))

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """A finding from its JSON values.

        Raises:
            AlphaClipError: if a name is unknown or missing, or a value cannot be used
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not names - {"notes"} <= set(values) <= names:
            raise AlphaClipError(f"finding is {values!r:.120}: expected {', '.join(sorted(names))}")
        return cls(**values)

    def hits(self, index: SearchIndex) -> tuple[Hits, list[str]]:
        """The regions that the index still holds, with the scores that they had, and the note on
        each, empty where there is none.
        """
        now = index.snapshot()
        rows = now.lookup.find_named(self.names)
        there = np.flatnonzero(rows >= 0)
        scores = np.array(self.scores, np.float32)[there]
        notes = [self.notes[row] if self.notes else "" for row in there.tolist()]
        return index.hits(now, rows[there], scores, scores), notes
