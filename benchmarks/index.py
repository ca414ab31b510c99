"""Measures the index against its peers, and prints one table.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/index.py --output build/bench

The sandbox gives FiftyOne a database of the repository's own; the datasets that are made there are
deleted at the end. Every figure stands beside that of a peer in the same run, on the same vectors
and machine: FiftyOne's sklearn backend (A), embedded LanceDB 0.25.3 and FAISS (B, C; with
``--peers`` newer engines too, see `peers`), a full build (D). Each step runs in a process of its
own, one after the other; a machine that does other work at the time spoils them. See `vectors` for
the data, `systems` for how each peer is set up.

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from measuring import StepError, aligned, machine, run_step, tell
from peers import PEERS
from systems import SYSTEMS
from vectors import SOURCES

MEMORY_LIMIT = 1.3
"""Times the matrix in float16 that a build or a search of ours may take."""

HEADS = ("part", "measure", "ours", "peer", "peer's", "ratio", "target", "met")
QUICK = 20
PARTS = ("brain", "search", "stand_in", "whole")
STEPS: dict[str, tuple[str, str, dict[str, int], dict[str, int]]] = {
    "brain": ("brain.py", "compare", {"count": 20_000}, {"dim": 768}),
    "stand_in": ("updates.py", "stand_in", {"regions": 20_000}, {}),
    "whole": ("updates.py", "whole", {"pictures": 320}, {}),
}
"""The steps of the parts that have one: their script, and their sizes in full."""


def main() -> int:
    """Runs what is asked for; returns 1 if a step failed."""
    options = _parser().parse_args()
    shrink = QUICK if options.quick else 1
    figures: dict[str, Any] = {"machine": machine(), "quick": options.quick, "failed": []}
    with TemporaryDirectory(prefix="benchmark-", dir=options.work) as work:
        os.environ["ALPHACLIP_STORE"] = str(Path(work) / "stores")
        started = time.monotonic()
        for part in options.only:
            if part == "search":
                _search(figures, work, options, options.count // shrink)
                continue
            script, step, size, dim = STEPS[part]
            sizes = {name: count // shrink for name, count in size.items()} | dim
            _step(figures, part, script, step, {**sizes, "work": work}, sizes if dim else {})
        figures["seconds"] = round(time.monotonic() - started)
    _report(figures, options.output)
    return 1 if figures["failed"] else 0


def _search(figures: dict[str, Any], work: str, given: argparse.Namespace, count: int) -> None:
    """Filters too. What a system has built is deleted before the next one builds."""
    sizes = {"count": count, "dim": 512, "k": 100}
    options = {**sizes, "work": work, "source": given.source}
    if _step(figures, "search", "search.py", "prepare", options, sizes) is None:
        return
    figures["systems"] = {}
    pythons = dict.fromkeys(SYSTEMS, sys.executable)
    pythons |= dict.fromkeys(PEERS, given.peers) if given.peers else {}
    for system, python in pythons.items():
        steps: dict[str, Any] = {"failed": figures["failed"]}
        for step in ("build", "search"):
            asked = {**options, "system": system}
            if _step(steps, step, "search.py", step, asked, python=python) is None:
                break
        else:
            figures["systems"][system] = {step: steps[step] for step in ("build", "search")}
        shutil.rmtree(Path(work) / system.replace(" ", "-"), ignore_errors=True)


def _step(
    figures: dict[str, Any],
    key: str,
    script: str,
    step: str,
    options: dict[str, Any],
    sizes: Mapping[str, Any] = MappingProxyType({}),
    python: str = sys.executable,
) -> dict[str, Any] | None:
    """Puts the figures of a step under a key; returns None if it failed, which is noted."""
    name = " ".join([script, step, str(options.get("system", ""))]).strip()
    started = time.monotonic()
    try:
        reached = {**sizes, **run_step(script, step, options, python)}
    except StepError as error:
        tell(str(error))
        figures["failed"].append(name)
        return None
    tell(f"{name}: {time.monotonic() - started:.1f} s")
    figures[key] = reached
    return reached


def _report(figures: dict[str, Any], output: Path | None) -> None:
    rows = rows_of(figures)
    facts = [f"{name}: {value}" for name, value in figures["machine"].items()]
    size = "a twentieth of the size" if figures["quick"] else "full size"
    lines = [
        f"{', '.join(facts)}; {size}, {figures['seconds']} s",
        "",
        aligned([HEADS, *(row.cells() for row in rows)]),
    ]
    lines += [f"failed: {name}" for name in figures["failed"]]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "index.md").write_text(text, "utf-8")
        (output / "index.json").write_text(json.dumps(figures, indent=1), "utf-8")


@dataclass(frozen=True)
class Row:
    """One line: a figure of ours against one of a peer.

    Attributes:
        part: of the benchmark
        measure: what it is
        ours: the figure
        peer: whose the other figure is
        theirs: the other figure, None if there is none
        unit: of both
        more_is_better: as for queries per second; the ratio says how many times better ours is
        target: what the ratio is to reach, or, with ``limit``, what ours must not exceed
        limit: see there
        has_ratio: whether a ratio says something
    """

    part: str
    measure: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    unit: str = ""
    more_is_better: bool = False
    target: float | None = None
    limit: float | None = None
    has_ratio: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times better ours is."""
        if self.theirs is None or not self.has_ratio or not self.ours or not self.theirs:
            return None
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None if there is none."""
        if self.limit is not None:
            return self.ours <= self.limit
        return None if self.target is None or self.ratio is None else self.ratio >= self.target

    def cells(self) -> tuple[str, ...]:
        """The line as text."""
        theirs = "" if self.theirs is None else _number(self.theirs, self.unit)
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}x"
        target = "" if self.target is None else f">= {self.target:g}x"
        target = target if self.limit is None else f"<= {_number(self.limit, self.unit)}"
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        ours = _number(self.ours, self.unit)
        return (self.part, self.measure, ours, self.peer, theirs, ratio, target, met)


def rows_of(figures: dict[str, Any]) -> list[Row]:
    """The table's lines, of the parts that were measured; a quick run has no targets."""
    rows = [*_brain_rows(figures), *_search_rows(figures), *_update_rows(figures)]
    return [replace(row, target=None, limit=None) for row in rows] if figures["quick"] else rows


