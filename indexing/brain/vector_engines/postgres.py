"""Postgres with pgvector: tables that are copied to, and indexed once they are whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from typing import Any

import numpy as np

from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine

_OPERATORS = {"cosine": "<=>", "dotproduct": "<#>", "euclidean": "<->", "l1": "<+>"}
_HEAD, _TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


class Postgres(VectorEngine):
    """A table for each copy. The Brain inserts into a table whose index is there from the first
    batch on, which then takes nearly all of the time."""

    title = "pgvector"
    names = ("table_name", "index_name")
    most = 1000
    """What ``hnsw.ef_search`` may be."""

    def load(self, first: Batch, others: Iterator[Batch]) -> None:
        self._drop_table()
        self.run._create_table(first.vectors.shape[1])
        with self._cursor() as cursor:
            for batch in chain([first], others):
                self._copy(cursor, self.run.config.table_name, batch)
        memory = self.run.config.maintenance_work_mem
        with self._cursor() as cursor:
            if memory is not None:
                cursor.execute("SET maintenance_work_mem TO %s", (memory,))
        self.run.create_index()

    def replace(self, batch: Batch) -> None:
        with self._cursor() as cursor:
            cursor.execute(self._sql("CREATE TEMP TABLE incoming (LIKE {table}) ON COMMIT DROP"))
            self._copy(cursor, "incoming", batch)
            cursor.execute(
                self._sql(
                    "INSERT INTO {table} SELECT * FROM incoming ON CONFLICT (id) DO UPDATE SET "
                    "sample_id = EXCLUDED.sample_id, embedding_vector = EXCLUDED.embedding_vector"
                )
            )

    def delete(self, ids: Sequence[str]) -> None:
        with self._cursor() as cursor:
            cursor.execute(self._sql("DELETE FROM {table} WHERE id = ANY(%s)"), (list(ids),))

    def empty(self) -> None:
        self._drop_table()

    def drop(self) -> None:
        self._drop_table()
        self.run.close_connections()

    def finish(self) -> None:
        self.run.reload()

    def count(self) -> int:
        with self._cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", (f'"{self.run.config.table_name}"',))
            if cursor.fetchone()[0] is None:
                return 0
            cursor.execute(self._sql("SELECT count(*) FROM {table}"))
            return int(cursor.fetchone()[0])

    def search(self, query: np.ndarray, k: int) -> list[str]:
        config = self.run.config
        order = f"embedding_vector {_OPERATORS[config.metric]} %s::{config.vector_type}"
        with self._cursor() as cursor:
            if config.index_type == "ivfflat":
                probes = self.run._resolve_ivfflat_probes()
                cursor.execute("SET LOCAL ivfflat.probes = %s", (probes,))
            else:
                cursor.execute("SET LOCAL hnsw.ef_search = %s", (min(k, self.most),))
            nearest = f"SELECT id FROM {{table}} ORDER BY {order} LIMIT %s"
            cursor.execute(self._sql(nearest), (query.tolist(), k))
            return [row[0] for row in cursor.fetchall()]

    def _copy(self, cursor: Any, table: str, batch: Batch) -> None:
        from psycopg2 import sql

        into = sql.SQL("COPY {} FROM STDIN WITH (FORMAT BINARY)").format(sql.Identifier(table))
        is_half = self.run.config.vector_type == "halfvec"
        cursor.copy_expert(into, BytesIO(as_binary(batch, is_half)))

    def _drop_table(self) -> None:
        with self._cursor() as cursor:
            # Whoever has only read from it keeps a lock until its transaction ends.
            cursor.execute("SET LOCAL lock_timeout = '30s'")
            cursor.execute(self._sql("DROP TABLE IF EXISTS {table}"))

    def _sql(self, text: str) -> Any:
        from psycopg2 import sql

        return sql.SQL(text).format(table=sql.Identifier(self.run.config.table_name))

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A transaction: the Brain leaves its own open, or closes the connection."""
        if self.run._conn.closed:
            self.run._initialize()
        with self.run._conn as connection, connection.cursor() as cursor:
            yield cursor


def as_binary(batch: Batch, is_half: bool) -> bytes:
    """Rows of ``(id text, sample_id text, vector or halfvec)`` in Postgres's binary format."""
    numbers = np.ascontiguousarray(batch.vectors, ">f2" if is_half else ">f4")
    dim = numbers.shape[1]
    shape = struct.pack("!ihh", 4 + dim * numbers.itemsize, dim, 0)
    parts = [_HEAD]
    for one, sample, vector in zip(batch.ids, batch.sample_ids, numbers, strict=True):
        parts.append(struct.pack("!h", 3))
        for text in (one.encode(), sample.encode()):
            parts += (struct.pack("!i", len(text)), text)
        parts += (shape, vector.tobytes())
    return b"".join([*parts, _TAIL])
