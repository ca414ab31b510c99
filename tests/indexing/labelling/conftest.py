"""Regions whose vectors can be read off their boxes, and an index of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.region import Region
from alphaclip.views.view import View

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.region_index import RegionIndex

KINDS = ("ant", "bee", "cat", "nothing")
DIM = 8


class ToyEncoder(Encoder):
    """A region at the height of a kind, [x, 0.2 * kind], is so much of it, and x of the next.

    So the likeliest of the first three kinds is right where x < 0.5, and the cosine says how sure.
    """

    name, fingerprint, view, dim = "toy", "0123456789abcdef", View(), DIM
    dtype: Any = "exact"

    def __init__(self) -> None:
        pass

    def encode_many(
        self,
        items: Iterable[tuple[Any, Sequence[Region]]],
        on_error: Any = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for path, regions in items:
            yield self.encode_regions(path, regions)

    def encode_regions(self, image: Any, regions: Sequence[Region]) -> np.ndarray:
        rows = np.zeros((len(regions), DIM), np.float32)
        for row, region in zip(rows, regions, strict=True):
            assert region.box is not None
            kind = round(region.box[1] / 0.2)
            row[kind] = 1 - region.box[0]
            row[(kind + 1) % 3 if kind < 3 else 4] += region.box[0]
            row[6] = 0.1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_text(
        self, prompts: Sequence[str], templates: Sequence[str] | None = None
    ) -> np.ndarray:
        return np.eye(DIM, dtype=np.float32)[[KINDS.index(prompt) for prompt in prompts]]


@pytest.fixture
def make_dataset(dataset_factory: Callable, tmp_path: Path) -> Callable[..., fo.Dataset]:
    """Makes a dataset of one picture for each list of (kind, x), with the kind as ``truth``."""
    import fiftyone as fo

    def make(pictures: Sequence[Sequence[tuple[int, float]]]) -> fo.Dataset:
        dataset = dataset_factory()
        add_pictures(dataset, pictures)
        return dataset

    def add_pictures(dataset: fo.Dataset, pictures: Sequence[Sequence[tuple[int, float]]]) -> None:
        samples = []
        for number, regions in enumerate(pictures, start=len(dataset)):
            path = tmp_path / f"{dataset.name}-{number}.png"
            path.write_bytes(b"not looked at")
            found = [
                fo.Detection(bounding_box=[x, 0.2 * kind, 0.1, 0.1], truth=KINDS[kind])
                for kind, x in regions
            ]
            samples.append(fo.Sample(str(path), boxes=fo.Detections(detections=found)))
        dataset.add_samples(samples, progress=False)

    make.add = add_pictures  # type: ignore[attr-defined]
    return make


@pytest.fixture
def make_index() -> Callable[..., RegionIndex]:
    """Indexes the boxes of such a dataset."""
    from alphaclip.indexing import build

    def make(dataset: fo.Dataset, key: str = "regions") -> RegionIndex:
        return build(dataset, "boxes", ToyEncoder(), key, progress=lambda *_: None)  # type: ignore[arg-type]

    return make
