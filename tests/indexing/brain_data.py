"""Datasets whose pictures do not exist, and Brain runs of vectors that are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
from scipy.spatial.distance import cdist

from alphaclip.indexing.similarity import FaissSimilarityConfig, FaissSimilarityIndex
from alphaclip.indexing.store.segments import RowIds
from alphaclip.indexing.store.store import writing

DIM = 8


def images(dataset_factory: Callable, count: int) -> fo.Dataset:
    """A dataset of so many samples."""
    dataset = dataset_factory("brain")
    samples = [fo.Sample(f"/nowhere/{i}.png", place=i) for i in range(count)]
    dataset.add_samples(samples, progress=False)
    return dataset


def patches(dataset_factory: Callable, counts: list[int]) -> fo.Dataset:
    """A dataset with so many detections in the samples' field ``gt``."""
    dataset, samples = dataset_factory("brain"), []
    for i, count in enumerate(counts):
        boxes = [[0.1, 0.1, 0.05 * (j + 1), 0.5] for j in range(count)]
        labels = [fo.Detection(label=f"{i}-{j}", bounding_box=b) for j, b in enumerate(boxes)]
        samples.append(fo.Sample(f"/nowhere/{i}.png", gt=fo.Detections(detections=labels)))
    dataset.add_samples(samples, progress=False)
    return dataset


def vectors(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Random vectors of all lengths."""
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def compute(dataset: Any, brain_key: str | None = "sim", **settings: Any) -> FaissSimilarityIndex:
    """``fob.compute_similarity`` with this backend."""
    return fob.compute_similarity(
        dataset, backend=FaissSimilarityConfig, brain_key=brain_key, **settings
    )


def label_ids(dataset: fo.Dataset) -> list[str]:
    """Of all detections, in order of the dataset."""
    return dataset.values("gt.detections.id", unwind=True)


def reloaded(dataset: fo.Dataset, key: str = "sim") -> FaissSimilarityIndex:
    """The run as another session would load it."""
    dataset.clear_cache()
    return dataset.load_brain_results(key)


def distances(queries: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """All distances between two sets of vectors, by NumPy and SciPy."""
    if metric == "dotproduct":
        return 1 - queries @ rows.T
    return cdist(queries, rows, metric)


def publish(folder: Path, count: int = 4, kind: str = "regions") -> None:
    """Stores so many vectors, as a build does."""
    rows = vectors(count)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = RowIds.of(["s"] * count, [f"label{i}" for i in range(count)], "gt")
    with writing(folder) as writer:
        segment = writer.add([rows], ids, DIM, np.float16)
        writer.publish([segment], DIM, np.dtype(np.float16), {"kind": kind})
