"""Measures the index against its peers, and prints one table.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/index.py --output build/bench

The sandbox gives FiftyOne a database of the repository's own; the datasets that are made there are
deleted at the end. Every figure stands beside that of a peer in the same run, on the same vectors
and machine: FiftyOne's sklearn backend (A), embedded LanceDB 0.25.3 and FAISS (B, C), a full build
(D). Each step runs in a process of its own, one after the other; a machine that does other
work at the time spoils them. See `vectors` for the data, `systems` for how each peer is set up.

``--quick`` runs everything at a twentieth of the size, to try the scripts: its ratios say nothing.
It takes about 20 minutes in full on two cores, 8 GB of memory and 10 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measuring import StepError, machine, run_step, tell
from systems import SYSTEMS
from tables import as_markdown, rows_of

QUICK = 20
PARTS = ("brain", "search", "stand_in", "whole")


def main() -> int:
    """Runs what is asked for; returns 1 if a step failed."""
    options = _parser().parse_args()
    shrink = QUICK if options.quick else 1
    figures: dict[str, Any] = {"machine": machine(), "quick": options.quick, "failed": []}
    with TemporaryDirectory(prefix="benchmark-", dir=options.work) as work:
        os.environ["ALPHACLIP_STORE"] = str(Path(work) / "stores")
        started = time.monotonic()
        for part in options.only:
            RUN[part](figures, work, shrink)
        figures["seconds"] = round(time.monotonic() - started)
    _report(figures, options.output)
    return 1 if figures["failed"] else 0


def _brain(figures: dict[str, Any], work: str, shrink: int) -> None:
    sizes = {"count": 20_000 // shrink, "dim": 768}
    found = _step(figures, "brain.py", "compare", {**sizes, "work": work})
    if found is not None:
        figures["brain"] = {**sizes, **found}


def _search(figures: dict[str, Any], work: str, shrink: int) -> None:
    """Filters too. What a system has built is deleted before the next one builds."""
    sizes = {"count": 1_000_000 // shrink, "dim": 512, "k": 100}
    options = {**sizes, "work": work}
    prepared = _step(figures, "search.py", "prepare", options)
    if prepared is None:
        return
    figures["search"], figures["systems"] = {**sizes, **prepared}, {}
    for system in SYSTEMS:
        asked = {**options, "system": system}
        built = _step(figures, "search.py", "build", asked)
        searched = None if built is None else _step(figures, "search.py", "search", asked)
        if searched is not None:
            figures["systems"][system] = {"build": built, "search": searched}
        shutil.rmtree(Path(work) / system.replace(" ", "-"), ignore_errors=True)


def _stand_in(figures: dict[str, Any], work: str, shrink: int) -> None:
    options = {"regions": 20_000 // shrink, "work": work}
    _keep(figures, "stand_in", _step(figures, "updates.py", "stand_in", options))


def _whole(figures: dict[str, Any], _: str, shrink: int) -> None:
    _keep(figures, "whole", _step(figures, "updates.py", "whole", {"pictures": 320 // shrink}))


RUN = dict(zip(PARTS, (_brain, _search, _stand_in, _whole), strict=True))


def _keep(figures: dict[str, Any], name: str, found: dict[str, Any] | None) -> None:
    if found is not None:
        figures[name] = found


def _step(
    figures: dict[str, Any], script: str, step: str, options: dict[str, Any]
) -> dict[str, Any] | None:
    """The figures of a step; None if it failed, which is noted."""
    name = " ".join([script, step, str(options.get("system", ""))]).strip()
    started = time.monotonic()
    try:
        found = run_step(script, step, options)
    except StepError as error:
        tell(str(error))
        figures["failed"].append(name)
        return None
    tell(f"{name}: {time.monotonic() - started:.1f} s")
    return found


def _report(figures: dict[str, Any], output: Path | None) -> None:
    rows = rows_of(figures)
    facts = [f"{name}: {value}" for name, value in figures["machine"].items()]
    size = "a twentieth of the size" if figures["quick"] else "full size"
    lines = [f"{', '.join(facts)}; {size}, {figures['seconds']} s", "", as_markdown(rows)]
    lines += [f"failed: {name}" for name in figures["failed"]]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "index.md").write_text(text, "utf-8")
        (output / "index.json").write_text(json.dumps(figures, indent=1), "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures the index against its peers.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size")
    parser.add_argument("--output", type=Path, help="folder for index.json and index.md")
    parser.add_argument("--work", type=Path, help="folder for what is built; 10 GB free")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
