"""A plan: which regions an index is to hold, and in which shards those without a vector are.

A plan is a folder of files, so that whoever embeds a shard needs nothing else::

    plan.json                     settings, the shards, and finished pieces of earlier plans
    wanted-<id>.parquet           every region the index is to hold
    todo-<id>-00000.parquet       a shard: pictures and regions to embed
    done-<id>-00000.json, data/   what came of it, see `shards`

``plan.json`` is replaced in one step, and whatever an earlier plan had embedded is taken over: a
job that is planned again goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from alphaclip.indexing.embedding.inventory import Available, WantedWriter
from alphaclip.indexing.embedding.label_reader import PlannedPicture
from alphaclip.indexing.store.checked_json import read_checked, write_checked
from alphaclip.indexing.store.files import StoreError, is_whole, make_folder, write_atomically
from alphaclip.indexing.store.segments import RowIds
from alphaclip.regions.region_json import region_to_json

FORMAT = 1
SHARD_REGIONS = 2048
"""Regions in a shard, about: those of a picture stay together."""


class PlanError(StoreError):
    """A plan is missing, damaged, or not carried out."""


@dataclass(frozen=True)
class Plan:
    """What ``plan.json`` says.

    Attributes:
        folder: of the plan
        name: tells its files from those of earlier plans
        settings: of the index: ``field``, ``encoder``, ``fingerprint``, ``view`` and more, JSON
        wanted: the file of every region: name, SHA-256 and size
        shards: names of the files to embed, each with its SHA-256, size and count
        taken_over: entries of pieces that earlier plans finished
        counts: regions ``wanted``, ``to_embed``, and ``unreachable``: held, but the picture
            cannot be reached
        reading: what was found while the labels were read, JSON
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    wanted: dict[str, Any]
    shards: list[dict[str, Any]]
    taken_over: list[dict[str, Any]]
    counts: dict[str, int]
    reading: dict[str, Any]


def make_plan(
    folder: Path,
    pictures: Iterable[PlannedPicture],
    settings: dict[str, Any],
    reading: Callable[[], dict[str, Any]] = dict,
    held: Sequence[RowIds] = (),
    taken_over: Sequence[dict[str, Any]] = (),
    shard_regions: int = SHARD_REGIONS,
) -> Plan:
    """Writes the shards of what is to be embedded.

    Args:
        folder: of the plan
        pictures: all pictures and regions that the index is to hold
        settings: of the index; ``field`` is the one that holds the regions
        reading: called when all pictures are read: what to note of that
        held: rows whose vectors exist already
        taken_over: entries of the pieces in ``folder`` that earlier plans finished; their rows
            are among those held
        shard_regions: regions in a shard, about

    Raises:
        StoreError: if it cannot be written; the plan before holds then
    """
    make_folder(folder)
    name = uuid4().hex[:8]
    field = settings["field"]
    available = Available(held)
    wanted = WantedWriter(folder, f"wanted-{name}.parquet", field)
    shards = _ShardWriter(folder, name, shard_regions)
    for picture in pictures:
        ids, missing = available.settle(picture, field)
        wanted.add(ids)
        shards.add(picture, ids, missing)
    wanted_file = wanted.close()
    shards.close()
    counts = {
        "wanted": wanted.count,
        "to_embed": sum(shard["count"] for shard in shards.written),
        "unreachable": available.unreachable,
    }
    plan = Plan(
        folder,
        name,
        settings,
        wanted_file,
        shards.written,
        list(taken_over),
        counts,
        reading(),
    )
    content = {name: value for name, value in vars(plan).items() if name != "folder"}
    write_checked(folder / "plan.json", {"format": FORMAT, **content})
    _delete_superseded(plan)
    return plan


def read_plan(folder: Path) -> Plan:
    """Reads a plan.

    Raises:
        PlanError: if there is none, or it is damaged or of another format
    """
    path = folder / "plan.json"
    try:
        content = read_checked(path, "plan again")
    except StoreError as error:
        raise PlanError(str(error)) from error
    if content is None:
        raise PlanError(f"{folder} holds no plan: make one first (alphaclip index plan)")
    if content.pop("format", None) != FORMAT:
        raise PlanError(f"{path} is of another version of alphaclip-fiftyone: plan again")
    return Plan(folder=folder, **content)


def read_shard(plan: Plan, shard: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The pictures of a shard, each with its regions: rows of the file.

    Raises:
        PlanError: if the shard is damaged
    """
    import pyarrow.parquet as pq

    path = plan.folder / shard["file"]
    if not is_whole(path, shard["sha256"], shard["bytes"]):
        raise PlanError(f"{path} is missing or damaged: plan again")
    rows = pq.read_table(path).to_pylist()
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end]["sample_id"] != rows[start]["sample_id"]:
            yield rows[start]["filepath"], rows[start:end]
            start = end


class _ShardWriter:
    """Collects regions to embed, and writes a shard whenever there are enough."""

    def __init__(self, folder: Path, plan: str, regions: int) -> None:
        self.written: list[dict[str, Any]] = []
        self._folder, self._plan, self._regions = folder, plan, regions
        self._rows: list[dict[str, str]] = []

    def add(self, picture: PlannedPicture, ids: RowIds, missing: np.ndarray) -> None:
        for place in np.flatnonzero(missing).tolist():
            row = {
                "sample_id": picture.sample_id,
                "label_id": picture.label_ids[place],
                "fingerprint": ids.fingerprints[place].decode(),
                "filepath": picture.filepath,
                "region": region_to_json(picture.regions[place]),
            }
            self._rows.append(row)
        if len(self._rows) >= self._regions:
            self.close()

    def close(self) -> None:
        """Writes what is left."""
        if not self._rows:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(self._rows), buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        name = f"todo-{self._plan}-{len(self.written):05d}.parquet"
        write_atomically(self._folder / name, lambda stream: stream.write(content))
        file = {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        self.written.append({**file, "count": len(self._rows)})
        self._rows = []


def _delete_superseded(plan: Plan) -> None:
    """Deletes the lists of earlier plans; what these had embedded stays."""
    for kind in ("wanted", "todo", "done"):
        for path in plan.folder.glob(f"{kind}-*"):
            if not path.name.startswith(f"{kind}-{plan.name}"):
                with suppress(OSError):
                    path.unlink()
