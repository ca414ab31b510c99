"""Kills an embedding job again and again, and looks whether anything is lost or wrong.

The job is ``tests/indexing/store/fault_job.py``. Every other kill comes at a random moment, the
others before a random change of the file system, where moments are too short to be hit by chance.
After each kill every vector of the index is checked; then the job goes on, and is killed again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alphaclip.indexing.store.manifests import versions

JOB = Path(__file__).resolve().parent.parent / "tests" / "indexing" / "store" / "fault_job.py"
SECONDS = 0.003
"""For each picture, so that embedding takes a good part of the job."""

_SPEC = importlib.util.spec_from_file_location("fault_job", JOB)
if _SPEC is None or _SPEC.loader is None:
    raise ImportError(f"{JOB} is missing")
fault_job = importlib.util.module_from_spec(_SPEC)
sys.modules["fault_job"] = fault_job
_SPEC.loader.exec_module(fault_job)


class SoakError(Exception):
    """Something was lost, wrong or done twice."""


@dataclass
class Run:
    """One start of the job.

    Attributes:
        killed: it did not come to its end
        phase: it was in
        step: the last change of the file system, which may not have happened
        encoded: regions
        steps: changes of the file system
        seconds: from the start of the job proper
    """

    killed: bool
    phase: str = "import"
    step: str = "none"
    encoded: int = 0
    steps: int = 0
    seconds: float = 0.0


@dataclass
class Soak:
    """Kills jobs in a folder.

    Attributes:
        folder: empty
        seed: of all random choices
        rounds: jobs that came to their end
        hits: kills by phase and step
    """

    folder: Path
    seed: int
    rounds: int = 0
    hits: Counter[str] = field(default_factory=Counter)

    def run(self, kills: int) -> Iterator[Run]:
        """Gives each run that was killed.

        Raises:
            SoakError: if anything is not as it is to be
        """
        self._random = random.Random(self.seed)
        self._whole = start(self.folder / "uninterrupted")
        if self._whole.killed:
            raise SoakError("the job was killed by somebody else")
        left = kills
        while left:
            for run in self._round(self.folder / f"{self.rounds}", left):
                left -= 1
                yield run
            self.rounds += 1

    def _round(self, folder: Path, most: int) -> Iterator[Run]:
        runs: list[Run] = []
        while not runs or runs[-1].killed:
            runs.append(self._start(folder) if len(runs) < most else start(folder))
            check(folder, runs[-1])
            if runs[-1].killed:
                self.hits[f"{runs[-1].phase}, {runs[-1].step}"] += 1
                yield runs[-1]
        twice = sum(run.encoded for run in runs) - self._whole.encoded
        if twice > fault_job.LARGEST_SHARD * (len(runs) - 1):
            raise SoakError(f"{twice} regions were encoded twice in {len(runs) - 1} kills")
        self._compare(folder)

    def _start(self, folder: Path) -> Run:
        if self._random.random() < 0.5:
            return start(folder, kill_at=self._random.randint(1, self._whole.steps // 2))
        return start(folder, after=self._random.uniform(0, self._whole.seconds / 2))

    def _compare(self, folder: Path) -> None:
        one, other = (
            fault_job.held(fault_job.open_store(of / "store"))
            for of in (folder, self.folder / "uninterrupted")
        )
        if one != other:
            raise SoakError(f"{folder} is another index than the uninterrupted one")


def start(folder: Path, kill_at: int = 0, after: float | None = None) -> Run:
    """Runs the job until it ends, or is killed: at a step, or after so many seconds."""
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    log.write_text("")
    command = [sys.executable, str(JOB), str(folder), str(log)]
    command += ["--kill-at", str(kill_at), "--seconds", str(SECONDS)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while process.poll() is None and not log.stat().st_size:
        time.sleep(0.002)
    started = time.monotonic()
    try:
        _, errors = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    if process.returncode not in (0, -9):
        raise SoakError(f"the job failed in {folder}: {errors.decode()}")
    return _read(log, process.returncode != 0, time.monotonic() - started)


def check(folder: Path, run: Run) -> None:
    """Opens the index, if there is one already, and looks at every vector."""
    if not versions(folder / "store"):
        if not run.killed:
            raise SoakError(f"{folder} holds no index")
        return
    version = fault_job.open_store(folder / "store")
    if not fault_job.is_right(version):
        raise SoakError(f"{folder}: version {version.number} is wrong after {run}")
    if not run.killed and version.info["state"] != fault_job.STATES:
        raise SoakError(f"{folder} stopped at state {version.info['state']}")


def _read(log: Path, killed: bool, seconds: float) -> Run:
    run = Run(killed, seconds=seconds)
    for line in log.read_text("utf-8").splitlines():
        kind, _, value = line.partition(" ")
        if kind == "phase":
            run.phase, run.step = value, "none"
        elif kind == "step":
            run.step, run.steps = value, run.steps + 1
        else:
            run.encoded += int(value)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--log", type=Path, help="where the result is written, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), arguments.seed)
        started = time.monotonic()
        kills = sum(1 for _ in soak.run(arguments.kills))
    lines = [
        f"seed {soak.seed}: {kills} kills in {time.monotonic() - started:.0f} s, "
        f"{soak.rounds} jobs came to their end",
        *(f"{count:5} in {where}" for where, count in sorted(soak.hits.items())),
        "nothing was lost, wrong, or encoded twice beyond the shard in flight",
    ]
    print("\n".join(lines))
    if arguments.log:
        arguments.log.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
