"""The systems that search the same vectors: how each is built, opened and asked.

All of them are given the vectors' rows as ids. ``alphaclip`` is a store with its index of inverted
lists, ``alphaclip exact`` the same store compared in full.

LanceDB is embedded, through its own Python API. Its index is IVF_FLAT over float32, with as many
partitions as the root of the number of vectors, as its guide has it, and as many rounds of k-means
as ours. (In a trial with 50,000 vectors, on a busy machine, IVF_PQ over float16 took 109 s to build
against 12 s, and found 98.4 % at best with a refine factor of 10 against 99.8 %; IVF_FLAT over
float16 ends with an error in LanceDB 0.25.3.) Its flat search is over float16, which was twice as
fast there, and is asked for the queries of a batch one by one: together, 64 took 6 GB of memory. A
BTREE index serves its filters; it then looks into more partitions at the least, by as much as the
filter leaves fewer rows, as ours does.

FAISS Flat is ``IndexFlatIP`` in memory, written to a file and read from it, with the threshold of
its matrix products set as ours is: batches of 64 are much faster so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from vectors import BLOCK, BUCKETS, Source

ITERATIONS = 10
TARGET = 0.99
"""Recall that LanceDB's number of probes is chosen for, as ours is."""


class Searcher(Protocol):
    """A system that is open; one with ``kept`` can restrict a search to rows of some buckets."""

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        """The rows nearest to one query (dim,), best first."""

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        """The same for independent queries (m, dim), asked together."""

    def facts(self) -> dict[str, Any]:
        """What the system says of its index."""


Recall = Callable[[Callable[[np.ndarray, int], np.ndarray]], float]
"""The recall of a search for one query, on queries that are for tuning only."""


class Alphaclip:
    """Our store and engine; the limit of exact search is scaled with the number of vectors."""

    modules = (
        "alphaclip.indexing.nearest.engine",
        "alphaclip.indexing.store.store",
        "faiss",
        "pyarrow.parquet",
    )

    def __init__(self, folder: Path, source: Source, exact: bool = False) -> None:
        from alphaclip.indexing.nearest.engine import open_engine
        from alphaclip.indexing.store.store import open_store

        self._table = open_store(folder).table
        limit = source.count if exact else exact_limit(source.count)
        texts = tuning_queries(source)
        self._engine = open_engine(
            self._table, "cosine", folder / "cache", lambda: texts, exact_limit=limit
        )
        self._buckets = source.buckets()

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray, exact: bool = False) -> None:
        """Writes the store from blocks, and builds and tunes its index."""
        _write_store(folder, source, vectors)
        Alphaclip(folder, source, exact)

    def tune(self, _: Recall) -> None:
        """Is done by the build."""

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self._engine.search(query[None], k)[1][0]

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        return list(self._engine.search(queries, k)[1])

    def kept(self, below: int) -> Callable[[np.ndarray, int], np.ndarray]:
        places = np.flatnonzero(self._buckets < below)
        return lambda query, k: self._engine.search(query[None], k, places)[1][0]

    def facts(self) -> dict[str, Any]:
        return dict(self._engine.facts)


class AlphaclipExact(Alphaclip):
    """Our store, every vector compared."""

    def __init__(self, folder: Path, source: Source) -> None:
        super().__init__(folder, source, exact=True)

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Writes the store only."""
        Alphaclip.build(folder, source, vectors, exact=True)


class Lance:
    """LanceDB's IVF_FLAT."""

    modules = ("lancedb",)

    def __init__(self, folder: Path, source: Source) -> None:
        import lancedb

        self._partitions = _partitions(source)
        self._table = lancedb.connect(folder).open_table("vectors")
        self._probes = 1

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Writes a table of float32 and indexes it."""
        table = _lance_table(folder, source, vectors, np.float32)
        table.create_index(
            metric="cosine",
            num_partitions=_partitions(source),
            index_type="IVF_FLAT",
            max_iterations=ITERATIONS,
        )
        table.create_scalar_index("bucket")

    def tune(self, recall: Recall) -> None:
        """Doubles the probes until enough is found."""
        while self._probes < self._partitions and recall(self.one) < TARGET:
            self._probes *= 2

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self._query(query).limit(k).to_arrow()["id"].to_numpy()

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        found = self._query(list(queries)).limit(k).to_arrow()
        which, rows = found["query_index"].to_numpy(), found["id"].to_numpy()
        return [rows[which == i] for i in range(len(queries))]

    def kept(self, below: int) -> Callable[[np.ndarray, int], np.ndarray]:
        def search(query: np.ndarray, k: int) -> np.ndarray:
            restricted = self._query(query).where(f"bucket < {below}", prefilter=True)
            if self._probes:
                least = min(self._partitions, self._probes * BUCKETS // below)
                restricted = restricted.minimum_nprobes(least).maximum_nprobes(0)
            return restricted.limit(k).to_arrow()["id"].to_numpy()

        return search

    def facts(self) -> dict[str, Any]:
        return {"type": "IVF_FLAT", "nprobes": self._probes}

    def _query(self, query: Any) -> Any:
        asked = self._table.search(query).distance_type("cosine").select(["id", "_distance"])
        return asked.nprobes(self._probes) if self._probes else asked


class LanceFlat(Lance):
    """LanceDB without an index."""

    def __init__(self, folder: Path, source: Source) -> None:
        super().__init__(folder, source)
        self._probes = 0

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Writes a table of float16."""
        _lance_table(folder, source, vectors, np.float16).create_scalar_index("bucket")

    def tune(self, _: Recall) -> None:
        """Has nothing to tune."""

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        return [self.one(query, k) for query in queries]

    def facts(self) -> dict[str, Any]:
        return {"type": "flat"}


