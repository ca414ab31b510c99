"""An index of synthetic regions that goes through several states: planned, embedded, merged.

A plain script, so that it can be killed: it imports neither FiftyOne nor PyTorch nor FAISS. The
picture files are lines of text, and the encoder makes a vector of the text and the region.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.indexing.embedding.label_reader import LabelledPicture, picture_stamp, region_stamp
from alphaclip.indexing.embedding.merging import MergeReport, held_rows, merge
from alphaclip.indexing.embedding.plans import Plan, make_plan
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.indexing.store.store import StoreVersion, StoreWriter, open_store, writing
from alphaclip.regions.region import Region

STATES = 4
PICTURES = 24
DIM = 16
SHARD_REGIONS = 8
LARGEST_SHARD = SHARD_REGIONS + 3

Log = Callable[[str], None]


class Encoder:
    """Gives the same vector for the same text and region, and counts."""

    def __init__(self, log: Log = lambda line: None, seconds: float = 0.0) -> None:
        self.encoded = 0
        self._log, self._seconds = log, seconds

    def encode_many(
        self,
        items: Iterable[tuple[Any, Sequence[Region]]],
        on_error: Any = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for path, regions in items:
            text = Path(path).read_text("utf-8")
            time.sleep(self._seconds)
            self.encoded += len(regions)
            self._log(f"encoded {len(regions)}")
            rows = [vector_of(text, region) for region in regions]
            yield np.array(rows, np.float32).reshape(len(regions), DIM)


def vector_of(text: str, region: Region) -> np.ndarray:
    """A vector of unit length, float32 (DIM,)."""
    digest = hashlib.sha256(f"{text} {region.digest()}".encode()).digest()
    vector = np.random.default_rng(list(digest)).standard_normal(DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def is_there(picture: int, state: int) -> bool:
    """Whether a picture is in the set: one in five is taken out, and comes back later."""
    return (picture + state) % 5 != 0


def text_of(picture: int, state: int) -> str:
    """The content of a picture, which is edited now and then."""
    edits = sum((7 * picture + step) % 6 == 0 for step in range(2, state + 1))
    return f"picture {picture}, edited {edits} times"


def regions_of(picture: int, state: int) -> dict[str, Region]:
    """Regions by label id: boxes are edited, added and removed; ids are of various lengths."""
    regions = {}
    for place in range(1 + (picture + state) % 3):
        edits = sum((3 * picture + 5 * place + step) % 4 == 0 for step in range(2, state + 1))
        box = (0.01 * picture, 0.1 * place, 0.2 + 0.05 * edits, 0.3)
        regions[f"{'é' * (picture % 3)}{picture:x}-{place}"] = Region.from_box(box)
    return regions


@functools.cache
def expected(state: int) -> dict[str, tuple[str, bytes]]:
    """What an index of a state holds: by label id the sample id, and the vector as float16."""
    return {
        label_id: (f"{i:024x}", vector_of(text_of(i, state), region).astype(np.float16).tobytes())
        for i in range(PICTURES)
        if is_there(i, state)
        for label_id, region in regions_of(i, state).items()
    }


def held(version: StoreVersion) -> dict[str, tuple[str, bytes]]:
    """What an index holds; as :func:`expected`."""
    ids, vectors = version.ids, version.table.take(np.arange(len(version)))
    rows = zip(ids.label_ids, ids.sample_ids, vectors, strict=True)
    return {label.decode(): (sample.decode(), vector.tobytes()) for label, sample, vector in rows}


def is_right(version: StoreVersion) -> bool:
    """Whether an index holds what it says, each id once."""
    content = held(version)
    return len(content) == len(version) and content == expected(version.info["state"])


def pictures_at(folder: Path, state: int) -> Iterator[LabelledPicture]:
    """The pictures of a state; those that differ are written."""
    folder.mkdir(exist_ok=True)
    for i in filter(lambda picture: is_there(picture, state), range(PICTURES)):
        path, text = folder / f"{i}.txt", text_of(i, state)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
        regions = regions_of(i, state)
        stamps = [region_stamp(region, "fake") for region in regions.values()]
        stamp = picture_stamp(str(path), "content")
        yield LabelledPicture(
            f"{i:024x}", str(path), stamp, list(regions), list(regions.values()), stamps
        )


def plan_state(writer: StoreWriter, pictures: Path, state: int, to_files: bool = False) -> Plan:
    """Plans a state, and takes over what an interrupted job has finished."""
    settings = {"field": "fälder", "fingerprint": "fake", "state": state}
    return make_plan(
        writer.folder / "work",
        pictures_at(pictures, state),
        settings,
        held=held_rows(writer.base, settings),
        shard_regions=SHARD_REGIONS,
        to_files=to_files,
    )


def bring_to(
    folder: Path, state: int, encoder: Encoder, log: Log = lambda line: None
) -> MergeReport:
    """Brings the store in a folder to a state, whatever it holds."""
    log("phase plan")
    with writing(folder / "store", mend=True) as writer:
        plan = plan_state(writer, folder / "pictures", state)
        log("phase embed")
        embed_shards(plan, encoder)
        log("phase merge")
        return merge(writer, plan)


def state_of(folder: Path) -> int:
    """The state that the store is in, 0 if there is none."""
    with writing(folder / "store", mend=True) as writer:
        return 0 if writer.base is None else writer.base.info["state"]


def run(folder: Path, log: Log, seconds: float) -> None:
    """Goes through the states that are left."""
    encoder = Encoder(log, seconds)
    for state in range(state_of(folder) + 1, STATES + 1):
        bring_to(folder, state, encoder, log)
        if not is_right(open_store(folder / "store")):
            sys.exit(f"state {state} is wrong")


def watch_steps(log: Log, kill_at: int) -> None:
    """Logs each change of the file system; the process kills itself before one of them."""
    steps = 0

    def watched(name: str, change: Callable) -> Callable:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            log(f"step {name}")
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **kwargs)

        return step

    for name in ("fsync", "replace", "link", "unlink", "rmdir", "mkdir"):
        setattr(os, name, watched(name, getattr(os, name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the store and its pictures")
    parser.add_argument("log", type=Path, help="file to which is added what is done")
    parser.add_argument("--kill-at", type=int, default=0, help="step before which it ends")
    parser.add_argument("--seconds", type=float, default=0.0, help="for each picture")
    arguments = parser.parse_args()
    descriptor = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    import pyarrow.parquet  # noqa: F401 - takes long, and is no part of the job

    watch_steps(log, arguments.kill_at)
    log("phase start")
    run(arguments.folder, log, arguments.seconds)
    unwanted = {"fiftyone", "torch", "faiss"} & set(sys.modules)
    if unwanted:
        sys.exit(f"{unwanted} are imported")
    log("phase done")


if __name__ == "__main__":
    main()
