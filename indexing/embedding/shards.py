"""Embeds the shards of a plan: needs no database, and may be killed at any moment.

What comes of a shard is one piece of a store in the plan's folder, and a file that names it; a
shard that is done is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    finished,
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
    part: tuple[int, int] = (1, 1),
    progress: Progress = lambda what, done, total: None,
    after_shard: Callable[[], None] = lambda: None,
) -> int:
    """Embeds a part of a plan's shards; those that are done stay as they are.

    Args:
        plan: see :func:`plans.make_plan`
        encoder: the one the plan is for
        part: ``(i, n)`` is the i-th of n equal parts, from 1
        progress: told how many regions of this part are embedded
        after_shard: called each time that a shard is done

    Returns:
        how many regions were embedded now

    Raises:
        PlanError: if a shard is damaged, the part is not one of 1 to n, or the encoder does not
            give a vector for each region
    """
    shards = shards_of(plan, part)
    total, done, embedded = sum(shard["count"] for shard in shards), 0, 0
    for shard in shards:
        if finished(plan, shard) is None:

            def tell(within: int, before: int = done) -> None:
                progress("regions embedded", before + within, total)

            regions = plan.regions.get(shard["file"]) or read_shard(plan, shard)
            result = _embed(plan, regions, encoder, tell)
            finish(plan, shard, result)
            after_shard()
            embedded += result.entry["count"] if result.entry else 0
        done += shard["count"]
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


def _embed(
    plan: Plan, planned: list[PlannedRegion], encoder: Encoder, tell: Callable[[int], None]
) -> FinishedShard:
    """Runs regions through the encoder, and writes those that got a vector as a piece of a store.

    Of regions with one sample and label id the first counts. The encoder opens pictures ahead of
    the vectors that it gives, so what was sent is remembered until its vectors come.
    """
    pictures = [list(rows) for _, rows in groupby(planned, lambda row: row.sample_id)]
    sent: list[list[PlannedRegion]] = []
    failed: set[tuple[int, int]] = set()
    embedded: list[PlannedRegion] = []
    blocks: list[np.ndarray] = []
    skipped: list[Skipped] = []

    def stream() -> Iterator[tuple[str, list[Region]]]:
        seen: set[tuple[str, str]] = set()
        for rows in pictures:
            sent.append([])
            for row in rows:
                if row[:2] in seen:
                    skipped.append(Skipped(row.filepath, row.label_id, TWICE))
                else:
                    seen.add(row[:2])
                    sent[-1].append(row)
            yield rows[0].filepath, [row.region for row in sent[-1]]

    def note_failure(failure: Failure) -> None:
        rows = sent[failure.item]
        one = failure.region
        failed.update((failure.item, i) for i in (range(len(rows)) if one is None else [one]))
        label_id = "" if one is None else rows[one].label_id
        skipped.append(Skipped(pictures[failure.item][0].filepath, label_id, str(failure.error)))

    count = done = 0
    for vectors in encoder.encode_many(stream(), note_failure):
        rows, filepath = sent[count], pictures[count][0].filepath
        if len(vectors) != len(rows):
            raise PlanError(f"{filepath}: got {len(vectors)} vectors of {len(rows)} regions")
        finite = np.isfinite(vectors).all(axis=1)
        for i in np.flatnonzero(~finite).tolist():
            if (count, i) not in failed:
                skipped.append(Skipped(filepath, rows[i].label_id, "its vector is not finite"))
        if finite.any():
            embedded += [rows[i] for i in np.flatnonzero(finite)]
            # Half the size of float32; its 11 bits move no cosine by more than 0.001
            blocks.append(vectors[finite].astype(np.float16))
        count, done = count + 1, done + len(vectors)
        tell(done)
    if count < len(pictures):
        raise PlanError(f"{pictures[count][0].filepath}: the encoder gave no vectors of it")
    if not blocks:
        return FinishedShard(None, skipped)
    sample_ids, label_ids, fingerprints, *_ = zip(*embedded, strict=True)
    ids = RowIds.of(sample_ids, label_ids, plan.settings["field"], fingerprints)
    dim = blocks[0].shape[1]
    segment = write_segment(plan.folder, blocks, ids, dim, np.dtype(np.float16))
    return FinishedShard(segment.entry, skipped)
