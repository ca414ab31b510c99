"""Steps of the search benchmark: the vectors and what is true of them, and each system's figures.

    .venv/bin/python benchmarks/search.py --work build/opening

measures our index by itself: how long until its first answer, and what a search costs then.
Each turn is a process of its own, which imports everything, then counts its own CPU seconds (those
of all its threads). ``--against`` takes another checkout, which is asked in turn with this one: so
a change is measured by what it changes, on a machine however busy. The files of the store are in
the memory of the system by then, where there is enough of it. A sample has ten regions.

Recall counts the rows found whose score, as float32, reaches that of the k-th nearest, which is
computed here by matrix products, apart from every system.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    aligned,
    each_timed,
    folder_bytes,
    latency,
    machine,
    run_as_step,
    tell,
    timed,
)
from peers import PEERS
from systems import SYSTEMS, System, tuning_queries
from vectors import KEPT, SOURCES, Source, lowest_scores, recall, write_vectors

QUERIES = 1000
BUDGET = 40.0
"""Seconds that the single queries of a system may take; then it is asked fewer."""

FILTERED = 100
FILTERED_BUDGET = 10.0
BATCH, BATCHES = 64, 8
BATCH_BUDGET = 20.0
TUNED = 64
ALL = SYSTEMS | PEERS
OPENED_DIM, OPENED_K, PER_SAMPLE = 512, 100, 10
ASKED, TIMES = 30, 3
OPENED_KEPT = {"2 %": 20, "1 %": 10, "0.1 %": 1}


def prepare(options: dict[str, Any]) -> dict[str, Any]:
    """Writes the vectors, and the scores that hits must reach."""
    source, work, k = _source(options), Path(options["work"]), options["k"]
    write_vectors(work / "vectors.npy", source)
    vectors = _vectors(work)
    texts, tuning = source.queries(QUERIES, draw=0), tuning_queries(source)
    rows, buckets = np.arange(source.count), source.buckets()
    both = lowest_scores(vectors, np.concatenate([texts, tuning]), k, rows)
    known = {"all": both[: len(texts)], "tuning": both[len(texts) :]}
    for name, below in KEPT.items():
        kept = np.flatnonzero(buckets < below)
        known[name] = lowest_scores(vectors, texts[:FILTERED], min(k, len(kept)), kept)
    np.savez(work / "lowest.npz", **known)
    nearest = {"median score of the k-th": float(np.median(known["all"]))}
    return {**nearest, "matrix_bytes": source.count * source.dim * 2}


def build(options: dict[str, Any]) -> dict[str, Any]:
    """Builds a system's index, from the mapped vectors to files."""
    folder = _folder(options)
    vectors, source = _vectors(Path(options["work"])), _source(options)
    started = time.process_time()
    with timed() as seconds:
        ALL[options["system"]].build(folder, source, vectors)
    took = {"seconds": seconds[0], "cpu_seconds": time.process_time() - started}
    return {**took, "bytes": folder_bytes(folder)}


def search(options: dict[str, Any]) -> dict[str, Any]:
    """Opens what was built, and asks it: one by one, in batches, and with filters."""
    source, work, k = _source(options), Path(options["work"]), options["k"]
    vectors, known = _vectors(work), np.load(work / "lowest.npz")
    texts, tuning = source.queries(QUERIES, draw=0), tuning_queries(source)[:TUNED]
    kind = ALL[options["system"]]
    for module in kind.modules:
        import_module(module)
    with timed() as opening:
        system = kind(_folder(options), source)
        system.one(tuning[0], k)

    def measured(function: Any) -> float:
        found = [function(query, k) for query in tuning]
        return recall(vectors, tuning, found, known["tuning"][:TUNED], k)

    system.tune(measured)
    started = time.process_time()
    found, seconds = each_timed(lambda query: system.one(query, k), texts, BUDGET)
    asked, cpu = len(found), time.process_time() - started
    figures = {
        "cpu_ms": cpu * 1000 / asked,
        "open_seconds": opening[0],
        "recall": recall(vectors, texts[:asked], found, known["all"][:asked], k),
        **latency(seconds),
        **_batches(system, texts, k, vectors, known["all"]),
        "facts": system.facts(),
    }
    if hasattr(system, "kept"):
        figures["filtered"] = {n: _filtered(system, n, source, vectors, known, k) for n in KEPT}
    return figures


