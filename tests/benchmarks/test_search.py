"""The benchmark of the first answer runs, at a tiny size."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_opening(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/search.py", "--work", tmp_path, "--count", "3000"]
    done = subprocess.run([*map(str, command), "--turns", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("first answer", "of 1 %", "histogram", "all above a score"):
        assert f"| {name} " in done.stdout
