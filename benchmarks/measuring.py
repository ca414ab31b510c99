"""What all benchmarks measure with: time, memory, bytes, steps in processes; and tables.

A *step* is a function of one of these scripts that runs in a process of its own, so that neither
memory nor threads are handed on. It takes the options and returns its figures, both JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

Step = Callable[[dict[str, Any]], dict[str, Any]]

INTERVAL = 0.005
"""Seconds between two looks at the memory: often enough for a peak, too seldom to cost time."""

FEWEST = 20
"""Queries that are timed whatever they take."""


class StepError(Exception):
    """A step failed; the message ends with what it printed last."""


def run_step(
    script: str, step: str, options: Mapping[str, Any], python: str = sys.executable
) -> dict[str, Any]:
    """Runs a step of a script beside this one, by this or another Python, and returns its figures.

    Raises:
        StepError: if it fails
    """
    with TemporaryDirectory(prefix="benchmark-") as folder:
        result = Path(folder) / "result.json"
        path = Path(__file__).parent / script
        command = [python, str(path), step, json.dumps(dict(options)), str(result)]
        environ = os.environ | {"RUST_LOG": "error", "PYTHONUNBUFFERED": "1"}
        done = subprocess.run(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode or not result.exists():
            raise StepError(f"{script} {step} ended with {done.returncode}:\n{done.stdout[-2000:]}")
        return dict(json.loads(result.read_text()))


def run_as_step(steps: Mapping[str, Step]) -> bool:
    """Whether the script was started by :func:`run_step`: then it is done.

    The figures get ``peak_memory``: the most anonymous memory of the process, in bytes, that of
    Python and of imported modules with it.
    """
    if len(sys.argv) != 4 or sys.argv[1] not in steps:
        return False
    step, options, result = sys.argv[1:]
    with AnonymousMemory() as memory:
        figures = steps[step](json.loads(options))
    Path(result).write_text(json.dumps({"peak_memory": memory.peak, **figures}))
    return True


def only_steps(script: str, steps: Mapping[str, Step]) -> None:
    """What a script does that has nothing but steps; asked for help it says so."""
    if not run_as_step(steps):
        parser = argparse.ArgumentParser(
            description=f"Steps of benchmarks/index.py, which starts {script}: {', '.join(steps)}."
        )
        parser.parse_args()
        parser.error("start benchmarks/index.py")


class AnonymousMemory:
    """Watches the anonymous memory of this process; what is mapped from files does not count.

    Attributes:
        peak: bytes, the most that was seen
    """

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> AnonymousMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, anonymous_memory())
            if self._stop.wait(INTERVAL):
                return


def anonymous_memory() -> int:
    """Bytes of anonymous memory that this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: the benchmark needs Linux")


@contextmanager
def timed() -> Iterator[list[float]]:
    """Yields a list that gets the seconds which the block took."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def each_timed(
    function: Callable[[Any], Any], items: Iterable[Any], budget: float
) -> tuple[list[Any], list[float]]:
    """Calls a function with each item, until the budget of seconds is spent.

    Returns:
        what it returned, and the seconds of each call
    """
    results, seconds = [], []
    for item in items:
        if sum(seconds) > budget and len(seconds) >= FEWEST:
            break
        with timed() as took:
            results.append(function(item))
        seconds += took
    return results, seconds


def latency(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds, and of how many."""
    return {
        "median_ms": float(np.median(seconds)) * 1000,
        "p99_ms": float(np.percentile(seconds, 99)) * 1000,
        "queries": len(seconds),
    }


def folder_bytes(folder: Path) -> int:
    """The length of all files in a folder; one that has several names counts once."""
    status = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({one.st_ino: one.st_size for one in status}.values())


def machine() -> dict[str, Any]:
    """The processor, GPU, cores, memory and versions that the figures belong to."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    optional = {}
    for name in ("fiftyone", "lancedb", "numpy", "torch"):
        with suppress(PackageNotFoundError):
            optional[name] = version(name)
    if shutil.which("nvidia-smi") is not None:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")
        optional["gpu"] = ", ".join(filter(None, names))
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(int(memory) * 1024 / 1e9, 1),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **optional,
    }


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned; the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])


def difference(value: float, low: float, high: float) -> str:
    """A difference with its interval, bold where that leaves out 0."""
    text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def quiet(*_: Any) -> None:
    """Shows no progress."""


def tell(text: str) -> None:
    """A line of progress, with the time."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
