"""Which rows an index is to hold, and which of them have a vector already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from alphaclip.indexing.embedding.label_reader import (
    NO_PICTURE,
    LabelledPicture,
    both_halves,
    region_half,
    together,
)
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import GrowingIds, RowIds, as_bytes

_TOGETHER = 2048
"""Regions and pictures that are compared together; fewer where they have masks."""


def _size(picture: LabelledPicture) -> int:
    return 1 + len(picture.stamps) + picture.mask_bytes // 10_000


class Inventory:
    """Every region that an index is to hold.

    Args:
        field: that holds the regions
        held: rows whose vectors exist
        listing (True): whether :meth:`rows` is to be called

    Attributes:
        unreachable: how many regions added so far are held though their picture is out of reach
    """

    def __init__(self, field: str, held: Sequence[RowIds] = (), listing: bool = True) -> None:
        self.unreachable = 0
        self._field, self._listing = field, listing
        self._held = [(rows, Lookup(rows)) for rows in held if len(rows)]
        self._all = GrowingIds()

    def add_all(
        self, pictures: Iterable[LabelledPicture]
    ) -> Iterator[tuple[list[LabelledPicture], RowIds, np.ndarray]]:
        """Takes the regions of many pictures; yields some pictures at a time, with what :meth:`add`
        returns of them."""
        for some in together(pictures, _size, _TOGETHER):
            yield some, *self.add(*some)

    def add(self, *pictures: LabelledPicture) -> tuple[RowIds, np.ndarray]:
        """Takes the regions of some pictures.

        Where the picture is out of reach, a vector of the same region and encoder still counts.

        Returns:
            their rows with their fingerprints, and a mask (n,): which of them have no vector
        """
        lengths = [len(picture.stamps) for picture in pictures]
        samples = np.repeat(as_bytes([picture.sample_id for picture in pictures]), lengths)
        labels = [label_id for picture in pictures for label_id in picture.label_ids]
        own = [(one.stamp or NO_PICTURE) + stamp for one in pictures for stamp in one.stamps]
        ids = RowIds.of(samples, labels, self._field, own)
        missing = np.ones(len(ids), bool)
        away = np.repeat([picture.stamp is None for picture in pictures], lengths)
        fingerprints, halves = ids.fingerprints.copy(), both_halves(ids.fingerprints)
        for rows, lookup in self._held:
            at = lookup.find(ids)
            there = rows.fingerprints[at]
            same = both_halves(there) == halves
            same[away] = region_half(there[away]) == region_half(halves[away])
            holds = missing & (at >= 0) & same
            fingerprints[holds] = there[holds]
            missing &= ~holds
        self.unreachable += int((away & ~missing).sum())
        ids = RowIds(ids.sample_ids, ids.label_ids, ids.fields, fingerprints)
        if self._listing:
            # Their field is the same for all, and would take memory for each
            self._all.add(replace(ids, fields=np.zeros(len(ids), "S1")))
        return ids, missing

    def rows(self) -> RowIds:
        """All regions that were added; none may be added later."""
        ids = self._all.ids
        return RowIds.of(ids.sample_ids, ids.label_ids, self._field, ids.fingerprints)


def matching(inventory: RowIds, rows: RowIds, taken: np.ndarray, lookup: Lookup) -> np.ndarray:
    """Which rows of a piece an index is to hold as they are, and has not from another piece.

    Args:
        inventory: all regions that the index is to hold
        rows: of the piece
        taken: bool, of the inventory; those that are in the piece are set
        lookup: over ``inventory``

    Returns:
        a mask over the piece's rows
    """
    if not len(inventory):
        return np.zeros(len(rows), bool)
    at = lookup.find(rows)
    same = inventory.fingerprints[at] == rows.fingerprints
    match: np.ndarray = (at >= 0) & same & ~taken[at]
    taken[at[match]] = True
    return match
