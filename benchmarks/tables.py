"""The one table: what was measured, ours beside a named peer, and the target where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

MEMORY_LIMIT = 1.3
"""Times the matrix in float16 that a build or a search of ours may take."""

HEADS = ("part", "measure", "ours", "peer", "peer's", "ratio", "target", "met")


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


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, its columns aligned."""
    return aligned([HEADS, *(row.cells() for row in rows)])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned; the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])


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
    ("p99", "search", "p99_ms", "ms", False),
    ("batches of 64", "search", "batch_qps", "queries/s", True),
    ("open + first query", "search", "open_seconds", "s", False),
    ("build", "build", "seconds", "s", False),
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
