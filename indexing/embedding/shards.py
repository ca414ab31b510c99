"""Embeds the shards of a plan: needs its files and an encoder, and may be killed at any moment.

What comes of a shard is one piece of a store in the plan's folder, and ``done-<id>-00000.json``
that names it. A shard that is done is not done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphaclip.indexing.dataset.skipped import TWICE, Skipped
from alphaclip.indexing.embedding.plans import Plan, PlanError, read_shard
from alphaclip.indexing.store.checked_json import read_checked, write_checked
from alphaclip.indexing.store.files import StoreError
from alphaclip.indexing.store.segments import RowIds, check_file, write_segment
from alphaclip.regions.region import Region
from alphaclip.regions.region_json import region_from_json

if TYPE_CHECKING:
    from alphaclip.encoder.encoder import Failure

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many regions are done, and how many there are."""


class EncodesMany(Protocol):
    """What shards need of an encoder; see :class:`alphaclip.encoder.encoder.Encoder`."""

    def encode_many(
        self,
        items: Iterable[tuple[Any, Sequence[Region]]],
        on_error: Callable[[Failure], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Vectors of each item's regions, rows of NaN for those that failed."""


@dataclass(frozen=True)
class Outcome:
    """What came of a shard.

    Attributes:
        entry: of the piece it became; None if nothing in it could be embedded
        skipped: what was left out
    """

    entry: dict[str, Any] | None
    skipped: list[Skipped]


def embed_shards(
    plan: Plan,
    encoder: EncodesMany,
    part: tuple[int, int] = (1, 1),
    progress: Progress | None = None,
) -> int:
    """Embeds a part of a plan's shards; those that are done stay as they are.

    Args:
        plan: see :func:`plans.make_plan`
        encoder: the one the plan is for
        part: ``(i, n)`` is the i-th of n equal parts, from 1
        progress (None): told how far it is, in regions of this part

    Returns:
        how many regions were embedded now

    Raises:
        PlanError: if a shard is damaged, the part is not one of 1 to n, or the encoder does not
            give a vector for each region
    """
    shards = shards_of(plan, part)
    total, done, embedded = sum(shard["count"] for shard in shards), 0, 0
    for shard in shards:
        if outcome_of(plan, shard) is None:
            outcome = _embed(plan, shard, encoder, _shifted(progress, done, total))
            _write_outcome(plan, shard, outcome)
            embedded += outcome.entry["count"] if outcome.entry else 0
        done += shard["count"]
        if progress is not None:
            progress(done, total)
    return embedded


def shards_of(plan: Plan, part: tuple[int, int] = (1, 1)) -> list[dict[str, Any]]:
    """The i-th of n equal parts of a plan's shards, i from 1.

    Raises:
        PlanError: if there is no such part
    """
    place, parts = part
    if not 1 <= place <= parts:
        raise PlanError(f"shard is {place}/{parts}: expected i/n with i from 1 to n")
    return plan.shards[place - 1 :: parts]


def outcome_of(plan: Plan, shard: dict[str, Any]) -> Outcome | None:
    """What came of a shard; None if it is to be embedded (again)."""
    try:
        content = read_checked(_outcome_path(plan, shard), "it is not used")
        if content is None or content["shard"] != shard["sha256"]:
            return None
        entry = content["entry"]
        for kind in ("vectors", "rows") if entry else ():
            check_file(plan.folder, entry[kind])
        return Outcome(entry, [Skipped(**skipped) for skipped in content["skipped"]])
    except StoreError as error:
        logger.warning("%s is embedded again: %s", shard["file"], error)
        return None


def finished_entries(plan: Plan) -> list[dict[str, Any]]:
    """Entries of all pieces that are there: of this plan, and of those it took over."""
    outcomes = [outcome_of(plan, shard) for shard in plan.shards]
    own = [outcome.entry for outcome in outcomes if outcome and outcome.entry]
    return [*plan.taken_over, *own]


def _embed(
    plan: Plan, shard: dict[str, Any], encoder: EncodesMany, progress: Progress | None
) -> Outcome:
    reader = _Reader(plan, shard)
    done = 0
    for vectors in encoder.encode_many(reader.items(), reader.note_failure):
        reader.collect(vectors)
        done += len(vectors)
        if progress is not None:
            progress(done, shard["count"])
    reader.check_complete()
    if not reader.vectors:
        return Outcome(None, reader.skipped)
    dim = reader.vectors[0].shape[1]
    columns = (reader.column(name) for name in ("sample_id", "label_id", "fingerprint"))
    samples, labels, fingerprints = columns
    ids = RowIds.of(samples, labels, plan.settings["field"], fingerprints)
    segment = write_segment(plan.folder, reader.vectors, ids, dim, np.dtype(np.float16))
    return Outcome(segment.entry, reader.skipped)


class _Reader:
    """The regions of a shard on their way through the encoder, and what has become of them."""

    def __init__(self, plan: Plan, shard: dict[str, Any]) -> None:
        self.vectors: list[np.ndarray] = []
        self.skipped: list[Skipped] = []
        self._pictures = read_shard(plan, shard)
        self._under_way: dict[int, tuple[str, list[dict[str, str]]]] = {}
        self._reported: dict[int, set[int]] = {}
        self._rows: list[dict[str, str]] = []
        self._seen: set[str] = set()
        self._next = 0

    def items(self) -> Iterator[tuple[str, list[Region]]]:
        """Pictures and regions, as the encoder takes them."""
        for place, (filepath, rows) in enumerate(self._pictures):
            fresh = [row for row in rows if self._is_first(row)]
            self._under_way[place], self._reported[place] = (filepath, fresh), set()
            yield filepath, [region_from_json(row["region"]) for row in fresh]

    def note_failure(self, failure: Failure) -> None:
        """Remembers what the encoder could not use."""
        filepath, rows = self._under_way[failure.item]
        reported = self._reported[failure.item]
        if failure.region is None:
            reported.update(range(len(rows)))
            self.skipped.append(Skipped(filepath, "", str(failure.error)))
        else:
            reported.add(failure.region)
            label_id = rows[failure.region]["label_id"]
            self.skipped.append(Skipped(filepath, label_id, str(failure.error)))

    def collect(self, vectors: np.ndarray) -> None:
        """Takes the vectors of one picture, which is done with."""
        filepath, rows = self._under_way.pop(self._next)
        reported = self._reported.pop(self._next)
        self._next += 1
        if len(vectors) != len(rows):
            raise PlanError(f"{filepath}: got {len(vectors)} vectors of {len(rows)} regions")
        finite = np.isfinite(vectors).all(axis=1)
        for place in set(np.flatnonzero(~finite).tolist()) - reported:
            reason = "its vector is not finite"
            self.skipped.append(Skipped(filepath, rows[place]["label_id"], reason))
        self._rows += [rows[place] for place in np.flatnonzero(finite)]
        if finite.any():
            self.vectors.append(vectors[finite].astype(np.float16))

    def check_complete(self) -> None:
        """Looks whether every picture has come back.

        Raises:
            PlanError: if the encoder has left one out
        """
        waiting = [filepath for filepath, _ in self._under_way.values()]
        waiting += [filepath for filepath, _ in self._pictures]
        if waiting:
            raise PlanError(f"{waiting[0]}: the encoder gave no vectors of it")

    def column(self, name: str) -> list[str]:
        """A value of every region that has a vector."""
        return [row[name] for row in self._rows]

    def _is_first(self, row: dict[str, str]) -> bool:
        if row["label_id"] in self._seen:
            self.skipped.append(Skipped(row["filepath"], row["label_id"], TWICE))
            return False
        self._seen.add(row["label_id"])
        return True


def _write_outcome(plan: Plan, shard: dict[str, Any], outcome: Outcome) -> None:
    write_checked(_outcome_path(plan, shard), {"shard": shard["sha256"], **asdict(outcome)})


def _outcome_path(plan: Plan, shard: dict[str, Any]) -> Path:
    name = shard["file"].replace("todo-", "done-").replace(".parquet", ".json")
    return plan.folder / name


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda within, _: progress(done + within, total)
