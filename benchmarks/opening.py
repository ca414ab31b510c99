"""Measures how long a large index takes until its first answer, and what restricted searches cost.

    .venv/bin/python benchmarks/opening.py --work build/opening

Each turn is a process of its own, which imports everything, then counts its own CPU seconds (those
of all its threads). ``--against`` takes another checkout, which is asked in turn with this one: so
a change is measured by what it changes, on a machine however busy. The files of the store are in
the memory of the system by then, where there is enough of it. See `vectors` for the data; a sample
has ten regions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measuring import aligned, machine, tell
from vectors import Source

DIM, K = 512, 100
PER_SAMPLE = 10
QUERIES, TIMES = 30, 3
KEPT = {"2 %": 20, "1 %": 10, "0.1 %": 1}


def main() -> int:
    """Makes the store, unless it is there, and prints a table."""
    options = _parser().parse_args()
    if options.turn:
        sys.stdout.write(json.dumps(turn(options.work, options.count)))
        return 0
    if not (options.work / "newest.json").exists():
        make(options.work, options.count)
    trees = [Path(__file__).parents[1], *options.against]
    found: dict[Path, list[dict[str, float]]] = {tree: [] for tree in trees}
    for _ in range(options.turns):
        for tree in trees:
            found[tree].append(_asked(tree, options))
    names = list(found[trees[0]][0])
    lines = [
        [name, *(f"{np.median([one[name] for one in found[tree]]):,.1f}" for tree in trees)]
        for name in names
    ]
    facts = ", ".join(f"{name}: {value}" for name, value in machine().items())
    head = [f"CPU ms, {options.count:,} x {DIM}", *(tree.name for tree in trees)]
    sys.stdout.write(f"{facts}\n\n{aligned([head, *lines])}\n")
    return 0


def make(folder: Path, count: int) -> None:
    """A store with its index in the cache."""
    from alphaclip.indexing.retrieval.snapshot import open_snapshot
    from alphaclip.indexing.store.segments import RowIds
    from alphaclip.indexing.store.store import writing

    source, rows = Source(count, DIM), np.arange(count)
    names = [[f"{one:024x}" for one in each.tolist()] for each in (rows // PER_SAMPLE, rows * 7919)]
    prints = [f"{row * 104729:032x}" for row in rows.tolist()]
    with writing(folder) as writer:
        ids = RowIds.of(*names, "ground_truth", prints)
        segment = writer.add(source.blocks(), ids, DIM, np.float16)
        info = {"field": "ground_truth", "metric": "cosine"}
        writer.publish([segment], DIM, np.dtype(np.float16), info)
    tell("the store is written")
    texts = source.queries(200, draw=1)
    tell(str(open_snapshot(folder, text_queries=lambda: texts).engine().facts))


def turn(folder: Path, count: int) -> dict[str, float]:
    """One process: CPU milliseconds of each thing, in the order that a user meets them."""
    import faiss  # noqa: F401
    import numpy.ma  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from alphaclip.indexing.explore.scores import find_and_measure
    from alphaclip.indexing.nearest import cache, engine, ivf  # noqa: F401
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.ranking import Ranking, find
    from alphaclip.indexing.retrieval.snapshot import open_snapshot

    texts, taken = Source(count, DIM).queries(QUERIES, draw=0), dict[str, float]()
    buckets = Source(count, DIM).buckets()

    @contextmanager
    def counted(name: str, times: int = 1) -> Iterator[None]:
        started = time.process_time()
        yield
        taken[name] = (time.process_time() - started) * 1000 / times

    def search(query: np.ndarray, **more: Any) -> np.ndarray:
        ranked = find(now.engine(), now.version.table, Ranking.of(query[None]), **more)
        return ranked.rows

    def each(name: str, ask: Callable[[np.ndarray], object]) -> None:
        with counted(name, len(texts)):
            for query in texts:
                ask(query)

    with counted("open the store"):
        now = open_snapshot(folder)
    with counted("open its index"):
        now.engine()
    with counted("first query"):
        rows = search(texts[0], k=K)
    with counted("ids of its hits"):
        _ids_of(now.version, rows)
    taken["first answer"] = sum(taken.values())
    each("a query", lambda query: search(query, k=K))
    for name, below in KEPT.items():
        only = np.flatnonzero(buckets < below)
        each(f"of {name}", lambda query, only=only: search(query, k=K, only=only))
    with counted("ids of all rows"):
        _ = now.version.ids
    index: Any = SearchIndex(None, "")  # type: ignore[arg-type]
    index.snapshot = lambda: now
    several = [Ranking.of(query[None]) for query in texts[:TIMES]]
    for name, ask in {
        "histogram": lambda ranking: find_and_measure(index, ranking, 1000),
        "best of each picture": lambda ranking: index.find(ranking, 50, per_image=True),
        "all above a score": lambda ranking: index.find(ranking, None, min_score=0.3),
    }.items():
        with counted(f"{name}, the first"):
            ask(several[0])
        with counted(name, TIMES):
            for ranking in several:
                ask(ranking)
    return taken


def _ids_of(version: Any, rows: np.ndarray) -> object:
    """Checkouts of before had no other way than to read all."""
    return version.ids_of(rows) if hasattr(version, "ids_of") else version.ids.take(rows)


def _asked(tree: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [tree / ".venv/bin/python", __file__, "--turn", "--work", options.work]
    done = subprocess.run(
        [*map(str, command), "--count", str(options.count)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures the first answer of a large index.")
    parser.add_argument("--work", type=Path, required=True, help="folder for the store")
    parser.add_argument("--count", type=int, default=1_000_000, help="of vectors")
    parser.add_argument("--turns", type=int, default=3, help="of each checkout")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="other checkouts")
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
