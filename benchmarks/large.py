"""Measures both kinds of index of a large table: what they cost to build, and by turns, to ask.

    .venv/bin/python benchmarks/large.py --work build/large [--counts 1000000 4000000]

Few lists of plain codes against many of residual codes (see `alphaclip.indexing.nearest.ivf`), each
tuned for a recall of 0.99 on texts that nothing is reported on. Each step is a process of its own;
what one found stays in the folder, so that a run that was ended goes on. Times are those of the
processor, of all threads, which other work on the machine changes little; a query's is the median.
The curve says which part of the true 100 neighbours lies in the nearest 1, 4, 16, 64, 128 of 1024
lists: it tells how far the two kinds of queries (see `vectors`) are from real ones.

A million vectors take 1 GB of disk; they are deleted when they are measured. Set OMP_NUM_THREADS=1
where the machine has other work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import aligned, machine, run_as_step, run_step, tell
from systems import tuning_queries
from vectors import SOURCES, Source, lowest_scores, recall, write_vectors

from alphaclip.files import write_text

if TYPE_CHECKING:
    from alphaclip.indexing.store.table import VectorTable

DIM, K, QUERIES = 512, 100, 200
KINDS = {"plain": False, "residual": True}
LISTS, NEAREST = 1024, (1, 4, 16, 64, 128)
REAL = (0.343, 0.604, 0.830, 0.959, 0.989)
"""Of CLIP's vectors and real texts: VIBE, a million of LAION, 512 numbers."""


def main() -> None:
    """Measures what is not measured yet, and prints the tables."""
    options = _parser().parse_args()
    facts = ", ".join(f"{name}: {value}" for name, value in machine().items())
    curves = [["share of the 100 nearest in", *map(str, NEAREST)], ["real", *map(str, REAL)]]
    rows = [["vectors", "queries", "kind", "build s", "tuning s", "ms", "on the clock", "recall"]]
    rows[0].append("lists")
    for count in options.counts:
        for name in options.sources:
            found = _measured(options.work / f"{name}-{count}", count, name, options.dim)
            for kind in KINDS:
                rows.append([f"{count:,}", name, kind, *_cells(found[kind], found["ask"][kind])])
            curves.append(
                [f"{name}, {count:,}", *(f"{share:.3f}" for share in found["curve"]["shares"])]
            )
    sys.stdout.write(f"{facts}\n\n{aligned(rows)}\n\n{aligned(curves)}\n")


def _measured(folder: Path, count: int, name: str, dim: int) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"work": str(folder), "count": count, "source": name, "dim": dim}
    steps: dict[str, tuple[str, dict[str, Any]]] = {"prepare": ("prepare", {})}
    steps |= {kind: ("build", {"kind": kind}) for kind in KINDS}
    steps |= {"ask": ("ask", {}), "curve": ("curve", {})}
    found = {}
    for key, (step, more) in steps.items():
        path = folder / f"{key}.json"
        if not path.exists():
            figures = run_step("large.py", step, options | more)
            write_text(path, json.dumps(figures))
            tell(f"{name}, {count:,}: {key}: {figures}")
        found[key] = json.loads(path.read_text())
    for path in (folder / "vectors.npy", *(folder / f"{kind}.faiss" for kind in KINDS)):
        path.unlink(missing_ok=True)
    return found


def prepare(options: dict[str, Any]) -> dict[str, Any]:
    """Writes the vectors, and the scores that hits must reach."""
    source, work = _source(options), Path(options["work"])
    write_vectors(work / "vectors.npy", source)
    rows, vectors = np.arange(source.count), _table(options).segments[0]
    np.save(work / "lowest.npy", lowest_scores(vectors, _queries(source), K, rows))
    return {}


def build(options: dict[str, Any]) -> dict[str, Any]:
    """Builds and tunes an index of one kind."""
    import faiss

    from alphaclip.indexing.nearest.ivf import IvfIndex
    from alphaclip.indexing.nearest.ivf_building import build_ivf
    from alphaclip.indexing.nearest.tuning import make_queries, tune

    table, kind = _table(options), options["kind"]
    texts = tuning_queries(_source(options))
    started = time.process_time()
    index = build_ivf(table, "cosine", residual=KINDS[kind])
    built = time.process_time()
    faiss.write_index(index, str(Path(options["work"]) / f"{kind}.faiss"))
    tuning = time.process_time()
    queries = make_queries(table, "cosine", 0, lambda: texts)
    tuned = tune(IvfIndex(table, "cosine", index, index.nlist), table, "cosine", queries)
    chosen = {"nprobe": tuned.nprobe, "oversample": tuned.oversample, "lists": index.nlist}
    seconds = {"build": built - started, "tuning": time.process_time() - tuning}
    return {**seconds, **chosen, "recalls": tuned.recalls}


def ask(options: dict[str, Any]) -> dict[str, Any]:
    """Asks both kinds each query, one after the other."""
    import faiss

    from alphaclip.indexing.nearest.ivf import IvfIndex

    table, work, asked = _table(options), Path(options["work"]), _queries(_source(options))
    searches: dict[str, Callable[..., Any]] = {}
    for kind in KINDS:
        tuned = json.loads((work / f"{kind}.json").read_text())
        index = faiss.read_index(str(work / f"{kind}.faiss"))
        settings = tuned["nprobe"], tuned["oversample"]
        searches[kind] = IvfIndex(table, "cosine", index, *settings).search
    took: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    rows: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for query in asked:
        for kind, search in searches.items():
            started = time.process_time(), time.perf_counter()
            rows[kind].append(search(query[None], K)[1][0])
            ended = time.process_time(), time.perf_counter()
            took[kind].append((ended[0] - started[0], ended[1] - started[1]))
    lowest, figures = np.load(work / "lowest.npy"), {}
    for kind in KINDS:
        cpu, clock = np.median(took[kind], axis=0) * 1000
        reached = recall(table.segments[0], asked, rows[kind], lowest, K)
        figures[kind] = {"ms": cpu, "clock": clock, "recall": reached}
    return figures


def curve(options: dict[str, Any]) -> dict[str, Any]:
    """Which part of the nearest lies in the lists nearest to each query."""
    import faiss

    table, asked = _table(options), _queries(_source(options))
    vectors, lists = table.segments[0], min(LISTS, len(table) // 40)
    centroids: Any = faiss.IndexFlatIP(table.dim)
    clustering: Any = faiss.Clustering(table.dim, lists)
    clustering.spherical, clustering.niter = True, 10
    step = max(1, len(table) // (64 * lists))
    clustering.train(vectors[::step].astype(np.float32), centroids)
    order = centroids.search(asked, lists)[1].argsort(axis=1)
    lowest = np.load(Path(options["work"]) / "lowest.npy")
    places: list[np.ndarray] = []
    for _, block in table.blocks():
        full = block.astype(np.float32)
        which, hits = np.nonzero(asked @ full.T >= lowest[:, None])
        if len(hits):
            places.append(order[which, centroids.search(full[hits], 1)[1][:, 0]])
    parts = np.concatenate(places)
    return {"shares": [float((parts < nearest).mean()) for nearest in NEAREST]}


def _cells(built: dict[str, Any], asked: dict[str, float]) -> Iterator[str]:
    yield from (f"{built[key]:,.0f}" for key in ("build", "tuning"))
    yield from (f"{asked[key]:.1f}" for key in ("ms", "clock"))
    yield f"{asked['recall']:.4f}"
    yield f"{built['nprobe']} of {built['lists']}"


def _table(options: dict[str, Any]) -> VectorTable:
    from alphaclip.indexing.store.table import VectorTable

    vectors = np.load(Path(options["work"]) / "vectors.npy", mmap_mode="r")
    rows = np.arange(len(vectors))
    return VectorTable((vectors,), ("vectors",), rows, vectors.shape[1], vectors.dtype)


def _source(options: dict[str, Any]) -> Source:
    return SOURCES[options["source"]](options["count"], options["dim"])


def _queries(source: Source) -> np.ndarray:
    return source.queries(QUERIES, draw=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures both kinds of index of a large table.")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000_000], help="of vectors")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--dim", type=int, default=DIM, help="numbers in a vector")
    return parser


if __name__ == "__main__":
    if not run_as_step({"prepare": prepare, "build": build, "ask": ask, "curve": curve}):
        main()
