"""Runs a mongod that only the processes given its address use.

FiftyOne's own service joins any database service that the user already runs, whatever folder is
asked for. What must be kept apart from the user's FiftyOne therefore gets a mongod of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database import SetupError

START_SECONDS = 120
OPTIONS = ("--port", "0", "--bind_ip", "127.0.0.1", "--nounixsocket")


@contextmanager
def serve(mongod: Path, folder: Path) -> Iterator[str]:
    """Runs mongod on a free port while the context is open; it ends with this process at latest.

    Args:
        mongod: the executable.
        folder: where it keeps its data, and its log of this run.

    Yields:
        Its address, ``mongodb://127.0.0.1:<port>``.

    Raises:
        SetupError: it does not start; says why and where its log is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "mongod.log"
    command = [sys.executable, __file__, mongod, "--dbpath", folder, *OPTIONS]
    with log.open("wb") as output:
        watcher = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield f"mongodb://127.0.0.1:{wait_for_port(watcher, log)}"
    finally:
        watcher.communicate()


def wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Waits until the log names the port that mongod listens on."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        port = find_port(log.read_text())
        if port is not None:
            return port
        time.sleep(0.05)
    raise SetupError(f"mongod did not start ({find_error(log.read_text())}): its log is {log}")


def find_port(log: str) -> int | None:
    """Reads the port out of mongod's log; None while it does not listen yet."""
    for entry in read_entries(log):
        if entry.get("msg") == "Waiting for connections":
            return int(entry["attr"]["port"])
    return None


def find_error(log: str) -> str:
    """Reads the last error out of mongod's log."""
    errors = [entry for entry in read_entries(log) if entry.get("s") in ("E", "F")]
    if not errors:
        return "no error in its log"
    return str(errors[-1].get("attr", {}).get("error") or errors[-1].get("msg"))


def read_entries(log: str) -> Iterator[dict]:
    """Yields the entries of mongod's log, one JSON object a line; other lines are passed over."""
    for line in log.splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


def run_until_stdin_closes(command: list[str]) -> int:
    """Runs a command and ends it when the process at the other end of stdin closes it, or dies."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch() -> None:
        sys.stdin.read()
        process.terminate()

    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(run_until_stdin_closes(sys.argv[1:]))
