"""LanceDB: tables of Arrow, written as a stream and changed by merging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.vector_engines.vector_engine import IDS, Batch, VectorEngine

INDEXED = 200_000
"""So many vectors get an index of LanceDB's; fewer are compared one by one, and none is missed."""

LIST, PROBES = 16_384, 64
"""Vectors in a list of it, and lists that a search reads: all of up to a million vectors, as texts
lie apart from them."""

INDEX, EXAMINED, REFINED = "IVF_HNSW_SQ", 100, 4
"""A graph over a byte a number: product codes fine enough to find the nearest take LanceDB twenty
times as long to make. So many neighbours are examined for a new vector (LanceDB's 300 triple the
time and find no more), and so many times ``k`` vectors are compared themselves in a search."""

_METRICS = {"cosine": "cosine", "euclidean": "l2"}


class LanceDB(VectorEngine):
    """A table for each copy. The Brain reads and writes the whole table for each batch."""

    title = "LanceDB"
    names = ("table_name",)

    def load(self, first: Batch, others: Iterator[Batch]) -> None:
        import pyarrow as pa

        table = as_arrow(first)
        batches = chain([table], map(as_arrow, others))
        stream = pa.RecordBatchReader.from_batches(table.schema, batches)
        name = self.run.config.table_name
        self.run._table = self.run._db.create_table(name, stream, mode="overwrite")
        count = len(self.run._table)
        if count >= INDEXED:
            self.run._table.create_index(
                self._metric,
                max(1, count // LIST),
                vector_column_name="vector",
                index_type=INDEX,
                ef_construction=EXAMINED,
            )

    def replace(self, batch: Batch) -> None:
        import pyarrow as pa

        merge = self._table().merge_insert("id").when_matched_update_all()
        merge.when_not_matched_insert_all().execute(pa.Table.from_batches([as_arrow(batch)]))

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), IDS):
            listed = ", ".join(f"'{one}'" for one in ids[start : start + IDS])
            self._table().delete(f"id IN ({listed})")

    def empty(self) -> None:
        if self.run.table is not None:
            self._table().delete("true")

    def count(self) -> int:
        return 0 if self.run.table is None else len(self._table())

    def finish(self) -> None:
        """Takes what was added into the table's index, and joins its files."""
        if self.run.table is not None:
            self.run.table.optimize()

    def search(self, query: np.ndarray, k: int) -> list[str]:
        nearest = self._table().search(query).metric(self._metric).limit(k)
        nearest = nearest.nprobes(PROBES).refine_factor(REFINED)
        return nearest.select(["id", "_distance"]).to_arrow()["id"].to_pylist()

    def _table(self) -> Any:
        """As it is now: what another process changes is not seen otherwise."""
        if self.run.table is None:
            config = self.run.config
            raise AlphaClipError(
                f"there is no table {config.table_name!r} in {config.uri}: was it deleted, or is "
                "the address (uri) another?"
            )
        self.run.table.checkout_latest()
        return self.run.table

    @property
    def _metric(self) -> str:
        return _METRICS[self.run.config.metric]


def as_arrow(batch: Batch) -> Any:
    """The columns that the Brain expects; half precision stays that."""
    import pyarrow as pa

    vectors = batch.vectors if batch.vectors.dtype == np.float16 else np.float32(batch.vectors)
    numbers = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    columns = [
        pa.array(batch.ids),
        pa.array(batch.sample_ids),
        pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]),
    ]
    return pa.record_batch(columns, names=["id", "sample_id", "vector"])
