"""Steps of the update benchmark: what it costs to bring an index up to date after 1 % of edits.

Once with an encoder that takes a fixed time for each region and does nothing else, so that the
rest is the cost of planning and merging; and once whole, through FiftyOne with the bundled scenes
and their encoder.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from measuring import only_steps, quiet, timed

EDITED = 0.01
SECONDS = 0.001
"""That the stand-in for an encoder takes for each region."""

PER_PICTURE = 10
DIM = 512
SETTINGS = {"kind": "regions", "metric": "cosine", "field": "objects", "fingerprint": "0" * 64}


class SlowEncoder:
    """Vectors of noise, at a fixed speed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def encode_many(
        self, items: Iterable[tuple[Any, Sequence[Any]]], on_error: Any = None
    ) -> Iterator[np.ndarray]:
        for _, regions in items:
            time.sleep(SECONDS * len(regions))
            vectors = self._rng.standard_normal((len(regions), DIM), np.float32)
            yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stand_in(options: dict[str, Any]) -> dict[str, Any]:
    """Plans, embeds and merges all, then after edits of 1 %."""
    folder, count = Path(options["work"]) / "updates", options["regions"]
    _job(folder.with_name("warm"), PER_PICTURE, 0)
    with timed() as full:
        first = _job(folder, count, 0)
    with timed() as again:
        second = _job(folder, count, max(1, round(count * EDITED)))
    edits = (first.added, second.edited, second.kept)
    return _figures(full[0], again[0], count, *edits) | {"encoder_seconds": count * SECONDS}


def whole(options: dict[str, Any]) -> dict[str, Any]:
    """Builds and updates an index of the bundled scenes with alphaclip-nano."""
    import fiftyone as fo

    import alphaclip
    from alphaclip.indexing import build
    from alphaclip.indexing.dataset.samples import OBJECTS, load_sample

    name = f"benchmark-{uuid.uuid4().hex[:12]}"
    try:
        dataset = load_sample(name=name)
        dataset.persistent = False
        dataset.delete_samples(dataset.values("id")[options["pictures"] :])
        encoder = alphaclip.load("alphaclip-nano")
        build(dataset[:4], OBJECTS, encoder, key="warm", progress=quiet).delete()
        with timed() as full:
            index = build(dataset, OBJECTS, encoder, progress=quiet)
        added = index.info()["report"]["added"]
        _edit_boxes(dataset, OBJECTS, max(1, round(added * EDITED)))
        with timed() as again:
            report = index.update(quiet)
        with timed() as nothing:
            index.update(quiet)
        figures = _figures(full[0], again[0], len(index), added, report.edited, report.kept)
        return figures | {"nothing_to_do_seconds": nothing[0], "pictures": len(dataset)}
    finally:
        with suppress(ValueError):
            dataset = fo.load_dataset(name)
            dataset.delete_brain_runs()
            dataset.delete()


def _job(folder: Path, count: int, edited: int) -> Any:
    """One plan from start to end; the first ``edited`` regions have other boxes than before."""
    from alphaclip.indexing.embedding.merging import merge
    from alphaclip.indexing.embedding.plans import make_plan
    from alphaclip.indexing.embedding.shards import embed_shards
    from alphaclip.indexing.store.store import writing

    with writing(folder) as writer:
        held = [piece.ids for piece in writer.base.segments] if writer.base else []
        plan = make_plan(folder / "work", _pictures(count, edited), SETTINGS, held=held)
        embed_shards(plan, SlowEncoder())
        return merge(writer, plan)


def _pictures(count: int, edited: int) -> Iterator[Any]:
    from alphaclip.indexing.embedding.label_reader import LabelledPicture, region_stamp
    from alphaclip.regions.region import Region

    for start in range(0, count, PER_PICTURE):
        places = range(start, min(start + PER_PICTURE, count))
        boxes = [(0.3 if i < edited else 0.2, 0.1, 0.1 + i / count / 2, 0.4) for i in places]
        regions = [Region.from_box(box) for box in boxes]
        yield LabelledPicture(
            sample_id=f"{start:024x}",
            filepath=f"/none/{start}.jpg",
            stamp=f"{start:016x}",
            label_ids=[f"{place:024x}" for place in places],
            regions=regions,
            stamps=[region_stamp(region, SETTINGS["fingerprint"]) for region in regions],
        )


def _edit_boxes(dataset: Any, field: str, count: int) -> None:
    """Moves boxes a little, one in a picture, in pictures that are spread over the dataset."""
    ids = dataset.values("id")
    for name in ids[:: max(1, len(ids) // count)][:count]:
        sample = dataset[name]
        label = sample[field].detections[0]
        left, top, width, height = label.bounding_box
        label.bounding_box = [left, top, width * 0.9, height * 0.9]
        sample.save()


def _figures(
    full: float, again: float, regions: int, added: int, edited: int, kept: int
) -> dict[str, Any]:
    counts = {"regions": regions, "added": added, "edited": edited, "kept": kept}
    return {"full_seconds": full, "update_seconds": again, "share": again / full, **counts}


if __name__ == "__main__":
    only_steps("updates.py", {"stand_in": stand_in, "whole": whole})
