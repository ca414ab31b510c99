"""Steps of the Brain benchmark: FiftyOne's sklearn backend against ours, on the same samples.

The pictures of the dataset do not exist: embeddings are given, so none is opened. Both backends
get the same float32 array in the same call, ``compute_similarity``, which also saves the results.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measuring import folder_bytes, only_steps, run_step, timed
from systems import write_store
from vectors import BLOCK, Source

BACKENDS = {"sklearn": "sklearn_run", "ours": "our_run"}
LOADS = 3
"""New processes that each load and ask; the median of their times is reported."""

K = 100
IMPORTED = (
    "alphaclip.indexing.nearest.engine",
    "alphaclip.indexing.similarity",
    "faiss",
    "fiftyone.brain.internal.core.sklearn",
    "pyarrow.parquet",
)


def compare(options: dict[str, Any]) -> dict[str, Any]:
    """Saves, loads and asks both, and counts their bytes."""
    source = Source(options["count"], options["dim"])
    vectors = np.concatenate(list(source.blocks(np.float32)))
    with _dataset(16) as small:
        for backend, key in BACKENDS.items():
            _save(small, vectors[:16], backend, key)
    with _dataset(source.count) as dataset:
        figures = {}
        for backend, key in BACKENDS.items():
            seconds = _save(dataset, vectors, backend, key)
            figures[backend] = {"save_seconds": seconds, **_loads(dataset, backend, options)}
        found = [set(figures[backend].pop("found")) for backend in BACKENDS]
        figures["same_hits"] = len(found[0] & found[1])
        figures["sklearn"]["bytes"] = _saved_bytes(dataset, BACKENDS["sklearn"])
        figures["ours"]["bytes"] = _our_bytes(dataset)
        samples = dataset.values("id")
    folder = Path(options["work"]) / "float16"
    write_store(folder, samples, source.blocks(), source)
    return {**figures, "float16_bytes": folder_bytes(folder)}


def load_and_ask(options: dict[str, Any]) -> dict[str, Any]:
    """In a new process: from the loaded dataset to the answer to the first vector query."""
    # Whatever either backend imports by itself is imported before the clock starts.
    for module in IMPORTED:
        import_module(module)
    import fiftyone as fo

    dataset = fo.load_dataset(options["dataset"])
    query = Source(options["count"], options["dim"]).queries(1, draw=0)[0]
    with timed() as loading:
        dataset.load_brain_results(options["key"])
    with timed() as asking:
        view = dataset.sort_by_similarity(query, k=K, brain_key=options["key"])
    figures = {"load_seconds": loading[0], "ask_seconds": asking[0]}
    return {**figures, "found": view.values("id")}


def _save(dataset: Any, vectors: np.ndarray, backend: str, key: str) -> float:
    import fiftyone.brain as fob

    from alphaclip.indexing.similarity import FaissSimilarityConfig

    chosen = FaissSimilarityConfig if backend == "ours" else backend
    with timed() as seconds:
        fob.compute_similarity(dataset, embeddings=vectors, backend=chosen, brain_key=key)
    return seconds[0]


def _loads(dataset: Any, backend: str, options: dict[str, Any]) -> dict[str, Any]:
    asked = {**options, "dataset": dataset.name, "key": BACKENDS[backend]}
    runs = [run_step("brain.py", "load_and_ask", asked) for _ in range(LOADS)]
    names = ("load_seconds", "ask_seconds", "peak_memory")
    figures = {name: median(run[name] for run in runs) for name in names}
    both = median(run["load_seconds"] + run["ask_seconds"] for run in runs)
    return {**figures, "load_and_ask_seconds": both, "found": runs[0]["found"]}


def _saved_bytes(dataset: Any, key: str) -> int:
    """The length of the results that FiftyOne keeps in its database."""
    results = dataset._doc.brain_methods[key].results
    return int(results.length) if results else 0


def _our_bytes(dataset: Any) -> int:
    from alphaclip.indexing.dataset.locations import index_folder

    key = BACKENDS["ours"]
    return folder_bytes(index_folder(dataset, key)) + _saved_bytes(dataset, key)


@contextmanager
def _dataset(count: int) -> Iterator[Any]:
    import fiftyone as fo

    fo.config.show_progress_bars = False
    dataset = fo.Dataset(f"benchmark-{uuid.uuid4().hex[:12]}")
    try:
        for start in range(0, count, BLOCK):
            paths = [f"/none/{place}.jpg" for place in range(start, min(start + BLOCK, count))]
            dataset.add_samples([fo.Sample(filepath=path) for path in paths])
        yield dataset
    finally:
        dataset.delete_brain_runs()
        dataset.delete()


if __name__ == "__main__":
    only_steps("brain.py", {"compare": compare, "load_and_ask": load_and_ask})
