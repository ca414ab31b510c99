"""Redis with its search module: documents of JSON, sent as pipelines."""

from __future__ import annotations

from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine

PIPELINE = 1000
"""Vectors in one pipeline, which is kept in memory on both sides as a text."""


class Redis(VectorEngine):
    """The Brain's ways, in smaller pipelines; it takes a server that is down for an empty one."""

    title = "Redis"
    names = ("index_name",)
    client = ("redis", "<6")

    def check(self) -> None:
        self.run.client.ping()

    def add(self, batch: Batch) -> None:
        for start in range(0, len(batch.ids), PIPELINE):
            some = slice(start, start + PIPELINE)
            super().add(Batch(batch.ids[some], batch.sample_ids[some], batch.vectors[some]))
