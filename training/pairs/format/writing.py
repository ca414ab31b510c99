"""Writes a set of pairs: shard by shard, each whole or not at all, the same bytes every time."""

from __future__ import annotations

import errno
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.files import file_sha256, write_atomically, write_text
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.filters import FilterSettings, filter_picture
from alphaclip.training.pairs.format.jobs import agree, make_plan, sole_writer
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import FORMAT, PairPicture, Skipped, to_members
from alphaclip.training.pairs.format.reports import (
    INDEX,
    PLAN,
    PairsReport,
    ShardReport,
    Tally,
    read_report,
)

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with how many items are done, and how many there are."""


_FULL = (errno.ENOSPC, errno.EDQUOT)


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
    plan = {"format": FORMAT, **make_plan(items, identify, asdict(settings))}
    with sole_writer(folder):
        agree(folder / PLAN, plan)
        report = _write_shards(items, make, folder, settings, progress)
        _write_json(folder / INDEX, {**plan, **report.to_dict()})
        write_summary(report, settings.seed)
    return report


def _write_shards(
    items: Sequence[T],
    make: Callable[[T], PairPicture | Skipped],
    folder: Path,
    settings: PairSettings,
    progress: Progress | None,
) -> PairsReport:
    shards, done_before = [], 0
    for number, start in enumerate(range(0, len(items), settings.per_shard)):
        path = folder / f"pairs-{number:06d}.tar"
        report = _finished(path)
        done_before += report is not None
        part = items[start : start + settings.per_shard]
        shards.append(report or _write_shard(path, start, part, make, settings.filters))
        if progress is not None:
            progress(start + len(part), len(items))
    return PairsReport(folder, len(items), tuple(shards), done_before)


def _finished(path: Path) -> ShardReport | None:
    """The report of a shard whose tar is there in its full size."""
    report = read_report(path)
    with suppress(OSError):
        if report is not None and path.stat().st_size == report.size:
            return report
    return None


def _write_shard(
    path: Path,
    start: int,
    items: Sequence[T],
    make: Callable[[T], PairPicture | Skipped],
    filters: FilterSettings,
) -> ShardReport:
    shard = _Shard(filters)

    def write(stream: BinaryIO) -> None:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for item in items:
                shard.add(tar, _made(make, item))

    write_atomically(path, write)
    report = ShardReport(
        path.name,
        file_sha256(path),
        path.stat().st_size,
        start,
        start + len(items),
        shard.pictures,
        shard.regions,
        shard.texts,
        shard.skipped,
        shard.left_out,
    )
    _write_json(path.with_suffix(".json"), report.to_dict())
    return report


class _Shard:
    """Puts pictures into a tar, and counts."""

    def __init__(self, filters: FilterSettings) -> None:
        self._filters = filters
        self._keys: set[str] = set()
        self.pictures = self.regions = self.texts = 0
        self.skipped, self.left_out = Tally(), Tally()

    def add(self, tar: tarfile.TarFile, made: PairPicture | Skipped) -> None:
        """Adds a picture if a region of it is kept."""
        kept = made if isinstance(made, Skipped) else self._keep(made)
        if isinstance(kept, Skipped):
            self.skipped.add(kept)
            return
        picture, members = kept
        for name, content in members.items():
            _add_member(tar, name, content)
        self._keys.add(picture.key)
        self.pictures += 1
        self.regions += len(picture.regions)
        self.texts += sum(len(region.texts) for region in picture.regions)

    def _keep(self, picture: PairPicture) -> tuple[PairPicture, dict[str, bytes]] | Skipped:
        if picture.key in self._keys:
            return Skipped("key used before", picture.key)
        try:
            height, width = decode_picture(picture.image, picture.key).shape[:2]
        except ImageError as error:
            return skipped_by(error)
        kept, left_out = filter_picture(picture, (height, width), self._filters)
        for skipped in left_out:
            self.left_out.add(skipped)
        if not kept.regions:
            return Skipped("no region kept", picture.key)
        return kept, to_members(kept, (height, width))


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


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file without time, owner or anything else that differs between runs."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
