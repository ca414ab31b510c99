"""Nothing is lost, nothing is wrong: killed jobs, damaged files, full disks, many processes."""

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soak

from alphaclip import files
from alphaclip.files import StoreBusyError, StoreError, writer_lock
from alphaclip.indexing.embedding.plans import read_plan
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.indexing.store import segments, store
from alphaclip.indexing.store.manifests import read_manifest, versions
from alphaclip.indexing.store.segments import RowIds
from alphaclip.indexing.store.store import StoreVersion, collect_garbage, open_store, writing

job = soak.fault_job
LARGE = 1350
"""Bytes: of the two segments below, one is large, and so has tables of checksums."""

INTERRUPTED = 3
"""The state that the interrupted job below was on its way to."""


@pytest.fixture(autouse=True, scope="module")
def large() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LARGE", LARGE)
        yield


@pytest.fixture(scope="module")
def half_done(large: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a store, and a job for the third of which half the shards are embedded."""
    folder = tmp_path_factory.mktemp("half-done")
    for state in range(1, INTERRUPTED):
        job.bring_to(folder, state, job.Encoder())
    with writing(folder / "store") as writer:
        plan = job.plan_state(writer, folder / "pictures", INTERRUPTED, to_files=True)
        embed_shards(plan, job.Encoder(), plan.shards[::2])
    return folder


@pytest.fixture
def copy(half_done: Path, tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return Path(shutil.copytree(half_done, tmp_path / "copy"))

    return make


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of jobs in a second: nothing is to outlive a power cut here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def files_in(folder: Path) -> list[Path]:
    """Everything that is read again: no locks, and no pictures."""
    found = [path for path in (folder / "store").rglob("*") if path.is_file()]
    return sorted(path for path in found if not path.name.startswith("writer."))


def check_rebuilt(folder: Path) -> None:
    """Goes on with the job, whatever is left of it."""
    with writing(folder / "store", mend=True):
        pass
    job.bring_to(folder, INTERRUPTED, job.Encoder())
    version = open_store(folder / "store")
    assert version.info["state"] == INTERRUPTED
    assert job.is_right(version)


def check_reader(folder: Path, damaged: list[Path]) -> None:
    """Opening and reading gives the right vectors, or says which file is damaged."""
    try:
        assert job.is_right(open_store(folder / "store"))
    except StoreError as error:
        assert any(path.name in str(error) for path in damaged), error


def test_killed_at_any_moment(tmp_path: Path) -> None:
    soaks = [soak.Soak(tmp_path / str(seed), seed) for seed in range(2)]
    for each in soaks:
        each.folder.mkdir()
    with ThreadPoolExecutor(2) as pool:
        kills = sum(pool.map(lambda each: sum(1 for _ in each.run(10)), soaks))
    assert kills == 20


@pytest.mark.usefixtures("unflushed")
def test_flipped_bytes(copy: Callable[[], Path]) -> None:
    rng = random.Random(0)
    for _ in range(60):
        folder = copy()
        path = rng.choice(files_in(folder))
        content = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 8])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        check_reader(folder, [path])
        check_rebuilt(folder)


@pytest.mark.usefixtures("unflushed")
@pytest.mark.parametrize("fault", ["cut", "emptied", "deleted", "longer"])
def test_damaged_files(copy: Callable[[], Path], fault: str) -> None:
    for place in range(len(files_in(copy()))):
        folder = copy()
        path = files_in(folder)[place]
        damage(path, fault)
        check_reader(folder, [path])
        check_rebuilt(folder)
        assert len(versions(folder / "store")) <= store.KEPT_VERSIONS


def damage(path: Path, fault: str) -> None:
    content = path.read_bytes()
    wrong = {"cut": content[:-1], "emptied": b"", "longer": content + b"\0"}
    if fault == "deleted":
        path.unlink()
    else:
        path.write_bytes(wrong[fault])


@pytest.mark.usefixtures("unflushed")
def test_folders_in_place_of_files(copy: Callable[[], Path]) -> None:
    for place in range(len(files_in(copy()))):
        folder = copy()
        path = files_in(folder)[place]
        path.unlink()
        path.mkdir()
        check_reader(folder, [path])
        with suppress(StoreError):
            check_rebuilt(folder)
        with suppress(OSError):
            path.rmdir()
        check_rebuilt(folder)


@pytest.mark.usefixtures("unflushed")
def test_swapped_files(copy: Callable[[], Path]) -> None:
    rng = random.Random(0)
    for _ in range(30):
        folder = copy()
        one, other = rng.sample(files_in(folder), 2)
        waiting = one.with_name("waiting")
        one.rename(waiting)
        other.rename(one)
        waiting.rename(other)
        check_reader(folder, [one, other])
        check_rebuilt(folder)


@pytest.mark.usefixtures("unflushed")
def test_everything_damaged_at_once(copy: Callable[[], Path]) -> None:
    folder = copy()
    for path in files_in(folder):
        path.write_bytes(path.read_bytes()[:-3] + b"???")
    check_reader(folder, files_in(folder))
    check_rebuilt(folder)


class FullDisk:
    """A disk with room for a number of writes and flushes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**9
        self.used = 0
        write, flush_folder = files.HashingWriter.write, files.flush_folder
        flush = files._flush

        def limited(change: Callable) -> Callable:
            def call(*arguments: object) -> object:
                self.take()
                return change(*arguments)

            return call

        monkeypatch.setattr(files.HashingWriter, "write", limited(write))
        monkeypatch.setattr(files, "_flush", limited(flush))
        monkeypatch.setattr(files, "flush_folder", limited(flush_folder))

    def take(self) -> None:
        self.used += 1
        if self.used > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("unflushed")
def test_disk_fills(copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    check_rebuilt(copy())
    steps = disk.used
    assert steps > 20
    for room in range(steps):
        folder = copy()
        disk.room, disk.used = room, 0
        with pytest.raises(StoreError, match="the disk is full"):
            check_rebuilt(folder)
        disk.room = 10**9
        version = open_store(folder / "store")
        assert version.info["state"] in (INTERRUPTED - 1, INTERRUPTED)
        assert job.is_right(version)
        check_rebuilt(folder)
        assert not list(folder.rglob(f"*{files.PARTIAL}"))
        assert not collect_garbage(folder / "store")


def test_disk_fills__for_real(tmp_path: Path) -> None:
    """``/dev/full`` takes no byte."""
    if not Path("/dev/full").exists():
        return

    def write(stream: BinaryIO) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"a")

    with pytest.raises(StoreError, match="the disk is full"):
        files.write_atomically(tmp_path / "file", write)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_read_only(copy: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    folder = copy()
    before, opened = files_in(folder), os.open

    def guarded(path: str, flags: int, *arguments: int, **more: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(number, os.strerror(number), path)
        return opened(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "open", guarded)
    with pytest.raises(StoreError, match="read-only"):
        job.bring_to(folder, INTERRUPTED, job.Encoder())
    assert job.is_right(open_store(folder / "store"))
    assert files_in(folder) == before


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a note")
    with pytest.raises(StoreError, match="cannot be written"):
        job.bring_to(tmp_path, 1, job.Encoder())
    with pytest.raises(StoreError, match="holds no index"):
        open_store(tmp_path / "store")


def test_moved(copy: Callable[[], Path], tmp_path: Path) -> None:
    moved = copy().rename(tmp_path / "elsewhere")
    assert job.is_right(open_store(moved / "store"))
    assert read_plan(moved / "store" / "work").counts["wanted"] > 0
    check_rebuilt(moved)


class Writers:
    """Processes that do what a script says, beside this one."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen] = []

    def start(self, script: str, *arguments: object) -> subprocess.Popen:
        head = (
            "import sys, time, numpy as np\n"
            "from pathlib import Path\n"
            "from alphaclip.files import StoreBusyError\n"
            "from alphaclip.indexing.store.segments import RowIds\n"
            "from alphaclip.indexing.store.store import writing\n"
            "folder = Path(sys.argv[1])\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", head + script, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def writers() -> Iterator[Writers]:
    started = Writers()
    yield started
    started.stop()


HOLD = """
with writing(folder):
    print("mine", flush=True)
    time.sleep(60)
"""

PUBLISH = """
turns = int(sys.argv[2])
while turns:
    try:
        with writing(folder) as writer:
            number = writer.base.number + 1 if writer.base else 1
            rows = 20 + number % 7
            vectors = np.full((rows, 8), number, np.float32)
            ids = RowIds.of([f"{number}-{row}" for row in range(rows)])
            before = [s.keeping(np.arange(len(s)) % 3 > 0) for s in writer.base.segments[-2:]] if (
                writer.base) else []
            writer.publish([*before, writer.add([vectors], ids, 8, np.float32)], 8,
                           np.dtype(np.float32), {"by": turns})
            turns -= 1
    except StoreBusyError:
        time.sleep(0.001)
print("done", flush=True)
"""


def check_published(version: StoreVersion) -> None:
    """Each vector says, by its numbers, the version in its id."""
    assert len(version) >= 20
    vectors = version.table.take(np.arange(len(version)))
    made = np.array([float(key.split(b"-")[0]) for key in version.ids.keys], np.float32)
    assert np.array_equal(vectors, np.repeat(made[:, None], 8, axis=1))
    assert made.max() == version.number
    assert len(set(version.ids.keys)) == len(version)


def test_two_writers(tmp_path: Path, writers: Writers) -> None:
    holder = writers.start(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    with pytest.raises(StoreBusyError, match=rf"written by process {holder.pid} on"):
        enter(tmp_path)
    holder.kill()
    holder.wait()
    enter(tmp_path)


def enter(folder: Path) -> None:
    with writing(folder):
        pass


def test_two_writers__in_one_process(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(StoreBusyError, match=f"process {os.getpid()} on"):
        enter(tmp_path)
    enter(tmp_path)


def test_errors_of_others_keep_their_kind(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), writer_lock(tmp_path):
        raise ConnectionError("the database is gone")
    enter(tmp_path)


def test_reader_beside_two_writers(tmp_path: Path, writers: Writers) -> None:
    both = [writers.start(PUBLISH, tmp_path, 30) for _ in range(2)]
    while not versions(tmp_path):
        assert any(process.poll() is None for process in both)
        time.sleep(0.01)  # they import for seconds, with the same processors
    seen: list[int] = []
    version = open_store(tmp_path)
    while any(process.poll() is None for process in both):
        version = open_store(tmp_path, version if random.random() < 0.5 else None)
        check_published(version)
        seen.append(version.number)
    assert seen == sorted(seen)
    assert [process.returncode for process in both] == [0, 0]
    assert open_store(tmp_path).number == 60
    check_published(open_store(tmp_path))
    assert len(set(seen)) > 5


def test_garbage__an_open_reader_goes_on(tmp_path: Path) -> None:
    job.bring_to(tmp_path, 1, job.Encoder())
    first = open_store(tmp_path / "store")
    for state in range(2, job.STATES + 1):
        job.bring_to(tmp_path, state, job.Encoder())
    assert versions(tmp_path / "store") == [4, 3]
    assert job.is_right(first)
    names = {path.name for path in (tmp_path / "store" / "data").iterdir()}
    needed = [read_manifest(tmp_path / "store", number) for number in (4, 3)]
    assert names == set(re.findall(r"[0-9a-f]{24}\.\w+", str(needed)))
    (tmp_path / "store" / "manifest-000004.json").unlink()
    with writing(tmp_path / "store", mend=True) as writer:
        assert job.is_right(writer.base)


def test_store_that_was_made_anew_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    job.bring_to(tmp_path, 1, job.Encoder())
    old = open_store(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    with writing(tmp_path / "store") as writer:
        vectors = np.eye(2, dtype=np.float32)
        piece = writer.add([vectors], RowIds.of(["a", "b"]), 2, np.float32)
        writer.publish([piece], 2, np.dtype(np.float32), {})
    new = open_store(tmp_path / "store", old)
    assert new.number == old.number == 1
    assert len(new) == 2
