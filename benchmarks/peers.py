"""Other search engines as they are today, for `index.py --peers PYTHON`: in a Python of their own.

    python -m venv peers && peers/bin/pip install numpy lancedb usearch qdrant-edge-py
    .venv/bin/python benchmarks/index.py --only search --peers peers/bin/python

LanceDB is set up as FiftyOne Brain 0.27 does it for up to 768 numbers: IVF_RQ with LanceDB's own
number of partitions, of which at least k are looked into, and ten times k rows that are scored by
the vectors. That has nothing to tune. The others are graphs (HNSW) at their makers' defaults, over
float16; how many rows a search keeps in view is doubled until it finds enough for the queries to
tune with, as for all systems here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from systems import TARGET, Search, System, lance_table
from vectors import BLOCK, Source

MOST = 4096
"""Rows that a search of a graph keeps in view, at most."""


class LanceBrain(System):
    """LanceDB as Brain 0.27 configures it."""

    modules = ("lancedb",)

    def __init__(self, folder: Path, source: Source) -> None:
        import lancedb

        self._table = lancedb.connect(folder).open_table("vectors")

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Writes a table of float32 and indexes it."""
        import lancedb

        table = lance_table(folder, source, vectors, np.float32)
        table.create_index("vector", config=lancedb.index.IvfRq(distance_type="cosine"))

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        search = self._table.search(query).distance_type("cosine").select(["id", "_distance"])
        search = search.maximum_nprobes(0).minimum_nprobes(k).refine_factor(10)
        return search.limit(k).to_arrow()["id"].to_numpy()

    def facts(self) -> dict[str, Any]:
        return {"type": "IVF_RQ", "nprobes": "k", "refine_factor": 10}


class Graph(System):
    """A graph, whose searches keep ``view`` rows in view."""

    view = 128

    def tune(self, recall: Callable[[Search], float]) -> None:
        """Doubles the rows in view until enough is found."""
        while recall(self.one) < TARGET and self.view < MOST:
            self.view *= 2

    def facts(self) -> dict[str, Any]:
        return {"type": "HNSW", "ef": self.view}


class Usearch(Graph):
    """USearch's graph, mapped from its file."""

    modules = ("usearch.index",)

    def __init__(self, folder: Path, source: Source) -> None:
        from usearch.index import Index

        self._index = Index.restore(str(folder / "index.usearch"), view=True)

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Adds all vectors and writes the graph, which holds them."""
        from usearch.index import Index

        folder.mkdir(parents=True)
        index: Any = Index(ndim=source.dim, metric="cos", dtype="f16")
        for start in range(0, source.count, BLOCK):
            some = np.asarray(vectors[start : start + BLOCK])
            index.add(np.arange(start, start + len(some)), some)
        index.save(str(folder / "index.usearch"))

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        self._index.expansion_search = self.view
        return np.asarray(self._index.search(query, k).keys, np.int64)


class QdrantEdge(Graph):
    """Qdrant within the process."""

    modules = ("qdrant_edge",)

    def __init__(self, folder: Path, source: Source) -> None:
        import qdrant_edge

        self._shard = qdrant_edge.EdgeShard.load(str(folder))

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Adds all vectors, and lets the shard make its graph."""
        import qdrant_edge as edge

        folder.mkdir(parents=True)
        params = edge.EdgeVectorParams(
            size=source.dim,
            distance=edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16,
        )
        shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors={"": params}))
        for start in range(0, source.count, BLOCK):
            some = np.asarray(vectors[start : start + BLOCK], np.float32).tolist()
            points = [edge.Point(start + i, one) for i, one in enumerate(some)]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        import qdrant_edge as edge

        params = edge.SearchParams(hnsw_ef=self.view)
        nearest = edge.Query.Nearest(query.tolist())
        hits = self._shard.query(edge.QueryRequest(query=nearest, limit=k, params=params))
        return np.array([hit.id for hit in hits], np.int64)


PEERS: dict[str, Any] = {
    "LanceDB as Brain 0.27": LanceBrain,
    "USearch": Usearch,
    "Qdrant Edge": QdrantEdge,
}
