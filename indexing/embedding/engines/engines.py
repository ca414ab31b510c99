"""What starts workers: this machine, or a cluster of Ray.

An engine is a generator: it starts the workers of a job, starts one that dies again, says now and
then what the last one to go wrong said, and ends when no worker is left. It need not know what they
do: they share the plan's folder.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alphaclip.errors import AlphaClipError

TICK_SECONDS = 0.5
MOST_STARTS = 50
"""Of one worker: enough for a machine that loses many, and an end to one that dies as it starts."""

CONNECT_SECONDS = 10

REFUSED = 1
"""The exit status of a worker that could say what was wrong: starting it again would not help."""


@dataclass(frozen=True)
class Job:
    """What an engine is to run.

    Attributes:
        folder: of the plan
        workers: how many
        address: of a cluster
        gpus_per_worker: that each gets
        paths: folders of pictures, and where the workers have them
        work: what a worker does, with folder and paths; it can be imported wherever one runs
    """

    folder: Path
    workers: int
    address: str | None
    gpus_per_worker: float
    paths: dict[str, str]
    work: Callable[[Path, dict[str, str]], int]


def local(job: Job) -> Generator[str]:
    """Workers as processes of this machine; they end with the one that started them, after the
    shard that they are at."""
    logs = job.folder / "logs"
    logs.mkdir(exist_ok=True)
    running: dict[int, subprocess.Popen] = {}
    starts, said = [0] * job.workers, ""
    if job.gpus_per_worker and job.workers * job.gpus_per_worker > len(_gpus()):
        # One without would not fail, but take the CPU
        raise AlphaClipError(
            f"{job.workers} workers with {job.gpus_per_worker:g} GPUs each are more than the "
            f"{len(_gpus())} of this machine: take fewer workers, or a smaller share"
        )

    def start(number: int) -> None:
        starts[number] += 1
        with (logs / f"worker-{number + 1}.txt").open("ab") as log:
            running[number] = subprocess.Popen(
                _command(job), stdout=log, stderr=log, env=_environment(job, number)
            )

    try:
        for number in range(job.workers):
            start(number)
        while running:
            time.sleep(TICK_SECONDS)
            for number, process in [*running.items()]:
                if process.poll() is None:
                    continue
                del running[number]
                if process.returncode:
                    log = logs / f"worker-{number + 1}.txt"
                    said = f"{_last_line(log) or 'it was killed'} (see {log})"
                    if process.returncode != REFUSED and starts[number] < MOST_STARTS:
                        start(number)
            yield said
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def ray(job: Job) -> Generator[str]:
    """Workers as tasks of Ray, which starts those that die again, wherever there is room."""
    try:
        import ray as cluster
        from ray.exceptions import RayError
    except ImportError as error:
        raise AlphaClipError(
            "engine 'ray' needs Ray, which is not installed: pip install 'alphaclip-fiftyone[ray]'"
        ) from error
    _check_address(job.address)
    said, is_ours = "", not cluster.is_initialized()
    if is_ours:
        cluster.init(
            job.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    try:
        options = {"num_gpus": job.gpus_per_worker, "max_retries": MOST_STARTS}
        task: Any = cluster.remote(**options)(job.work)  # type: ignore[call-overload]
        running = [task.remote(job.folder, job.paths) for _ in range(job.workers)]
        while running:
            ended, running = cluster.wait(running, timeout=TICK_SECONDS)
            for one in ended:
                try:
                    cluster.get(one)
                except (RayError, AlphaClipError) as error:
                    said = f"{error}".strip().rpartition("\n")[2]
            yield said
    finally:
        if is_ours:
            cluster.shutdown()


ENGINES: dict[str, Callable[[Job], Generator[str]]] = {"local": local, "ray": ray}


def _command(job: Job) -> list[str]:
    maps = [word for pair in job.paths.items() for word in ("--map", "=".join(pair))]
    code = "import sys; from alphaclip.cli import main; sys.exit(main())"
    words = ["index", "embed", str(job.folder), "--any", "--with-parent", *maps]
    return [sys.executable, "-c", code, *words]


def _environment(job: Job, number: int) -> dict[str, str]:
    """Its share of the cores, so that workers do not push each other aside; and its own GPUs."""
    own = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // job.workers))}
    if job.gpus_per_worker:
        first = int(number * job.gpus_per_worker)
        own["CUDA_VISIBLE_DEVICES"] = ",".join(
            _gpus()[first : first + max(1, int(job.gpus_per_worker))]
        )
    return {**os.environ, **own}


def _gpus() -> list[str]:
    """Those of this machine that this process may use, as CUDA names them."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return [one.strip() for one in stated.split(",") if one.strip()]
    from torch.cuda import device_count

    return [str(number) for number in range(device_count())]


def _check_address(address: str | None) -> None:
    """Ray itself waits for minutes for a cluster that is not there."""
    parts = urlsplit(address if address and "//" in address else f"ray://{address or ''}")
    if not parts.port or not parts.hostname:
        return  # "auto", "local", or none: Ray's own choice
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except OSError as error:
        raise AlphaClipError(
            f"Ray's cluster at {address} does not answer: {error}; start it (ray start --head), "
            "or leave the address out to work on this machine"
        ) from error


def _last_line(log: Path) -> str:
    return log.read_text("utf-8", errors="replace").strip().rpartition("\n")[2]
