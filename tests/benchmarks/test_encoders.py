"""The benchmark of encoders runs."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "encoders.py"


def _table(*options: str) -> list[list[str]]:
    """What the benchmark prints, without the head and its rule."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *options], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return [row.strip("| ").split("|") for row in done.stdout.splitlines()[2:]]


def test_encoders__precisions_in_turn() -> None:
    rows = _table("--in-turn", "--encoder", "alphaclip-nano", "--batch", "2", "--rounds", "1")
    ways = [row[0].strip() for row in rows]
    assert (ways[0], ways[1], ways[-1]) == ("plain", "fp32", "int8")
    assert min(float(row[3]) for row in rows) >= 0.999


def test_encoders__cutting_prints_a_table() -> None:
    tiny = ["--sizes", "64x48", "--counts", "1", "3", "--seconds", "0"]
    kinds = [row[0].strip() for row in _table("--cutting", *tiny)]
    assert kinds == ["64x48 box", "64x48 mask", "64x48 polygon"]
