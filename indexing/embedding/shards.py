"""Embeds the shards of a plan: needs no database, and may be killed at any moment.

What comes of a shard is one piece of a store in the plan's folder, and a file that names it; a
shard that is done is not done again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.embedding.label_reader import TWICE
from alphaclip.indexing.embedding.plans import (
    FinishedShard,
    Plan,
    PlanError,
    PlannedRegion,
    finish,
    is_finished,
    read_shard,
)
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.store.segments import RowIds, write_segment

if TYPE_CHECKING:
    from alphaclip.encoder.encoder import Encoder, Failure
    from alphaclip.regions.region import Region


def embed_shards(
    plan: Plan,
    encoder: Encoder,
    shards: Sequence[dict[str, Any]] | None = None,
    progress: Progress = lambda what, done, total: None,
    after_shard: Callable[[], None] = lambda: None,
    locate: Callable[[str], str] = str,
) -> int:
    """Embeds shards of a plan; those that are done stay as they are.

    Args:
        plan: see :func:`plans.make_plan`
        encoder: the one the plan is for
        shards (None): of the plan; None stands for all
        progress: told how many regions of these shards are embedded
        after_shard: called each time that a shard is done
        locate (str): where this machine has the picture of a path

    Returns:
        how many regions were embedded now

    Raises:
        PlanError: if a shard is damaged, or the encoder does not give a vector for each region
    """
    shards = plan.shards if shards is None else shards
    total, done, embedded = sum(shard["count"] for shard in shards), 0, 0
    running: deque[_RunningShard] = deque()
    firsts: set[int] = (
        set()
    )  # A shard has no batch in common with another: which come first is luck

    def stream() -> Iterator[tuple[str, list[Region]]]:
        nonlocal done
        sent = 0
        for shard in shards:
            if is_finished(plan, shard):
                done += shard["count"]
                continue
            running.append(_RunningShard(plan, shard, sent))
            firsts.add(sent)
            for path, regions in running[-1].stream():
                sent += 1
                yield locate(path), regions

    def note_failure(failure: Failure) -> None:
        its = next(one for one in reversed(running) if one.first <= failure.item)
        its.note_failure(failure)

    # One stream for all: at the end of a shard, pictures of the next are opened and cut already.
    for vectors in encoder.encode_many(stream(), note_failure, apart=firsts):
        shard = running[0]
        shard.take(vectors)
        done += len(vectors)
        progress("regions embedded", done, total)
        if shard.is_done:
            running.popleft()
            embedded += shard.finish()
            done += shard.twice
            after_shard()
    if running:
        raise PlanError(f"{running[0].filepath}: the encoder gave no vectors of it")
    progress("regions embedded", done, total)
    return embedded


def shards_of(plan: Plan, part: tuple[int, int] = (1, 1)) -> list[dict[str, Any]]:
    """The i-th of n equal parts of a plan's shards, i from 1.

    Raises:
        PlanError: if there is no such part
    """
    number, parts = part
    if not 1 <= number <= parts:
        raise PlanError(f"shard is {number}/{parts}: expected i/n with i from 1 to n")
    return plan.shards[number - 1 :: parts]


class _RunningShard:
    """A shard whose regions are sent through the encoder; those that get a vector become a piece
    of a store.

    Of regions with one sample and label id the first counts. The encoder opens pictures ahead of
    the vectors that it gives, so what was sent is remembered until its vectors come.

    Args:
        plan: of the shard
        shard: to embed
        first: number of its first picture in the encoder's stream
    """

    def __init__(self, plan: Plan, shard: dict[str, Any], first: int) -> None:
        planned = plan.regions.get(shard["file"]) or read_shard(plan, shard)
        self.first = first
        self.twice = 0
        self._plan = plan
        self._shard = shard
        self._pictures = [list(rows) for _, rows in groupby(planned, lambda row: row.sample_id)]
        self._sent: list[list[PlannedRegion]] = []
        self._failed: set[tuple[int, int]] = set()
        self._embedded: list[PlannedRegion] = []
        self._blocks: list[np.ndarray] = []
        self._skipped: list[Skipped] = []
        self._count = 0

    @property
    def is_done(self) -> bool:
        """Whether the vectors of all pictures have come."""
        return self._count == len(self._pictures)

    @property
    def filepath(self) -> str:
        """Of the picture whose vectors come next."""
        return self._pictures[self._count][0].filepath

    def stream(self) -> Iterator[tuple[str, list[Region]]]:
        """Its pictures, each with its regions."""
        seen: set[tuple[str, str]] = set()
        for rows in self._pictures:
            self._sent.append([])
            for row in rows:
                if row[:2] in seen:
                    self._skipped.append(Skipped(row.filepath, row.label_id, TWICE))
                    self.twice += 1
                else:
                    seen.add(row[:2])
                    self._sent[-1].append(row)
            yield rows[0].filepath, [row.region for row in self._sent[-1]]

    def note_failure(self, failure: Failure) -> None:
        """Remembers why a picture or region gets no vector."""
        item, one = failure.item - self.first, failure.region
        rows = self._sent[item]
        self._failed.update((item, i) for i in (range(len(rows)) if one is None else [one]))
        label_id = "" if one is None else rows[one].label_id
        path = self._pictures[item][0].filepath
        self._skipped.append(Skipped(path, label_id, str(failure.error)))

    def take(self, vectors: np.ndarray) -> None:
        """Takes the vectors of the next picture."""
        rows, count = self._sent[self._count], self._count
        if len(vectors) != len(rows):
            raise PlanError(f"{self.filepath}: got {len(vectors)} vectors of {len(rows)} regions")
        finite = np.isfinite(vectors).all(axis=1)
        for i in np.flatnonzero(~finite).tolist():
            if (count, i) not in self._failed:
                skipped = Skipped(self.filepath, rows[i].label_id, "its vector is not finite")
                self._skipped.append(skipped)
        if finite.any():
            self._embedded += [rows[i] for i in np.flatnonzero(finite)]
            # Half the size of float32; its 11 bits move no cosine by more than 0.001
            self._blocks.append(vectors[finite].astype(np.float16))
        self._count += 1

    def finish(self) -> int:
        """Writes what came of it; returns how many regions got a vector."""
        entry = None
        if self._blocks:
            sample_ids, label_ids, fingerprints, *_ = zip(*self._embedded, strict=True)
            ids = RowIds.of(sample_ids, label_ids, self._plan.settings["field"], fingerprints)
            # At once, as a picture may have one region: each block is looked at when it is written
            vectors = np.concatenate(self._blocks)
            dim, kind = vectors.shape[1], vectors.dtype
            entry = write_segment(self._plan.folder, [vectors], ids, dim, kind).entry
        finish(self._plan, self._shard, FinishedShard(entry, self._skipped))
        return len(self._embedded)
