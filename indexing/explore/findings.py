"""What was found without a query: outliers, duplicates and errors of labels, kept as they were.

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

_COLUMNS = {"names": "str", "scores": "float", "notes": "str", "note_scores": "float"}
_NEEDED = {"kind", "key", "names", "scores"}


@dataclass(frozen=True)
class Finding:
    """Regions of one index that were found without a query, as JSON holds them.

    Attributes:
        kind: as what they were found
        key: of the index
        names: of the regions, in rank order, see :class:`Example`
        scores: of the regions, as whatever found them gave them
        notes: what else is said of each: the label that it may rather have, the name of the
            region that it repeats, or the box that it should have, as "x y w h"; empty where
            nothing is
        note_scores: the probability of each label that a region may rather have; empty for other
            notes
        attribute: of the labels, whose errors they are
        labels: key of the index of the labels among which some are missing; else empty
    """

    kind: Oddity
    key: str
    names: tuple[str, ...]
    scores: tuple[float, ...]
    notes: tuple[str, ...] = ()
    note_scores: tuple[float, ...] = ()
    attribute: str = "label"
    labels: str = ""

    def __post_init__(self) -> None:
        check_fields(self, kind=Oddity)
        for name, meant in _COLUMNS.items():
            values = check(name, getattr(self, name), f"Sequence[{meant}]")
            object.__setattr__(self, name, tuple(values[:MOST_REGIONS]))
        optional = {len(self.notes), len(self.note_scores)}
        if len(self.scores) != len(self.names) or not optional <= {0, len(self.names)}:
            raise AlphaClipError(
                f"the finding has {len(self.names)} names, {len(self.scores)} scores, "
                f"{len(self.notes)} notes and {len(self.note_scores)} scores of these: give one of "
                "each for each region, or no notes"
            )

    @classmethod
    def of(
        cls,
        kind: Oddity,
        index: SearchIndex,
        hits: Hits,
        notes: Sequence[str] | np.ndarray = (),
        note_scores: Sequence[float] | np.ndarray = (),
        attribute: str = "label",
        labels: str = "",
    ) -> Finding:
        """What :func:`find_outliers`, :func:`find_duplicates`, :func:`find_label_errors`,
        :func:`find_missing_labels`, :func:`find_badly_drawn_labels` or :func:`find_doubled_labels`
        found.

        Args:
            kind: "outliers", "duplicates", "label errors", "missing labels", "badly drawn" or
                "doubled"
            index: that was looked through
            hits: that were found
            notes (()): ``originals`` of duplicates and doubled labels, ``suggested`` of errors and
                missing labels, or ``boxes``
            note_scores (()): ``suggested_scores`` of label errors
            attribute ("label"): of the labels, whose errors they are
            labels (""): of missing labels, the key of the index of the others
        """
        first = hits.take(slice(MOST_REGIONS))
        scores, chances = (
            tuple(round(float(score), 6) for score in some) for some in (first.scores, note_scores)
        )
        names = (*index.names(first),)
        said = tuple(
            " ".join(f"{side:.6f}" for side in n) if n.ndim else str(n)
            for n in map(np.asarray, notes)
        )
        return cls(kind, index.key, names, scores, said, chances, attribute, labels)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values; what an earlier version does not know is left out if unused."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not self.note_scores:
            del values["note_scores"]
        if self.attribute == "label":
            del values["attribute"]
        if not self.labels:
            del values["labels"]
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """A finding from its JSON values.

        Raises:
            AlphaClipError: if a name is unknown or missing, or a value cannot be used
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not _NEEDED <= set(values) <= names:
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
