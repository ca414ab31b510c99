"""Long jobs whose results are files, a part of the items each: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from alphaclip.files import write_atomically, write_text
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.jobs import agree, make_plan, sole_writer
from alphaclip.training.pairs.format.reports import Tally

T = TypeVar("T")
Made = tuple[bytes, Tally]
"""The content of a part's file, and what is not in it."""


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

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"{self.stem}-{number:06d}.{self.suffix}"


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
    make: Callable[[Sequence[T]], Made],
    job: PartJob,
    progress: Callable[[int, int], None] | None = None,
) -> PartsReport:
    """Makes the parts that are not there yet.

    Args:
        items: with a ``repr`` that tells them from others, the same in every run
        make: makes the file of some items
        job: where they go
        progress: called with items done and items in all

    Raises:
        PairError: if the folder holds parts of other items or settings, of which ``per_part`` is
            one, or another process writes there
        AlphaClipError: if a file cannot be written; finished parts stay
    """
    if job.per_part < 1:
        raise PairError(f"per_part is {job.per_part}: expected at least 1")
    settings = {"per_part": job.per_part, **job.settings}
    with sole_writer(job.folder):
        agree(job.folder / f"{job.stem}-plan.json", make_plan(items, repr, settings))
        return _make_all(items, make, job, progress)


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


def _make_all(
    items: Sequence[T],
    make: Callable[[Sequence[T]], Made],
    job: PartJob,
    progress: Callable[[int, int], None] | None,
) -> PartsReport:
    paths: list[Path] = []
    skipped, done_before = Tally(), 0
    for number, start in enumerate(range(0, len(items), job.per_part)):
        part = items[start : start + job.per_part]
        paths.append(job.path(number))
        found = _finished(paths[-1])
        done_before += found is not None
        skipped.merge(_write(paths[-1], *make(part)) if found is None else found)
        if progress is not None:
            progress(start + len(part), len(items))
    return PartsReport(tuple(paths), done_before, skipped)


def _finished(path: Path) -> Tally | None:
    try:
        content = json.loads(path.with_suffix(".json").read_bytes())
        is_whole = path.stat().st_size == content["size"]
        return Tally.from_dict(content["skipped"]) if is_whole else None
    except (OSError, *MALFORMED):
        return None


def _write(path: Path, content: bytes, skipped: Tally) -> Tally:
    write_atomically(path, lambda file: file.write(content))
    beside = {"size": len(content), "skipped": skipped.to_dict()}
    write_text(path.with_suffix(".json"), json.dumps(beside, ensure_ascii=False, indent=1) + "\n")
    return skipped
