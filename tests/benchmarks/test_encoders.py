"""The benchmark of encoders runs."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "encoders.py"


def test_encoders__cutting_prints_a_table() -> None:
    tiny = ["--cutting", "--sizes", "64x48", "--counts", "1", "3", "--seconds", "0"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *tiny], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    kinds = [row.split(" | ")[0] for row in rows]
    assert kinds == ["| 64x48 box", "| 64x48 mask", "| 64x48 polygon"]
