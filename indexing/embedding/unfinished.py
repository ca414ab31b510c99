"""Builds and updates that have not come to their end: how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphaclip.arguments import checked
from alphaclip.indexing.dataset.locations import own_stores
from alphaclip.indexing.embedding.plans import PlanError, read_plan, regions_left

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class Unfinished:
    """A build or an update that was begun, and runs or was ended before its time.

    Attributes:
        key: of the index
        field: that holds the regions
        encoder: the name of the encoder
        done: regions that have a vector
        total: regions that the index is to hold
    """

    key: str
    field: str
    encoder: str
    done: int
    total: int


@checked()
def unfinished(dataset: fo.Dataset) -> list[Unfinished]:
    """The builds and updates of a dataset that are not finished, also those that run at the moment;
    no vectors are read.

    :func:`alphaclip.indexing.resume` goes on with one.
    """
    found = []
    for key, folder in sorted(own_stores(dataset).items()):
        try:
            plan = read_plan(folder / "work")
        except PlanError:
            continue
        total, name = plan.counts["wanted"], str(plan.settings.get("encoder", ""))
        done = total - regions_left(plan)
        found.append(Unfinished(key, plan.settings["field"], name, done, total))
    return found
