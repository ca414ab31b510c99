"""Qdrant: points that are uploaded in bulk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine


class Qdrant(VectorEngine):
    """A collection for each copy; its server makes the index while it takes points."""

    title = "Qdrant"
    names = ("collection_name",)
    client = ("qdrant-client", "<1.16")

    def load(self, first: Batch, others: Iterator[Batch]) -> None:
        self.run._create_collection(first.vectors.shape[1])
        super().load(first, others)

    def add(self, batch: Batch) -> None:
        self.run.client.upload_collection(
            self.run.config.collection_name,
            vectors=batch.vectors.astype(np.float32),
            payload=[{"sample_id": one} for one in batch.sample_ids],
            ids=self.run._to_qdrant_ids(batch.ids),
            wait=True,
        )

    def replace(self, batch: Batch) -> None:
        self.add(batch)

    def search(self, query: np.ndarray, k: int) -> list[str]:
        name = self.run.config.collection_name
        nearest = self.run.client.query_points(name, query, limit=k, with_payload=False)
        return self.run._to_fiftyone_ids([point.id for point in nearest.points])