def _brain_rows(figures: dict[str, Any]) -> Iterator[Row]:
    if "brain" not in figures:
        return
    found = figures["brain"]
    peer, ours, theirs = "FiftyOne sklearn", found["ours"], found["sklearn"]
    name = f"A {found['count']:,} x {found['dim']}"
    for measure, key, unit, target in (
        ("save", "save_seconds", "s", 50),
        ("load + first query", "load_and_ask_seconds", "s", 20),
        ("memory of that process", "peak_memory", "bytes", None),
        ("at rest, float32", "bytes", "bytes", 5),
    ):
        yield Row(name, measure, ours[key], peer, theirs[key], unit, target=target)
    half = found["float16_bytes"]
    yield Row(name, "at rest, float16", half, peer, theirs["bytes"], "bytes", target=8)


SEARCH = (
    ("recall@k", "search", "recall", "", True),
    ("median", "search", "median_ms", "ms", False),
    ("processor time of a query", "search", "cpu_ms", "ms", False),
    ("p99", "search", "p99_ms", "ms", False),
    ("batches of 64", "search", "batch_qps", "queries/s", True),
    ("open + first query", "search", "open_seconds", "s", False),
    ("build", "build", "seconds", "s", False),
    ("processor time of the build", "build", "cpu_seconds", "s", False),
    ("memory of build", "build", "peak_memory", "bytes", False),
    ("memory of search", "search", "peak_memory", "bytes", False),
    ("at rest", "build", "bytes", "bytes", False),
)


def _search_rows(figures: dict[str, Any]) -> Iterator[Row]:
    systems = figures.get("systems", {})
    if "alphaclip" not in systems:
        return
    ours, shape = systems["alphaclip"], figures["search"]
    name = f"B {shape['count']:,} x {shape['dim']}"
    limit = MEMORY_LIMIT * shape["matrix_bytes"]
    for measure, step, key, unit, more in SEARCH:
        bound = limit if key == "peak_memory" else None
        for peer, other in _peers(systems):
            values = ours[step][key], peer, other[step][key], unit, more
            yield Row(name, measure, *values, limit=bound, has_ratio=key != "recall")
            bound = None
    for filtered in ours["search"]["filtered"]:
        for key, unit in (("recall", ""), ("median_ms", "ms")):
            for peer, other in _peers(systems):
                if "filtered" in other["search"]:
                    mine = ours["search"]["filtered"][filtered][key]
                    theirs = other["search"]["filtered"][filtered][key]
                    measure = f"{filtered} kept: {key.removesuffix('_ms')}"
                    has_ratio = key != "recall"
                    yield Row("C filter", measure, mine, peer, theirs, unit, has_ratio=has_ratio)


def _peers(systems: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, found) for name, found in systems.items() if name != "alphaclip"]


def _update_rows(figures: dict[str, Any]) -> Iterator[Row]:
    names = {"stand_in": "encoder of 1 ms a region", "whole": "nano, through FiftyOne"}
    for key, encoder in names.items():
        if key in figures:
            found = figures[key]
            edits = f"{found['edited']} of {found['regions']:,} edited"
            measure = f"{edits}, {encoder}: {found['share']:.1%} of a full build"
            values = found["update_seconds"], "full build", found["full_seconds"]
            yield Row("D update", measure, *values, "s")


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB"
    if not unit:
        return f"{value:.4f}"
    return f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures the index against its peers.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size")
    parser.add_argument("--output", type=Path, help="folder for index.json and index.md")
    parser.add_argument("--work", type=Path, help="folder for what is built; 10 GB free")
    parser.add_argument("--count", type=int, default=1_000_000, help="of vectors to search")
    parser.add_argument("--source", choices=SOURCES, default="spread", help="of those, see vectors")
    parser.add_argument("--peers", help="a Python that has the engines of peers.py: asks them too")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
