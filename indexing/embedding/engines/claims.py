"""Which shards of a plan are being embedded, and which went wrong: files beside the shards.

::

    claim-<id>-00000.lock    locked while a worker embeds the shard
    tries-<id>-00000.json    who tried, and what came in the way

The lock ends with the process that holds it, so that the shard of a dead worker is free at once,
whatever its machine's clock says. It only saves work: where a file system does not lock across
machines, two workers may embed one shard, and the same comes of it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaclip.files import StoreError, read_checked, write_checked
from alphaclip.indexing.embedding.plans import Plan, beside, is_finished
from alphaclip.indexing.store.entries import check_kinds

MOST_TRIES = 3
"""Of a shard, before it counts as failed: a picture that kills its worker must not kill all."""

DIED = "its worker ended without a word: it was killed, or out of memory, or its machine is gone"


@dataclass(frozen=True)
class Try:
    """A worker's try at a shard.

    Attributes:
        host: its machine
        process: its number there
        reason: why nothing came of it; of a worker that still runs, :data:`DIED` stands there
    """

    host: str
    process: int
    reason: str


@dataclass(frozen=True)
class FailedShard:
    """A shard that is not tried any more.

    Attributes:
        file: of the shard, in the plan's folder
        regions: in it
        tries: at it
    """

    file: str
    regions: int
    tries: tuple[Try, ...]

    def __str__(self) -> str:
        last = self.tries[-1]
        return f"{self.file} ({self.regions} regions) failed on {last.host}: {last.reason}"


class Claim:
    """A shard that this process embeds: nobody else does meanwhile.

    Args:
        plan: of the shard
        shard: that is claimed
    """

    def __init__(self, plan: Plan, shard: dict[str, Any]) -> None:
        self.shard = shard
        self._path = beside(plan, shard, "tries", ".json")
        self._before = tries(plan, shard)
        self._write(DIED)  # Whoever dies cannot say so

    def fail(self, reason: str) -> None:
        """Notes why nothing came of it."""
        self._write(reason)

    def give_back(self) -> None:
        """Takes the try back: it was finished, or stopped by a person, which is no failure."""
        if self._before:
            self._write_all(self._before)
        else:
            with suppress(OSError):
                self._path.unlink()

    def _write(self, reason: str) -> None:
        self._write_all([*self._before, Try(socket.gethostname(), os.getpid(), reason)])

    def _write_all(self, made: Sequence[Try]) -> None:
        write_checked(self._path, {"tries": [asdict(one) for one in made]})


@contextmanager
def claiming(plan: Plan, shard: dict[str, Any]) -> Iterator[Claim | None]:
    """Claims a shard while something is done; gives None where there is nothing to be done: it is
    finished, has failed, or another worker embeds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(beside(plan, shard, "claim", ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"{plan.folder} cannot be written: {error}") from error
    try:
        is_open = not is_finished(plan, shard) and len(tries(plan, shard)) < MOST_TRIES
        yield Claim(plan, shard) if is_open else None
    finally:
        lock.release()


def tries(plan: Plan, shard: dict[str, Any]) -> list[Try]:
    """The tries at a shard of which nothing came, the last one perhaps still at it."""
    path = beside(plan, shard, "tries", ".json")
    try:
        content = read_checked(path, "it is not used", check=_check)
    except StoreError:
        return []  # What it says saves work only
    return [Try(**one) for one in content["tries"]] if content else []


def failed_shards(plan: Plan) -> list[FailedShard]:
    """The shards that nobody tries any more."""
    made = ((shard, tries(plan, shard)) for shard in plan.shards if not is_finished(plan, shard))
    return [
        FailedShard(shard["file"], shard["count"], tuple(those))
        for shard, those in made
        if len(those) >= MOST_TRIES
    ]


def forget_failures(plan: Plan) -> None:
    """Lets every failed shard be tried again."""
    for shard in plan.shards:
        if len(tries(plan, shard)) >= MOST_TRIES:
            with suppress(OSError):
                beside(plan, shard, "tries", ".json").unlink()


def _check(content: dict[str, Any], path: Path) -> None:
    check_kinds(content, {"tries": list}, path)
    for one in content["tries"]:
        check_kinds(one, {"host": str, "process": int, "reason": str}, path)
