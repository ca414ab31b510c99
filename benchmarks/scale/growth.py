"""Builds an index of the size that users report other tools fail at, with an encoder for nothing.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/scale/growth.py \\
        --work build/growth [--pictures 5500]

110,000 pictures with 2 million boxes, where it took others 100 GB and 40 hours: the samples share
the bundled scenes, so that no disk is filled with pictures, and their boxes are random. Whatever is
left of a build's cost without its encoder is measured: to read the labels, plan, write, merge and
publish, at each size in a process of its own. Builds of up to 200,000 regions are made once more,
killed half way, and gone on with.

Seconds are those of the processor, in this process; the database's come to them. Memory is the most
that was not mapped from files, Python and all libraries with it (0.2 GB). The dataset and the
stores are deleted in the end; in full it takes ten minutes, 4 GB of disk in the work folder, and 3
GB in the database's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measuring import StepError, aligned, folder_bytes, machine, quiet, run_as_step, run_step, tell
from updates import DIM, FIELD, LABEL_SETTINGS, _edit_labels, _Labels, drop

PICTURES, FULL = 110_000, 2_000_000
SIZES = (10_000, 100_000, 1_000_000, FULL)
KILLED = 200_000
POOL = 8192
EDITS = 200
HEADS = (
    "regions", "pictures", "build s", "regions/s", "peak MB", "store MB", "files", "open ms",
    "update s", "peak MB", "twice",
)  # fmt: skip


class FreeEncoder:
    """Vectors from a pool of noise; each shard gets others.

    Args:
        kill_at (None): the process is killed after so many regions
    """

    def __init__(self, kill_at: int | None = None) -> None:
        noise = np.random.default_rng(0).standard_normal((2 * POOL, DIM), np.float32)
        self._vectors = noise / np.linalg.norm(noise, axis=1, keepdims=True)
        self._kill_at = kill_at
        self.encoded = 0

    def encode_many(
        self,
        items: Iterable[tuple[Any, Sequence[Any]]],
        on_error: Any = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for _, regions in items:
            begin = self.encoded * 37 % POOL
            self.encoded += len(regions)
            yield self._vectors[begin : begin + len(regions)]
            if self._kill_at is not None and self.encoded >= self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Measures each size, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the stores")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    total = boxes_of(given.pictures)
    sizes = [size for size in SIZES if size < total] + [total]
    lines: list[tuple[str, ...]] = [HEADS]
    with TemporaryDirectory(prefix="growth-", dir=given.work) as work:
        shared = {"name": f"benchmark-{uuid.uuid4().hex}", "all": given.pictures, "work": work}
        try:
            run_step("scale/growth.py", "prepare", shared)
            tell(f"{given.pictures:,} pictures with {total:,} boxes are there")
            for size in sizes:
                pictures = round(size / total * given.pictures)
                lines.append(_line({**shared, "pictures": pictures}))
                tell("; ".join(map(" ".join, zip(HEADS, lines[-1], strict=True))))
        finally:
            run_step("scale/growth.py", "drop", shared)
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    sys.stdout.write(f"{about}\n\n{aligned(lines)}\n")


def _line(options: dict[str, Any]) -> tuple[str, ...]:
    built, again = run_step("scale/growth.py", "build", options), ""
    if built["regions"] <= KILLED:
        again = f"{_killed_and_resumed(options, built['regions']):,}"
    opened, updated = (run_step("scale/growth.py", name, options) for name in ("opened", "update"))
    return (
        f"{built['regions']:,}",
        f"{options['pictures']:,}",
        f"{built['seconds']:.1f}",
        f"{built['regions'] / built['seconds']:,.0f}",
        f"{built['peak_memory'] / 1e6:,.0f}",
        f"{built['bytes'] / 1e6:,.0f}",
        f"{opened['segments']}",
        f"{opened['ms']:.0f}",
        f"{updated['seconds']:.1f}",
        f"{updated['peak_memory'] / 1e6:,.0f}",
        again,
    )


def _killed_and_resumed(options: dict[str, Any], regions: int) -> int:
    """How many regions are embedded twice where another build of them is killed half way."""
    half, own = regions // 2, {**options, "store": "killed"}
    try:
        run_step("scale/growth.py", "build", {**own, "kill_at": half})
    except StepError:
        tell("killed half way")
    resumed = run_step("scale/growth.py", "build", own)
    if resumed["regions"] != regions:
        raise AssertionError(f"{resumed['regions']} regions, of {regions}")
    shutil.rmtree(_store(own))
    return int(resumed["encoded"]) - (regions - half)


def boxes_of(pictures: int) -> int:
    """How many boxes so many pictures have: two million in all of them."""
    return pictures * FULL // PICTURES


def prepare(options: dict[str, Any]) -> dict[str, Any]:
    """Makes the dataset, as FiftyOne would write it."""
    import fiftyone as fo
    from bson import ObjectId

    from alphaclip.indexing.dataset.samples import FOLDER

    scenes = cycle(sorted(FOLDER.rglob("*.png")) + sorted(FOLDER.rglob("*.jpg")))
    labels = _Labels("boxes", np.random.default_rng(0))
    dataset = fo.Dataset(options["name"], persistent=True)
    dataset.add_sample(fo.Sample("first.jpg", **{FIELD: labels.first()}))
    (first,) = dataset._sample_collection.find()
    dataset._sample_collection.delete_many({})
    (label,) = first[FIELD]["detections"]
    documents: list[dict[str, Any]] = []
    for number in range(options["all"]):
        count = boxes_of(number + 1) - boxes_of(number)
        rows = [{**label, "_id": ObjectId(), **labels.random()} for _ in range(count)]
        own = {"_id": ObjectId(), "filepath": str(next(scenes))}
        documents.append({**first, **own, FIELD: {**first[FIELD], "detections": rows}})
        if len(documents) == 1000 or number == options["all"] - 1:
            dataset._sample_collection.insert_many(documents)
            documents.clear()
    return {}


def build(options: dict[str, Any]) -> dict[str, Any]:
    """Builds an index of the first pictures, or goes on with it."""
    encoder, report, seconds = _embed(options, FreeEncoder(options.get("kill_at")), anew=True)
    size = folder_bytes(_store(options))
    return {
        "seconds": seconds, "regions": report.regions, "encoded": encoder.encoded, "bytes": size
    }  # fmt: skip


def update(options: dict[str, Any]) -> dict[str, Any]:
    """Brings it up to date after some edits."""
    import fiftyone as fo

    dataset = fo.load_dataset(options["name"])
    edits = min(EDITS, options["pictures"])
    _edit_labels(dataset.limit(options["pictures"]), edits)
    _, report, seconds = _embed(options, FreeEncoder(), anew=False)
    if report.edited < edits:
        raise AssertionError(f"{report.edited} edits were seen, of {edits}")
    return {"seconds": seconds}


def opened(options: dict[str, Any]) -> dict[str, Any]:
    """Opens it as a search does, and reads some vectors and whose they are."""
    import pyarrow.parquet  # noqa: F401 - takes long, and is no part of it

    from alphaclip.indexing.store.store import open_store

    started = time.process_time()
    version = open_store(_store(options))
    seconds = time.process_time() - started
    rows = np.linspace(0, len(version) - 1, 100).astype(np.int64)
    if len(version.table.take(rows)) != len(version.ids_of(rows)):
        raise AssertionError("the index is not whole")
    return {"ms": seconds * 1000, "segments": len(version.segments)}


def _embed(
    options: dict[str, Any], encoder: FreeEncoder, anew: bool
) -> tuple[FreeEncoder, Any, float]:
    import fiftyone as fo

    from alphaclip.indexing.embedding import building
    from alphaclip.indexing.store.store import writing

    dataset = fo.load_dataset(options["name"])
    samples = dataset.limit(options["pictures"])
    started = time.process_time()
    with writing(_store(options), mend=True) as writer:
        given: Any = (writer, samples, LABEL_SETTINGS, encoder, quiet)
        report = building.embed(*given, anew=anew)
    return encoder, report, time.process_time() - started


def _store(options: dict[str, Any]) -> Path:
    return Path(options["work"]) / options.get("store", f"store-{options['pictures']}")


if __name__ == "__main__":
    steps = (prepare, build, update, opened, drop)
    if not run_as_step({step.__name__: step for step in steps}):
        main()