class FaissFlat:
    """FAISS's exact index of float32."""

    modules = ("faiss",)

    def __init__(self, folder: Path, source: Source) -> None:
        import faiss

        from alphaclip.indexing.nearest.exact import BATCH

        faiss.cvar.distance_compute_blas_threshold = BATCH["float32"] * source.dim
        self._index = faiss.read_index(str(folder / "flat.faiss"))

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Adds all vectors and writes the index."""
        import faiss

        folder.mkdir(parents=True)
        index: Any = faiss.IndexFlatIP(source.dim)
        for block in _blocks(vectors):
            index.add(block.astype(np.float32))
        faiss.write_index(index, str(folder / "flat.faiss"))

    def tune(self, _: Recall) -> None:
        """Has nothing to tune."""

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self._index.search(query[None], k)[1][0]

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        return list(self._index.search(queries, k)[1])

    def facts(self) -> dict[str, Any]:
        return {"type": "IndexFlatIP"}


SYSTEMS: dict[str, Any] = {
    "alphaclip": Alphaclip,
    "alphaclip exact": AlphaclipExact,
    "LanceDB IVF_FLAT": Lance,
    "LanceDB flat": LanceFlat,
    "FAISS Flat": FaissFlat,
}


def _partitions(source: Source) -> int:
    return max(1, round(sqrt(source.count)))


def exact_limit(count: int) -> int:
    """Ours is 200,000; smaller trials search in the same way as a million."""
    from alphaclip.indexing.nearest.engine import EXACT_LIMIT

    return min(EXACT_LIMIT, count // 5)


def tuning_queries(source: Source) -> np.ndarray:
    """Text-like queries that nothing is reported on."""
    return source.queries(128, draw=1)


def object_ids(numbers: np.ndarray) -> np.ndarray:
    """Numbers as ids of 24 hexadecimal digits."""
    raw = np.zeros((len(numbers), 12), np.uint8)
    raw[:, 4:] = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.frombuffer(raw.tobytes().hex().encode(), "S24")


def random_stamps(count: int) -> np.ndarray:
    """Fingerprints as a region index has them: they do not compress."""
    raw = np.random.default_rng(7).bytes(16 * count).hex().encode()
    return np.frombuffer(raw, "S32")


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), BLOCK):
        yield vectors[start : start + BLOCK]


def _write_store(folder: Path, source: Source, vectors: np.ndarray) -> None:
    from alphaclip.indexing.store.segments import RowIds
    from alphaclip.indexing.store.store import writing

    rows = np.arange(source.count)
    stamps = random_stamps(source.count)
    ids = RowIds.of(object_ids(rows // 10), object_ids(rows), "ground_truth", stamps)
    with writing(folder) as writer:
        piece = writer.add(_blocks(vectors), ids, source.dim, np.float16)
        writer.publish([piece], source.dim, np.dtype(np.float16), {"kind": "regions"})


def _lance_table(folder: Path, source: Source, vectors: np.ndarray, dtype: type) -> Any:
    import lancedb
    import pyarrow as pa

    kind = pa.list_(pa.from_numpy_dtype(dtype), source.dim)
    schema = pa.schema([("id", pa.int64()), ("bucket", pa.int32()), ("vector", kind)])
    buckets = source.buckets()

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for block in _blocks(vectors):
            end = start + len(block)
            values = pa.array(np.asarray(block, dtype).ravel())
            lists = pa.FixedSizeListArray.from_arrays(values, source.dim)
            rows = pa.array(np.arange(start, end)), pa.array(buckets[start:end])
            yield pa.record_batch([*rows, lists], schema=schema)
            start = end

    return lancedb.connect(folder).create_table("vectors", batches(), schema=schema)
