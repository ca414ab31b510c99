"""Keeps copies of indexes in step: moves only what two versions differ by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.files import writer_lock
from alphaclip.indexing.brain.copies import Copy
from alphaclip.indexing.brain.held import Held
from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import as_text
from alphaclip.indexing.store.store import StoreVersion

BATCH = 10_000
"""Vectors that are moved at a time."""

MOST_MOVED = 0.5
"""If more of the vectors have to be moved, all are loaded anew, which engines do faster."""

MEASURED_ANEW = 0.1
"""So many changed since the recall was measured are worth a look at all vectors."""


@dataclass(frozen=True)
class SyncReport:
    """What was done to bring a copy in step.

    Attributes:
        version: of the index that the copy now holds
        vectors: that it holds
        moved: that were sent to the engine
        dropped: that were deleted there; those of a copy that was loaded anew are not counted
        anew: whether all were loaded anew
    """

    version: int
    vectors: int
    moved: int
    dropped: int
    anew: bool


@checked()
def sync(
    index: SearchIndex, brain_key: str, progress: Progress | None = None, **settings: Any
) -> SyncReport:
    """Brings a copy of an index in another engine in step with its newest version.

    Only vectors that are new or were embedded again are sent, and those that are gone deleted. All
    are loaded anew where more than half would be sent, or the engine has lost some. What was cut
    off goes on when it is run again; searches find the right regions meanwhile.

    Args:
        index: whose copy
        brain_key: of the copy, as :func:`alphaclip.indexing.export` made it
        progress (None): told how far it is; None shows a bar in the terminal
        **settings: to reach the engine with, as ``dataset.load_brain_results`` takes them; what is
            not named is as the index was loaded, in FiftyOne's Brain config, or as it was before

    Raises:
        AlphaClipError: if there is no such copy, its engine cannot be reached, or the client is
            one that FiftyOne's Brain cannot use
        StoreBusyError: if another process brings it in step
    """
    if not settings and index.copy is not None and index.copy.brain_key == brain_key:
        settings = dict(index.copy.settings)
    # Opened by itself, so that searches need not wait.
    copy = Copy(index.dataset, index.key, brain_key, settings)
    with writer_lock(copy.folder), shown(progress) as show:
        report = _bring_in_step(copy, index.snapshot(), show)
        copy.note_address()
        return report


def _bring_in_step(copy: Copy, now: Snapshot, show: Progress) -> SyncReport:
    version, held = now.version, copy.held()
    check_unique(version.ids.keys)
    with copy.reaching() as engine:
        if held is None or held.dim != version.dim or _has_lost(engine, held):
            held = Held.nothing(version.dim)
        difference = held.difference(version)
        anew = len(difference.moved) > MOST_MOVED * len(version) or not held.count
        if anew:
            copy.note(Held.nothing(version.dim))
            engine.empty()
            load(engine, batches_of(version, show))
        elif len(difference):
            copy.note(held.in_doubt(difference, version))
            engine.delete(as_text(held.ids.keys[difference.gone]).tolist())
            for batch in batches_of(version, show, difference.moved):
                engine.replace(batch)
        engine.finish()
    copy.note(Held.of(version, held.recall))
    if anew or len(difference) > MEASURED_ANEW * len(version):
        copy.note(Held.of(version, copy.measured(now)))
    dropped = 0 if anew else len(difference.gone)
    moved = len(version) if anew else len(difference.moved)
    return SyncReport(version.number, len(version), moved, dropped, anew)


def load(engine: VectorEngine, batches: Iterator[Batch]) -> None:
    """Fills an engine that holds nothing."""
    first = next(batches, None)
    if first is not None:
        engine.load(first, batches)


def batches_of(
    version: StoreVersion, show: Progress, rows: np.ndarray | None = None, size: int = BATCH
) -> Iterator[Batch]:
    """The vectors of a version, or of some rows, as they are stored."""
    done, total = 0, len(version) if rows is None else len(rows)
    for here, vectors in version.table.blocks(size, rows):
        ids = version.ids.take(here)
        yield Batch(as_text(ids.keys).tolist(), as_text(ids.sample_ids).tolist(), vectors)
        done += len(here)
        show("vectors moved", done, total)


def check_unique(ids: np.ndarray) -> None:
    """Looks whether label ids alone tell regions apart.

    Raises:
        AlphaClipError: if not
    """
    repeated = len(ids) - len(np.unique(ids))
    if repeated:
        raise AlphaClipError(
            f"{repeated} label ids are in several samples, as labels of a copied sample are: other "
            "backends tell regions by the label id alone; give the copies ids of their own first"
        )


def _has_lost(engine: VectorEngine, held: Held) -> bool:
    """Whether an engine holds fewer vectors than it must, or more than it may, as one that began
    anew with an empty memory."""
    count, certain = engine.count(), int((held.ids.fingerprints != b"").sum())
    return count is not None and not certain <= count <= held.count
