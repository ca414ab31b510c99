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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from vectors import BLOCK, BUCKETS, Source

ITERATIONS = 10
TARGET = 0.99
"""Recall that LanceDB's number of probes is chosen for, as ours is."""


Search = Callable[[np.ndarray, int], np.ndarray]
"""The rows nearest to one query (dim,), best first."""


class System:
    """A system that is open; built before by its ``build(folder, source, vectors)``.

    Those with ``kept`` can restrict a search to the rows whose bucket is below a number.
    """

    modules: tuple[str, ...]
    """Imported before the clock starts."""

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        """See :data:`Search`."""
        raise NotImplementedError

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        """The same for independent queries (m, dim), asked together where that is faster."""
        return [self.one(query, k) for query in queries]

    def tune(self, recall: Callable[[Search], float]) -> None:
        """Sets what there is to set, by the recall on queries that are for tuning only."""

    def facts(self) -> dict[str, Any]:
        """What the system says of its index."""
        return {"type": "flat"}


class Alphaclip(System):
    """Our store and engine, whose build tunes it; its limit of exact search is scaled with the
    number of vectors."""

    modules = (
        "alphaclip.indexing.nearest.engine",
        "alphaclip.indexing.store.store",
        "faiss",
        "pyarrow.parquet",
    )

    def __init__(self, folder: Path, source: Source, exact: bool = False) -> None:
        from alphaclip.indexing.nearest.engine import EXACT_LIMIT, open_engine
        from alphaclip.indexing.store.store import open_store

        # smaller trials search in the same way as a million
        limit = source.count if exact else min(EXACT_LIMIT, source.count // 5)
        texts, table = tuning_queries(source), open_store(folder).table
        self._engine = open_engine(
            table, "cosine", folder / "cache", lambda: texts, exact_limit=limit
        )
        self._buckets = source.buckets()

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray, exact: bool = False) -> None:
        """Writes the store from blocks, and builds and tunes its index."""
        rows = np.arange(source.count)
        write_store(folder, object_ids(rows // 10), _blocks(vectors), source)
        Alphaclip(folder, source, exact)

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self._engine.search(query[None], k)[1][0]

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        return list(self._engine.search(queries, k)[1])

    def kept(self, below: int) -> Search:
        rows = np.flatnonzero(self._buckets < below)
        return lambda query, k: self._engine.search(query[None], k, rows)[1][0]

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


class Lance(System):
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
        table = lance_table(folder, source, vectors, np.float32)
        table.create_index(
            metric="cosine",
            num_partitions=_partitions(source),
            index_type="IVF_FLAT",
            max_iterations=ITERATIONS,
        )
        table.create_scalar_index("bucket")

    def tune(self, recall: Callable[[Search], float]) -> None:
        """Doubles the probes until enough is found."""
        while self._probes < self._partitions and recall(self.one) < TARGET:
            self._probes *= 2

    def one(self, query: np.ndarray, k: int) -> np.ndarray:
        return self._query(query).limit(k).to_arrow()["id"].to_numpy()

    def several(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        hits = self._query(list(queries)).limit(k).to_arrow()
        which, rows = hits["query_index"].to_numpy(), hits["id"].to_numpy()
        return [rows[which == i] for i in range(len(queries))]

    def kept(self, below: int) -> Search:
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
        search = self._table.search(query).distance_type("cosine").select(["id", "_distance"])
        return search.nprobes(self._probes) if self._probes else search


class LanceFlat(Lance):
    """LanceDB without an index."""

    def __init__(self, folder: Path, source: Source) -> None:
        super().__init__(folder, source)
        self._probes = 0

    @staticmethod
    def build(folder: Path, source: Source, vectors: np.ndarray) -> None:
        """Writes a table of float16."""
        lance_table(folder, source, vectors, np.float16).create_scalar_index("bucket")

    tune, several, facts = System.tune, System.several, System.facts


class FaissFlat(System):
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


def tuning_queries(source: Source) -> np.ndarray:
    """Text-like queries that nothing is reported on."""
    return source.queries(128, draw=1)


def object_ids(numbers: np.ndarray) -> np.ndarray:
    """Numbers as ids of 24 hexadecimal digits."""
    raw = np.zeros((len(numbers), 12), np.uint8)
    raw[:, 4:] = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.frombuffer(raw.tobytes().hex().encode(), "S24")


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), BLOCK):
        yield vectors[start : start + BLOCK]


def write_store(
    folder: Path,
    samples: Sequence[str] | np.ndarray,
    blocks: Iterable[np.ndarray],
    source: Source,
    labels: Sequence[str] | np.ndarray | None = None,
    field: str = "ground_truth",
    info: Mapping[str, Any] = MappingProxyType({"kind": "regions"}),
) -> None:
    """A store of ours as a region index has it: with label ids and fingerprints, in float16."""
    from alphaclip.indexing.store.segments import RowIds
    from alphaclip.indexing.store.store import writing

    # random, so that they do not compress, as those of a region index
    raw = np.random.default_rng(7).bytes(16 * source.count).hex().encode()
    labels = object_ids(np.arange(source.count)) if labels is None else labels
    ids = RowIds.of(samples, labels, field, np.frombuffer(raw, "S32"))
    with writing(folder) as writer:
        segment = writer.add(blocks, ids, source.dim, np.float16)
        writer.publish([segment], source.dim, np.dtype(np.float16), dict(info))


def lance_table(folder: Path, source: Source, vectors: np.ndarray, dtype: type) -> Any:
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
