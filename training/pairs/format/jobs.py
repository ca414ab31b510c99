"""Jobs that go on where they stopped: their results are files, each of a part of the items.

A part's file is there whole or not at all. Beside it is its report, with the file's size and
SHA-256, written after it: a part counts as done if both are there and agree. What the job was begun
with is kept in a plan, which has to be the same when it goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alphaclip.errors import AlphaClipError
from alphaclip.files import (
    CHECKSUM,
    is_whole,
    read_checked,
    read_json,
    remove_partials,
    write_atomically,
    write_checked,
    write_text,
)
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.records import PairError
from alphaclip.training.pairs.format.reports import Tally

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with how many items are done, and how many there are."""


class PartReport(Protocol):
    """What came of a part: its file's size in bytes and SHA-256, and what else its JSON holds.

    Parts that were made before have no SHA-256.
    """

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str | None: ...
    def to_dict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=PartReport)


@dataclass(frozen=True)
class PartJob:
    """Where the parts go, and what has to agree when a job goes on.

    Attributes:
        folder: made if need be
        stem: of the files, such as ``grit``: the first is ``grit-000000.parquet``
        suffix: of the files, such as ``parquet``
        per_part: items of a part
        settings: all that decides what is made, as JSON holds it
    """

    folder: Path
    stem: str
    suffix: str
    per_part: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.per_part < 1:
            raise PairError(f"per_part is {self.per_part}: expected at least 1")


@dataclass(frozen=True)
class PartsReport:
    """What came of a job.

    Attributes:
        paths: of the files, in order
        done_before: how many were there already
        skipped: what is in none of them
    """

    paths: tuple[Path, ...]
    done_before: int
    skipped: Tally


def make_parts(
    items: Sequence[T],
    make: Callable[[Sequence[T]], tuple[bytes, Tally]],
    job: PartJob,
    progress: Progress | None = None,
) -> PartsReport:
    """Makes the parts that are not there yet.

    Args:
        items: with a ``repr`` that tells them from others, the same in every run
        make: makes the content of a file of some items, and says what is not in it
        job: where they go
        progress: of items

    Raises:
        PairError: if the folder holds parts of other items or settings, of which ``per_part`` is
            one, or another process writes there
        AlphaClipError: if a file cannot be written; finished parts stay
    """

    def write(path: Path, start: int, part: Sequence[T]) -> _Part:
        content, skipped = make(part)
        write_atomically(path, lambda file: file.write(content))
        return _Part(len(content), hashlib.sha256(content).hexdigest(), skipped)

    plan = make_plan(items, repr, {"per_part": job.per_part, **job.settings})
    with sole_writer(job.folder):
        agree(job.folder / f"{job.stem}-plan.json", plan)
        parts, done_before = run_parts(items, write, _Part.from_dict, job, progress)
    skipped = Tally.merged(part.skipped for part in parts.values())
    return PartsReport(tuple(parts), done_before, skipped)


@dataclass(frozen=True)
class _Part:
    size: int
    sha256: str | None
    skipped: Tally

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "skipped": self.skipped.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> _Part:
        skipped = Tally.from_dict(content["skipped"])
        return cls(int(content["size"]), content.get("sha256"), skipped)


def run_parts(
    items: Sequence[T],
    write: Callable[[Path, int, Sequence[T]], R],
    read: Callable[[Mapping[str, Any]], R],
    job: PartJob,
    progress: Progress | None = None,
) -> tuple[dict[Path, R], int]:
    """Writes the parts that are not there yet, for a job that is the sole writer of its folder.

    Args:
        items: in order
        write: writes the file of some items, of which the first has the given number
        read: a report from its JSON
        job: where they go
        progress: of items

    Returns:
        the reports by file, in order, and how many were there already
    """
    reports: dict[Path, R] = {}
    done_before = 0
    for number, start in enumerate(range(0, len(items), job.per_part)):
        part = items[start : start + job.per_part]
        path = job.folder / f"{job.stem}-{number:06d}.{job.suffix}"
        report = read_report(path, read)
        if report is not None and _is_as_reported(path, report):
            reports[path] = report
            done_before += 1
        else:
            reports[path] = write(path, start, part)
            write_checked(path.with_suffix(".json"), reports[path].to_dict(), CHECKSUM)
        if progress is not None:
            progress(start + len(part), len(items))
    return reports, done_before


def read_report(path: Path, read: Callable[[Mapping[str, Any]], R]) -> R | None:
    """What was written of a part's file; None if its report is missing or damaged."""
    beside = path.with_suffix(".json")
    try:
        return read(read_checked(beside, "run the job again", CHECKSUM, optional=True) or {})
    except MALFORMED:
        return None


def _is_as_reported(path: Path, report: PartReport) -> bool:
    if report.sha256 is not None:
        return is_whole(path, report.sha256, report.size)
    return path.is_file() and path.stat().st_size == report.size


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines.

    Raises:
        PairError: if it cannot be read, or a line is damaged; says where
    """
    read = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield dict(json.loads(line))
                read += 1
    except (OSError, *MALFORMED) as error:
        raise PairError(
            f"{path} is damaged after line {read} ({error}): delete it and run again"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def make_plan(
    items: Sequence[T], identify: Callable[[T], str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What has to agree when a job goes on.

    Args:
        items: in order
        identify: a text that tells an item from others, the same in every run
        settings: all that decides what is made, as JSON holds it

    Returns:
        ``items`` (their number), ``fingerprint`` (of all of them) and ``settings``
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{identify(item)}\n".encode("utf-8", "surrogatepass"))
    content = {"items": len(items), "fingerprint": digest.hexdigest(), "settings": settings}
    plan: dict[str, Any] = json.loads(json.dumps(content))  # As it is when it is read again.
    return plan


def agree(path: Path, plan: Mapping[str, Any]) -> None:
    """Keeps the plan of a job that begins, and compares it with that of one that goes on.

    Args:
        path: where the plan is kept
        plan: see :func:`make_plan`

    Raises:
        PairError: if they differ; says in what
        AlphaClipError: if it cannot be written
    """
    try:
        before = read_json(path)
    except FileNotFoundError:
        write_json(path, plan)
        return
    except (OSError, ValueError) as error:
        raise PairError(f"{path} cannot be read ({error}): take another folder") from error
    if before != plan:
        old, new = _flat(before), _flat(plan)
        differences = [
            f"{name}: {old.get(name)!r:.60} there, {new.get(name)!r:.60} now"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        raise PairError(
            f"{path.parent} holds what another job made ({'; '.join(differences[:3])}): take "
            "another folder, delete this one, or go on with what it was begun with"
        )


@contextmanager
def sole_writer(
    folder: Path, name: str = ".writer.lock", refused: type[AlphaClipError] = PairError
) -> Iterator[None]:
    """Makes this process the one that writes into a folder; the lock ends with the process.

    What a writer that was killed left half-written is deleted.

    Args:
        folder: made if need be
        name: of the lock's file
        refused: the kind of error that is raised

    Raises:
        AlphaClipError: if another process writes there, or the folder cannot be written
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise refused(f"another process writes into {folder}: wait until it is done") from error
    except (OSError, NotImplementedError) as error:
        raise refused(f"{folder} cannot be written ({error}): take another folder") from error
    try:
        remove_partials(folder)
        yield
    finally:
        lock.release()


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return {prefix or "content": content}
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat
