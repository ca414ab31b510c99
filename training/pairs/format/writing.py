"""Writes a set of pairs: shard by shard, each whole or not at all, the same bytes every time."""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.files import file_sha256, write_atomically
from alphaclip.training.pairs.format.filters import FilterSettings, filter_picture
from alphaclip.training.pairs.format.jobs import (
    PartJob,
    Progress,
    agree,
    make_plan,
    run_parts,
    sole_writer,
    write_json,
)
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import (
    FORMAT,
    PairError,
    PairPicture,
    Skipped,
    to_members,
)
from alphaclip.training.pairs.format.reports import INDEX, PLAN, PairsReport, ShardReport, Tally

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""A full disk stops the job: else every item from then on would count as unreadable."""


@dataclass(frozen=True)
class PairSettings:
    """How a set is written.

    Attributes:
        per_shard: items of a shard
        seed: of what is drawn, as the contact sheet
        filters: which regions and texts are kept
        made: how the pictures are made, as JSON holds it; has to agree when a job goes on
    """

    per_shard: int = 1000
    seed: int = 0
    filters: FilterSettings = field(default_factory=FilterSettings)
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.per_shard < 1:
            raise PairError(f"per_shard is {self.per_shard}: expected at least 1")


def write_pairs(
    items: Sequence[T],
    make: Callable[[T], PairPicture | Skipped],
    folder: Path,
    settings: PairSettings | None = None,
    progress: Progress | None = None,
    identify: Callable[[T], str] = repr,
) -> PairsReport:
    """Writes a set of pairs; run again after an interruption, it goes on.

    Shard ``i`` holds the items from ``i * per_shard`` on: ``pairs-000000.tar``, and
    ``pairs-000000.json`` with its counts and SHA-256. At the end there are ``index.json``,
    ``statistics.html`` and ``contact-sheet.png``. The same items give the same bytes.

    Args:
        items: what pictures are made of, in the order of the set
        make: makes a picture, or says why there is none; an `AlphaClipError` or `OSError` that it
            raises counts as skipped, unless the disk is full
        folder: of the set; made if need be
        settings: see :class:`PairSettings`
        progress: of items
        identify: a text that tells an item from others, the same in every run

    Raises:
        PairError: if the folder holds a set of other items or settings, or is being written
        AlphaClipError: if something cannot be written, as on a full disk; finished shards stay
    """
    from alphaclip.training.pairs.format.summary import write_summary

    settings = settings or PairSettings()
    job = PartJob(folder, "pairs", "tar", settings.per_shard, asdict(settings))
    plan = {"format": FORMAT, **make_plan(items, identify, job.settings)}

    def write(path: Path, start: int, part: Sequence[T]) -> ShardReport:
        made = (_made(make, item) for item in part)
        return _write_shard(path, range(start, start + len(part)), made, settings.filters)

    with sole_writer(folder):
        agree(folder / PLAN, plan)
        shards, done_before = run_parts(items, write, ShardReport.from_dict, job, progress)
        report = PairsReport(folder, len(items), tuple(shards.values()), done_before)
        write_json(folder / INDEX, {**plan, **report.to_dict()})
        write_summary(report, settings.seed)
    return report


def _write_shard(
    path: Path, items: range, made: Iterable[PairPicture | Skipped], filters: FilterSettings
) -> ShardReport:
    keys: set[str] = set()
    regions = texts = 0
    skipped, left_out = Tally(), Tally()

    def write(stream: BinaryIO) -> None:
        nonlocal regions, texts
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for one in made:
                passed = one if isinstance(one, Skipped) else _filter(one, keys, left_out, filters)
                if isinstance(passed, Skipped):
                    skipped.add(passed)
                    continue
                picture, members = passed
                for name, content in members.items():
                    # Without time, owner or anything else that differs between runs.
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))
                keys.add(picture.key)
                regions += len(picture.regions)
                texts += sum(len(region.texts) for region in picture.regions)

    write_atomically(path, write)
    return ShardReport(
        name=path.name,
        sha256=file_sha256(path),
        size=path.stat().st_size,
        start=items.start,
        stop=items.stop,
        pictures=len(keys),
        regions=regions,
        texts=texts,
        skipped=skipped,
        left_out=left_out,
    )


def _filter(
    picture: PairPicture, keys: set[str], left_out: Tally, filters: FilterSettings
) -> tuple[PairPicture, dict[str, bytes]] | Skipped:
    """What is kept of a picture, and its members of the tar."""
    if picture.key in keys:
        return Skipped("key used before", picture.key)
    try:
        height, width = decode_picture(picture.image, picture.key).shape[:2]
    except ImageError as error:
        return skipped_by(error)
    passed, lost = filter_picture(picture, (height, width), filters)
    for skipped in lost:
        left_out.add(skipped)
    if not passed.regions:
        return Skipped("no region kept", picture.key)
    return passed, to_members(passed, (height, width))


def _made(make: Callable[[T], PairPicture | Skipped], item: T) -> PairPicture | Skipped:
    try:
        return make(item)
    except (AlphaClipError, OSError) as error:
        if _is_full(error) or _is_full(error.__cause__):
            raise PairError(f"the disk is full ({error}): make room, then run again") from error
        return skipped_by(error)


def skipped_by(error: Exception) -> Skipped:
    """What an error says of an item that is left out for it."""
    if isinstance(error, ImageError):
        return Skipped("picture cannot be opened", str(error))
    if isinstance(error, AlphaClipError):
        return Skipped(type(error).__name__, str(error))
    return Skipped("file cannot be read", f"{type(error).__name__}: {error}")


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL
