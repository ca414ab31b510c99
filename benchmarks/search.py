"""Steps of the search benchmark: the vectors and what is true of them, and each system's figures.

Recall counts the rows found whose score, as float32, reaches that of the k-th nearest, which is
computed here by matrix products, apart from every system.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from measuring import each_timed, folder_bytes, latency, only_steps, timed
from systems import SYSTEMS, System, tuning_queries
from vectors import KEPT, Source, lowest_scores, recall, write_vectors

QUERIES = 1000
BUDGET = 40.0
"""Seconds that the single queries of a system may take; then it is asked fewer."""

FILTERED = 100
FILTERED_BUDGET = 10.0
BATCH, BATCHES = 64, 8
BATCH_BUDGET = 20.0
TUNED = 64


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
    with timed() as seconds:
        SYSTEMS[options["system"]].build(folder, source, vectors)
    return {"seconds": seconds[0], "bytes": folder_bytes(folder)}


def search(options: dict[str, Any]) -> dict[str, Any]:
    """Opens what was built, and asks it: one by one, in batches, and with filters."""
    source, work, k = _source(options), Path(options["work"]), options["k"]
    vectors, known = _vectors(work), np.load(work / "lowest.npz")
    texts, tuning = source.queries(QUERIES, draw=0), tuning_queries(source)[:TUNED]
    kind = SYSTEMS[options["system"]]
    for module in kind.modules:
        import_module(module)
    with timed() as opening:
        system = kind(_folder(options), source)
        system.one(tuning[0], k)

    def measured(function: Any) -> float:
        found = [function(query, k) for query in tuning]
        return recall(vectors, tuning, found, known["tuning"][:TUNED], k)

    system.tune(measured)
    found, seconds = each_timed(lambda query: system.one(query, k), texts, BUDGET)
    asked = len(found)
    figures = {
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
    return Source(options["count"], options["dim"])


def _vectors(work: Path) -> np.ndarray:
    return np.load(work / "vectors.npy", mmap_mode="r")


def _folder(options: dict[str, Any]) -> Path:
    return Path(options["work"]) / str(options["system"]).replace(" ", "-")


if __name__ == "__main__":
    only_steps("search.py", {"prepare": prepare, "build": build, "search": search})
