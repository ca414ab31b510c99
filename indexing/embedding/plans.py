"""A plan: which regions an index is to hold, in which shards those without a vector are, and what
became of each shard.

A build in one process keeps the regions in memory, and writes only what it needs to go on after a
kill. A plan for other processes is a folder of files, so that whoever embeds a shard needs nothing
else::

    plan.json                     settings, the shards, and finished pieces of earlier plans
    wanted-<id>.parquet           every region the index is to hold        (for other processes)
    todo-<id>-00000.parquet       a shard: pictures and regions to embed   (for other processes)
    done-<id>-00000.json, data/   what came of it: a piece of a store, and what was left out
    claim-<id>-00000.lock, tries-<id>-00000.json    who embeds it, see :mod:`engines.claims`

``plan.json`` is replaced in one step, and whatever an earlier plan had embedded is taken over: a
job that is planned again goes on where it was.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.files import (
    DamagedError,
    StoreError,
    is_whole,
    make_folder,
    read_checked,
    write_atomically,
    write_checked,
)
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.embedding.inventory import Inventory
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.unmodified import listed
from alphaclip.indexing.store.blocks import check_file
from alphaclip.indexing.store.entries import (
    Kinds,
    check_kinds,
    check_list,
    check_segment,
    check_skipped,
)
from alphaclip.indexing.store.segments import (
    RowIds,
    Segment,
    as_text,
    read_ids,
    read_segment,
    write_ids,
)
from alphaclip.indexing.store.text_table import read_texts
from alphaclip.regions.region import Region
from alphaclip.regions.region_json import region_from_json, region_to_json

logger = logging.getLogger(__name__)

FORMAT = 1
SHARD_REGIONS = 2048
"""Regions in a shard, about: those of a picture stay together. A kill costs the one in flight, so
it is small; its piece of a store, 3 MB of vectors of 768 numbers, is worth a file."""

FIRST_REGIONS = 128
"""In the first shard; each has twice as many as the one before, so that a stop costs at most half
of what was done, of small datasets too, and there is soon something to search."""

IN_MEMORY = 65536
"""Regions to embed that a build keeps in memory, of under 1 KB each but for their masks; the shards
that come after wait in files, so that memory does not grow with the dataset."""

MASK_BYTES = 4096
"""Of masks in memory count as one more region."""


_SAID: Kinds = {
    "name": str, "settings": dict, "shards": list, "taken_over": list, "counts": dict,
    "reading": dict,
}  # fmt: skip
"""What ``plan.json`` says, by the names of :class:`Plan`."""


class PlanError(StoreError):
    """A plan is missing, damaged, or not carried out."""


class PlannedRegion(NamedTuple):
    """A region to embed, and whose it is."""

    sample_id: str
    label_id: str
    fingerprint: str
    filepath: str
    region: Region


@dataclass(frozen=True)
class Plan:
    """What is to be embedded; ``plan.json`` says all but what is in memory only.

    Attributes:
        folder: of the plan
        name: tells its files from those of earlier plans
        settings: of the index: ``field``, ``encoder``, ``fingerprint``, ``view`` and more, JSON
        inventory_file: name, SHA-256 and size of the file of every region; None if it is in memory
        shards: the file of each, with its count, and its SHA-256 and size if it was written
        taken_over: entries of pieces that earlier plans finished
        counts: regions ``wanted``, ``to_embed``, and ``unreachable``: held, but the picture
            cannot be reached
        reading: what was noticed while the labels were read, JSON
        rows: every region, if they are in memory
        regions: of the shards that are in memory, by the name of the file
        pictures: the list of :mod:`unmodified`, if the regions are in memory
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    inventory_file: dict[str, Any] | None
    shards: list[dict[str, Any]]
    taken_over: list[dict[str, Any]]
    counts: dict[str, int]
    reading: dict[str, Any]
    rows: RowIds | None = field(default=None, compare=False)
    regions: dict[str, list[PlannedRegion]] = field(default_factory=dict, compare=False)
    pictures: RowIds | None = field(default=None, compare=False)

    def inventory(self) -> RowIds:
        """Every region that the index is to hold.

        Raises:
            PlanError: if it was in the memory of a process that is gone
            StoreError: if its file is damaged
        """
        if self.rows is not None:
            return self.rows
        if self.inventory_file is None:
            raise PlanError(f"{self.folder} is what a build left that was interrupted: build again")
        return read_ids(self.folder, self.inventory_file)


@dataclass(frozen=True)
class FinishedShard:
    """What came of a shard.

    Attributes:
        entry: of the piece it became; None if nothing in it could be embedded
        skipped: what was left out
    """

    entry: dict[str, Any] | None
    skipped: list[Skipped]


