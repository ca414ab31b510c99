"""What of an index no longer holds, without embedding anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.embedding.inventory import Inventory
from alphaclip.indexing.embedding.label_reader import labelled_pictures, samples_of
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import as_bytes

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.store.store import StoreVersion


@dataclass(frozen=True)
class Freshness:
    """How an index compares with its dataset.

    Attributes:
        held: regions whose vectors hold
        edited: regions whose picture, box or mask has changed
        missing: regions without a vector
        gone: vectors of regions that are no longer there
        unreachable: of those held, those whose picture cannot be reached at the moment
    """

    held: int
    edited: int
    missing: int
    gone: int
    unreachable: int

    @property
    def is_fresh(self) -> bool:
        """Whether an update would change nothing."""
        return not (self.edited or self.missing or self.gone)


def freshness(
    dataset: fo.Dataset, version: StoreVersion, progress: Progress | None = None
) -> Freshness:
    """Compares an index with its dataset; reads all labels, opens no picture.

    Args:
        dataset: of the index
        version: of its store
        progress (None): told how far it is; None shows a bar in the terminal
    """
    settings: dict[str, Any] = version.info
    lookup, inventory = Lookup(version.ids), Inventory(settings["field"], [version.ids])
    seen = np.zeros(len(version), bool)
    held = edited = missing = 0
    with shown(progress) as show:
        for picture in labelled_pictures(samples_of(dataset, settings), settings, {}, show):
            _, lacking = inventory.settle(picture)
            rows = lookup.find(as_bytes(picture.label_ids))
            seen[rows[rows >= 0]] = True
            held += int((~lacking).sum())
            edited += int((lacking & (rows >= 0)).sum())
            missing += int((lacking & (rows < 0)).sum())
    return Freshness(held, edited, missing, int((~seen).sum()), inventory.unreachable)