def _batches(
    system: System, texts: np.ndarray, k: int, vectors: np.ndarray, lowest: np.ndarray
) -> dict[str, float]:
    batches = [texts[i * BATCH : (i + 1) * BATCH] for i in range(BATCHES)]
    system.several(batches[0][:8], k)
    results, seconds = [], []
    for batch in batches:
        with timed() as took:
            results += system.several(batch, k)
        seconds += took
        if sum(seconds) > BATCH_BUDGET:
            break
    asked = len(results)
    return {
        "batch_qps": asked / sum(seconds),
        "batch_recall": recall(vectors, texts[:asked], results, lowest[:asked], k),
    }


def _filtered(
    system: Any, name: str, source: Source, vectors: np.ndarray, known: Any, k: int
) -> dict[str, float]:
    below = KEPT[name]
    texts = source.queries(QUERIES, draw=0)[:FILTERED]
    kept = int((source.buckets() < below).sum())
    restricted = system.kept(below)
    restricted(texts[-1], k)
    found, seconds = each_timed(lambda query: restricted(query, k), texts, FILTERED_BUDGET)
    asked = len(found)
    reached = recall(vectors, texts[:asked], found, known[name][:asked], min(k, kept))
    return {"recall": reached, **latency(seconds), "kept": kept}


def _source(options: dict[str, Any]) -> Source:
    return SOURCES[options.get("source", "spread")](options["count"], options["dim"])


def _vectors(work: Path) -> np.ndarray:
    return np.load(work / "vectors.npy", mmap_mode="r")


def _folder(options: dict[str, Any]) -> Path:
    return Path(options["work"]) / str(options["system"]).replace(" ", "-")


def opening() -> int:
    """Measures the first answer: makes the store, unless it is there, and prints a table."""
    options = _parser().parse_args()
    if options.turn:
        sys.stdout.write(json.dumps(turn(options.work, options.count)))
        return 0
    if not (options.work / "newest.json").exists():
        make_store(options.work, options.count)
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
    head = [f"CPU ms, {options.count:,} x {OPENED_DIM}", *(tree.name for tree in trees)]
    sys.stdout.write(f"{facts}\n\n{aligned([head, *lines])}\n")
    return 0


def make_store(folder: Path, count: int) -> None:
    """A store with its index in the cache."""
    from alphaclip.indexing.retrieval.snapshot import open_snapshot
    from alphaclip.indexing.store.segments import RowIds
    from alphaclip.indexing.store.store import writing

    source, rows = Source(count, OPENED_DIM), np.arange(count)
    names = [[f"{one:024x}" for one in each.tolist()] for each in (rows // PER_SAMPLE, rows * 7919)]
    prints = [f"{row * 104729:032x}" for row in rows.tolist()]
    with writing(folder) as writer:
        ids = RowIds.of(*names, "ground_truth", prints)
        segment = writer.add(source.blocks(), ids, OPENED_DIM, np.float16)
        info = {"field": "ground_truth", "metric": "cosine"}
        writer.publish([segment], OPENED_DIM, np.dtype(np.float16), info)
    tell("the store is written")
    texts = source.queries(200, draw=1)
    tell(str(open_snapshot(folder, text_queries=lambda: texts).engine().facts))


def turn(folder: Path, count: int) -> dict[str, float]:
    """One process: CPU milliseconds of each thing, in the order that a user meets them."""
    import faiss  # noqa: F401
    import numpy.ma  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from alphaclip.indexing.explore.scores import BEST, find_and_measure
    from alphaclip.indexing.nearest import cache, engine, ivf  # noqa: F401
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.ranking import Ranking, find
    from alphaclip.indexing.retrieval.snapshot import open_snapshot

    texts, taken = Source(count, OPENED_DIM).queries(ASKED, draw=0), dict[str, float]()
    buckets = Source(count, OPENED_DIM).buckets()

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
        rows = search(texts[0], k=OPENED_K)
    with counted("ids of its hits"):
        _ids_of(now.version, rows)
    taken["first answer"] = sum(taken.values())
    each("a query", lambda query: search(query, k=OPENED_K))
    for name, below in OPENED_KEPT.items():
        only = np.flatnonzero(buckets < below)
        each(f"of {name}", lambda query, only=only: search(query, k=OPENED_K, only=only))
    with counted("ids of all rows"):
        _ = now.version.ids
    index: Any = SearchIndex(None, "")  # type: ignore[arg-type]
    index.snapshot = lambda: now
    several = [Ranking.of(query[None]) for query in texts[:TIMES]]
    for name, ask in {
        "histogram": lambda ranking: find_and_measure(index, ranking, BEST),
        "best of each picture": lambda ranking: index.find(ranking, 50, per_image=True),
        "all in order": lambda ranking: find(now.engine(), now.version.table, ranking, None),
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
    if not run_as_step({"prepare": prepare, "build": build, "search": search}):
        sys.exit(opening())