def make_plan(
    folder: Path,
    pictures: Iterable[LabelledPicture],
    settings: dict[str, Any],
    reading: dict[str, Any] | None = None,
    held: Sequence[RowIds] = (),
    shard_regions: int = SHARD_REGIONS,
    to_files: bool = False,
) -> Plan:
    """Plans what is to be embedded, and takes over what an earlier plan in the folder finished.

    Args:
        folder: of the plan
        pictures: all pictures and regions that the index is to hold
        settings: of the index; ``field`` is the one that holds the regions
        reading (None): what was noticed, once all pictures are read
        held: rows whose vectors exist already
        shard_regions: regions in a shard, about
        to_files (False): write all that another process needs

    Raises:
        StoreError: if it cannot be written; the plan before holds then
    """
    first = shard_regions if to_files else FIRST_REGIONS
    make_folder(folder)
    name, pieces = uuid4().hex[:8], _finished_pieces(folder)
    inventory = Inventory(settings["field"], [*held, *(piece.ids for piece in pieces)])
    shards, seen = _Shards(folder, name, to_files), []
    with _old_objects_left_alone():
        for some, ids, missing in inventory.add_all(pictures):
            seen.append(listed(some))
            fingerprints, end = as_text(ids.fingerprints).tolist(), 0
            for picture in some:
                start, end = end, end + len(picture.stamps)
                for i in np.flatnonzero(missing[start:end]).tolist():
                    ours = picture.sample_id, picture.label_ids[i], fingerprints[start + i]
                    row = PlannedRegion(*ours, picture.filepath, picture.regions[i])
                    shards.waiting.append(row)
                if len(shards.waiting) >= min(shard_regions, first << len(shards.closed)):
                    shards.close()
        shards.close()
    rows = inventory.rows()
    counts = {
        "wanted": len(rows),
        "to_embed": sum(shard["count"] for shard in shards.closed),
        "unreachable": inventory.unreachable,
    }
    plan = Plan(
        folder,
        name,
        settings,
        inventory_file=write_ids(folder, f"wanted-{name}.parquet", rows) if to_files else None,
        shards=shards.closed,
        taken_over=[piece.entry for piece in pieces],
        counts=counts,
        reading=reading or {},
        rows=rows,
        regions=shards.in_memory,
        pictures=RowIds.joined(seen),
    )
    _write_plan(plan)
    return plan


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Python's garbage collector looks at new objects only: each of millions of labels is some of
    them, and it would look at all that FiftyOne has loaded, again and again, for a third of the
    time that planning takes."""
    if gc.get_freeze_count():  # Whoever has done so goes on
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def read_plan(folder: Path) -> Plan:
    """Reads a plan.

    Raises:
        PlanError: if there is none, or it is damaged or of another format
    """
    try:
        content = read_checked(folder / "plan.json", "plan again", check=_check_plan)
    except StoreError as error:
        raise PlanError(str(error)) from error
    if content is None:
        raise PlanError(f"{folder} holds no plan: make one first (alphaclip index plan)")
    return Plan(folder, inventory_file=content["wanted"], **{name: content[name] for name in _SAID})


def _check_plan(content: dict[str, Any], path: Path) -> None:
    if content.get("format") != FORMAT:
        raise PlanError(f"{path} is of another version of alphaclip-fiftyone: plan again")
    check_kinds(content, {**_SAID, "wanted": (dict, NoneType)}, path)
    check_kinds(content["settings"], {"field": str, "fingerprint": str}, path)
    check_kinds(content["counts"], {"wanted": int, "to_embed": int, "unreachable": int}, path)
    check_kinds(content["reading"], {}, path, {"skipped": list})
    check_skipped(content["reading"].get("skipped", []), path)
    for shard in content["shards"]:
        check_list(shard, path)
        check_kinds(shard, {"count": int}, path)
    for entry in content["taken_over"]:
        check_segment(entry, path)
    if content["wanted"] is not None:
        check_list(content["wanted"], path)


def read_shard(plan: Plan, shard: dict[str, Any]) -> list[PlannedRegion]:
    """The regions of a shard that is in a file, those of a picture side by side.

    Raises:
        PlanError: if the shard is damaged, or was in the memory of a process that is gone
    """
    path = plan.folder / shard["file"]
    if "sha256" not in shard or not is_whole(path, shard["sha256"], shard["bytes"]):
        raise PlanError(f"{path} is missing or damaged: plan again")
    try:
        rows = read_texts(path, PlannedRegion._fields).to_pylist()
        return [PlannedRegion(**{**row, "region": region_from_json(row["region"])}) for row in rows]
    except (StoreError, RegionError) as error:
        raise PlanError(f"{path} cannot be used: {error}; plan again") from error


def finished(plan: Plan, shard: dict[str, Any]) -> FinishedShard | None:
    """What came of a shard, every byte of it looked at; None if it is to be embedded (again)."""
    path = beside(plan, shard, "done", ".json")
    try:
        content = read_checked(path, "it is not used", check=_check_finished)
        if content is None:
            return None
        if content["shard"] != shard.get("sha256"):
            raise DamagedError(f"{path} is of another shard")
        entry = content["entry"]
        for kind in ("vectors", "rows") if entry else ():
            check_file(plan.folder, entry[kind])
        return FinishedShard(entry, [Skipped(**skipped) for skipped in content["skipped"]])
    except StoreError as error:
        logger.warning("%s is embedded again: %s", shard["file"], error)
        with suppress(OSError):
            path.unlink()
        return None


def is_finished(plan: Plan, shard: dict[str, Any]) -> bool:
    """Whether something came of a shard; it is not looked into, as a restart would take as long as
    reading all vectors: :func:`finished` is asked before they are used."""
    return finished_at(plan, shard) is not None


def finished_at(plan: Plan, shard: dict[str, Any]) -> float | None:
    """When something came of a shard, by the clock of the file system; None if nothing did."""
    try:
        return beside(plan, shard, "done", ".json").stat().st_mtime
    except OSError:
        return None


def regions_left(plan: Plan) -> int:
    """How many regions are in shards of which nothing has come yet; none is looked into."""
    return sum(shard["count"] for shard in plan.shards if not is_finished(plan, shard))


def _check_finished(content: dict[str, Any], path: Path) -> None:
    kinds: Kinds = {"shard": (str, NoneType), "entry": (dict, NoneType), "skipped": list}
    check_kinds(content, kinds, path)
    check_skipped(content["skipped"], path)
    if content["entry"] is not None:
        check_segment(content["entry"], path)


def finish(plan: Plan, shard: dict[str, Any], result: FinishedShard) -> None:
    """Writes down what came of a shard: from now on it is not embedded again."""
    content = {"shard": shard.get("sha256"), **asdict(result)}
    write_checked(beside(plan, shard, "done", ".json"), content)


def beside(plan: Plan, shard: dict[str, Any], kind: str, ending: str) -> Path:
    """A file of another kind that belongs to a shard."""
    name = shard["file"].removeprefix("todo-").removesuffix(".parquet")
    return plan.folder / f"{kind}-{name}{ending}"


def _finished_pieces(folder: Path) -> list[Segment]:
    """The pieces of earlier plans in a folder that are whole, in the order they were embedded."""
    try:
        plan = read_plan(folder)
    except PlanError:
        return []
    results = [finished(plan, shard) for shard in plan.shards]
    entries = [*plan.taken_over, *(result.entry for result in results if result and result.entry)]
    pieces = []
    for entry in entries:
        try:
            pieces.append(read_segment(folder, entry, whole=True))
        except StoreError as error:
            logger.warning("%d finished vectors are lost: %s", entry["count"], error)
    return pieces


def _write_plan(plan: Plan) -> None:
    """Makes this the plan of its folder; the lists of the one before go, what it embedded stays."""
    in_memory = ("folder", "inventory_file", "rows", "regions", "pictures")
    content = {name: value for name, value in vars(plan).items() if name not in in_memory}
    content = {"format": FORMAT, **content, "wanted": plan.inventory_file}
    write_checked(plan.folder / "plan.json", content)
    for path in plan.folder.glob("*-*"):
        kind, _, rest = path.name.partition("-")
        if kind in ("wanted", "todo", "done", "claim", "tries") and not rest.startswith(plan.name):
            with suppress(OSError):
                path.unlink()


class _Shards:
    """Collects the regions that have no vector, in memory or in files."""

    def __init__(self, folder: Path, plan: str, to_files: bool) -> None:
        self.waiting: list[PlannedRegion] = []
        self.closed: list[dict[str, Any]] = []
        self.in_memory: dict[str, list[PlannedRegion]] = {}
        self._folder, self._plan = folder, plan
        self._room = 0 if to_files else IN_MEMORY

    def close(self) -> None:
        """Makes a shard of the regions that wait, if there are any."""
        if not self.waiting:
            return
        shard: dict[str, Any] = {"file": f"todo-{self._plan}-{len(self.closed):05d}.parquet"}
        masks = sum(row.region.mask.nbytes for row in self.waiting if row.region.mask is not None)
        self._room -= len(self.waiting) + masks // MASK_BYTES
        if self._room < 0:
            shard |= self._write(self._folder / shard["file"])
        else:
            self.in_memory[shard["file"]] = self.waiting
        self.closed.append({**shard, "count": len(self.waiting)})
        self.waiting = []

    def _write(self, path: Path) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        *texts, regions = zip(*self.waiting, strict=True)
        columns = [*texts, [region_to_json(region) for region in regions]]
        buffer = pa.BufferOutputStream()
        table = pa.table(dict(zip(PlannedRegion._fields, columns, strict=True)))
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        write_atomically(path, lambda stream: stream.write(content))
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
