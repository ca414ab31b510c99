"""Runs workers on a plan by an engine, and says how far they are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding.engines.claims import (
    FailedShard,
    Try,
    failed_shards,
    forget_failures,
    tries,
)
from alphaclip.indexing.embedding.engines.engines import ENGINES, Job
from alphaclip.indexing.embedding.engines.worker import path_map, work_quietly
from alphaclip.indexing.embedding.plans import (
    Plan,
    PlanError,
    finished_at,
    is_finished,
    read_plan,
    regions_left,
)
from alphaclip.indexing.progress import Progress, shown

LATELY = 50
"""Shards that the speed is measured over: those embedded last, as a run may have had a pause."""

LOOK_SHARE = 20
"""Looking how far it is costs a twentieth of the time at most."""


@dataclass(frozen=True)
class PlanStatus:
    """How far the shards of a plan are embedded.

    Attributes:
        shards: of the plan
        finished: of these
        regions: to embed
        embedded: of these, looked at or skipped
        trying: shards that workers are at, or were when they died
        failed: shards that are not tried any more
        regions_per_second: lately; None where it cannot be told yet
    """

    shards: int
    finished: int
    regions: int
    embedded: int
    trying: dict[str, Try]
    failed: list[FailedShard]
    regions_per_second: float | None

    @property
    def seconds_left(self) -> float | None:
        """At the speed of lately; None where it cannot be told."""
        speed = self.regions_per_second
        return (self.regions - self.embedded) / speed if speed else None


@dataclass(frozen=True)
class RunReport:
    """What workers did.

    Attributes:
        embedded: regions, now
        left: regions of shards that are not embedded
        failed: shards that were given up
        seconds: it took
    """

    embedded: int
    left: int
    failed: list[FailedShard]
    seconds: float


@checked(workers=COUNT, gpus_per_worker=(0, math.inf))
def run(
    folder: Path,
    engine: str = "local",
    workers: int = 2,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    paths: Mapping[str, str] | None = None,
    progress: Progress | bool | None = None,
) -> RunReport:
    """Embeds the shards of a plan by workers side by side; run again, it goes on.

    Workers take shard after shard, so that a slow one holds nobody up. The shard of a worker that
    dies is embedded by another; one of which nothing came three times is given up, and named.

    Args:
        folder: of the plan
        engine ("local"): "local" starts processes here, "ray" actors in a cluster of Ray
        workers (2): how many
        address (None): of Ray's cluster; None is Ray's own choice: ``RAY_ADDRESS``, else here
        gpus_per_worker (0): GPUs, or a share of one, that each gets
        paths (None): folders of pictures, and where the workers have them
        progress (None): told how far it is; None shows a bar in the terminal

    Raises:
        AlphaClipError: if there is no plan, an engine of this name is not installed, or no worker
            could work; the message has what the last of them said
    """
    if engine not in ENGINES:
        raise AlphaClipError(f"there is no engine {engine!r}: choose one of {', '.join(ENGINES)}")
    plan, started = read_plan(folder), time.monotonic()
    path_map(paths or {})
    forget_failures(plan)
    total, before = plan.counts["to_embed"], regions_left(plan)
    job = Job(folder.absolute(), workers, address, gpus_per_worker, dict(paths or {}), work_quietly)
    said, next_look = "", 0.0
    # Closed, so that workers end where the progress raises: a traceback would hold the generator
    with shown(progress) as show, closing(ENGINES[engine](job)) as ticks:
        for said in ticks if before else ():  # noqa: B007 - the last one counts
            began = time.monotonic()
            if began >= next_look:  # To look at 50,000 shards over a network takes a while
                show("regions embedded", total - regions_left(plan), total)
                next_look = began + LOOK_SHARE * (time.monotonic() - began)
    left, failed = regions_left(plan), failed_shards(plan)
    if left > sum(one.regions for one in failed):
        raise PlanError(
            f"{left} of {total} regions are not embedded, and no worker is left: {said}"
        )
    return RunReport(before - left, left, failed, round(time.monotonic() - started, 1))


@checked()
def status(folder: Path) -> PlanStatus:
    """How far the shards of a plan are; nothing is read but small files.

    Args:
        folder: of the plan

    Raises:
        PlanError: if there is no plan
    """
    plan = read_plan(folder)
    open_shards = [shard for shard in plan.shards if not is_finished(plan, shard)]
    failed, left = failed_shards(plan), regions_left(plan)
    given_up = {one.file for one in failed}
    trying = {
        shard["file"]: made[-1]
        for shard in open_shards
        if shard["file"] not in given_up and (made := tries(plan, shard))
    }
    total = plan.counts["to_embed"]
    done = len(plan.shards) - len(open_shards)
    speed = _speed(plan)
    return PlanStatus(len(plan.shards), done, total, total - left, trying, failed, speed)


def _speed(plan: Plan) -> float | None:
    """Regions a second, over the shards that were embedded last."""
    counts: Sequence[tuple[float, int]] = sorted(
        (at, shard["count"])
        for shard in plan.shards
        if (at := finished_at(plan, shard)) is not None
    )[-LATELY:]
    if len(counts) < 2 or counts[-1][0] <= counts[0][0]:
        return None
    return sum(count for _, count in counts[1:]) / (counts[-1][0] - counts[0][0])
