"""The benchmark of label errors runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.database  # In the script's process: nothing here imports FiftyOne

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "label_errors.py"


def test_label_errors__faults_print_a_table() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--faults", "--pictures", "12", "--seeds", "1"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    kinds = [row.split("|")[1].strip() for row in done.stdout.splitlines()[2:]]
    assert kinds == ["missing", "drawn badly", "doubled"]
