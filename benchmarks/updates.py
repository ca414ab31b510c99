"""What it costs to bring an index up to date after 1 % of edits, and to read labels for it.

As steps of ``index.py`` once with an encoder that takes a fixed time for each region and does
nothing else, so that the rest is the cost of planning and merging; and once whole, through FiftyOne
with the bundled scenes and their encoder.

By itself it reads labels as FiftyOne's objects and as they are read now, by turns, and prints a
table, in seconds of CPU time of the process; that of the database comes to it::

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/updates.py --regions 100000

``--only-new`` leaves the objects out, for large sizes: they take a minute for 500,000 regions.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import aligned, machine, quiet, run_as_step, run_step, tell, timed

EDITED = 0.01
SECONDS = 0.001
"""That the stand-in for an encoder takes for each region."""

PER_PICTURE = 10
DIM = 512
SETTINGS = {"kind": "regions", "metric": "cosine", "field": "objects", "fingerprint": "0" * 64}


class SlowEncoder:
    """Vectors of noise, at a fixed speed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        noise = np.random.default_rng(0).standard_normal((4096, DIM), np.float32)
        self._vectors = noise / np.linalg.norm(noise, axis=1, keepdims=True)
        self._seconds = seconds

    def encode_many(
        self,
        items: Iterable[tuple[Any, Sequence[Any]]],
        on_error: Any = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for _, regions in items:
            time.sleep(self._seconds * len(regions))
            yield self._vectors[: len(regions)]


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


FIELD = "labels"
KINDS = ("boxes", "polygons", "masks")
LABELS_A_PICTURE = 20
LABEL_SETTINGS = {
    **SETTINGS,
    "field": FIELD,
    "identify": "stat",
    "encoder": "none",
    "view": {},
    "stages": [],
}


def main() -> int:
    """Runs the comparison of labels for what is asked for, and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rounds", type=int, default=3, help="of old and new, by turns")
    parser.add_argument("--only-new", action="store_true")
    given = vars(parser.parse_args())
    lines = [("labels", "what", "objects", "now", "ratio", "peak memory")]
    for kind in given["kinds"]:
        with TemporaryDirectory(prefix="benchmark-") as work:
            options = {**given, "kind": kind, "work": work, "name": f"benchmark-{uuid.uuid4().hex}"}
            try:
                for step in ("prepare", "reading", "keeping"):
                    tell(f"{kind}: {step}")
                    found = list(_lines(kind, run_step("updates.py", step, options)))
                    lines += found
                    tell("; ".join(" ".join(line) for line in found))
            finally:
                run_step("updates.py", "drop", options)
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    sys.stdout.write(f"{given['regions']:,} regions; {about}\n\n{aligned(lines)}\n")
    return 0


def _lines(kind: str, found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    memory = f"{found['peak_memory'] / 1e9:.2f} GB"
    for what, seconds in found.get("seconds", {}).items():
        old, new = seconds.get("objects"), seconds["now"]
        ratio = f"{old / new:.1f}" if old else ""
        yield kind, what, f"{old:.2f}" if old else "", f"{new:.3f}", ratio, memory


def prepare(options: dict[str, Any]) -> dict[str, Any]:
    """Makes a dataset of labels, as FiftyOne would write it, and empty files for its pictures."""
    import fiftyone as fo
    from bson import ObjectId

    rng, folder = np.random.default_rng(0), Path(options["work"])
    labels = _Labels(options["kind"], rng)
    dataset = fo.Dataset(options["name"], persistent=True)
    dataset.add_sample(fo.Sample("first.jpg", **{FIELD: labels.first()}))
    (first,) = dataset._sample_collection.find()
    (name,) = first[FIELD].keys() - {"_cls"}
    (label,) = first[FIELD][name]
    dataset._sample_collection.delete_many({})
    for start in range(0, options["regions"], 1000 * LABELS_A_PICTURE):
        documents = []
        for number in range(start, min(start + 1000 * LABELS_A_PICTURE, options["regions"]), 20):
            path = folder / f"{number}.jpg"
            path.touch()
            rows = [{**label, "_id": ObjectId(), **labels.random()} for _ in range(20)]
            own = {"_id": ObjectId(), "filepath": str(path), FIELD: {**first[FIELD], name: rows}}
            documents.append({**first, **own})
        dataset._sample_collection.insert_many(documents)
    return {}


class _Labels:
    """Random labels: the first by FiftyOne, what differs from it in others."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        self._kind, self._rng = kind, rng
        self._masks = [self._mask(*rng.integers(20, 120, 2)) for _ in range(300)]

    def first(self) -> Any:
        import fiftyone as fo

        if self._kind == "polygons":
            line = fo.Polyline(label="thing", points=[[(0.0, 0.0)] * 3], closed=True, filled=True)
            return fo.Polylines(polylines=[line])
        box = fo.Detection(label="thing", bounding_box=[0, 0, 1, 1], confidence=0.5)
        return fo.Detections(detections=[box])

    def random(self) -> dict[str, Any]:
        corner, size = self._rng.uniform(0, 0.5, (2, 2))
        if self._kind == "polygons":
            turns = np.linspace(0, 6, 24)
            ring = corner + size * (0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1))
            return {"points": [ring.round(5).tolist()]}
        box: dict[str, Any] = {"bounding_box": [*corner.tolist(), *size.tolist()]}
        if self._kind == "masks":
            box["mask"] = self._masks[self._rng.integers(len(self._masks))]
        return box

    @staticmethod
    def _mask(height: int, width: int) -> bytes:
        from fiftyone.core.utils import serialize_numpy_array

        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        return bytes(serialize_numpy_array(x**2 + y**2 < 1))


def reading(options: dict[str, Any]) -> dict[str, Any]:
    """Reads all labels, and plans what to embed of them."""
    import fiftyone as fo

    from alphaclip.indexing.dataset.labels import label_ids, label_values
    from alphaclip.indexing.embedding.label_reader import HALF, labelled_pictures
    from alphaclip.indexing.embedding.plans import make_plan

    dataset, seconds = fo.load_dataset(options["name"]), _Seconds(options)
    for way, read in seconds.by_turns(objects=through_objects, now=labelled_pictures):
        with seconds.of("reading", way):
            stamps = [s for p in read(dataset, LABEL_SETTINGS, {}, quiet) for s in p.stamps]
        stamps = [stamp[:HALF] for stamp in stamps]  # Objects do not say what is stored
        seconds.check("reading", stamps)
        with seconds.of("plan", way):
            pictures = read(dataset, LABEL_SETTINGS, {}, quiet)
            plan = make_plan(Path(options["work"]) / "work", pictures, LABEL_SETTINGS)
        seconds.check("plan", plan.counts)
    ids = dataset.values("id")
    half = dataset.select(ids[::2])
    for way, read in seconds.by_turns(objects=label_values, now=label_ids):
        with seconds.of("ids of half", way):
            found = read(half, FIELD)
        rows = found if way == "now" else found[0]
        seconds.check("ids of half", rows.label_ids.tolist())
    return {"seconds": seconds.least}


def keeping(options: dict[str, Any]) -> dict[str, Any]:
    """Builds with an encoder that takes no time, looks for changes, edits 1 %, and updates."""
    import fiftyone as fo

    from alphaclip.indexing.embedding import building
    from alphaclip.indexing.store.store import open_store, writing

    dataset, seconds = fo.load_dataset(options["name"]), _Seconds({**options, "rounds": 1})
    encoder = SlowEncoder(0)
    for way, read in seconds.by_turns(objects=through_objects, now=building.labelled_pictures):
        building.labelled_pictures = read
        folder = Path(options["work"]) / f"store-{way}"
        for what in ("build", "update of 1 %"):
            with seconds.of(what, way), writing(folder) as writer:
                given = writer, dataset, LABEL_SETTINGS, encoder, quiet
                report = building.embed(*given, anew=what == "build")
            seconds.check(what, (report.regions, report.edited, report.kept))
            version = open_store(folder)
            with seconds.of(f"freshness after {what}", way):
                fresh = building.freshness(dataset, version, quiet)
            seconds.check(f"freshness after {what}", fresh)
            _edit_labels(dataset, round(options["regions"] * EDITED))
    return {"seconds": seconds.least}


def drop(options: dict[str, Any]) -> dict[str, Any]:
    """Deletes the dataset."""
    import fiftyone as fo

    if fo.dataset_exists(options["name"]):
        fo.delete_dataset(options["name"])
    return {}


def through_objects(
    samples: Any, settings: dict[str, Any], reading: dict[str, Any], *_: Any
) -> Iterator[Any]:
    """What reading labels was before: through FiftyOne's objects of them."""
    from alphaclip.errors import RegionError
    from alphaclip.indexing.dataset.labels import label_region
    from alphaclip.indexing.embedding.label_reader import (
        LabelledPicture,
        picture_stamp,
        region_stamp,
    )

    reading.update(samples=0, unfilled=0, stray_rings=0, skipped=[])
    for sample in samples.select_fields(FIELD).iter_samples():
        labels = sample[FIELD]
        regions = {}
        for label in labels.polylines if hasattr(labels, "polylines") else labels.detections:
            try:
                regions[str(label.id)] = label_region(label)
            except RegionError as error:
                reading["skipped"].append(str(error))
        reading["samples"] += 1
        stamp = picture_stamp(sample.filepath, settings["identify"])
        stamps = [region_stamp(region, settings["fingerprint"]) for region in regions.values()]
        whose = str(sample.id), sample.filepath, stamp
        yield LabelledPicture(*whose, list(regions), list(regions.values()), stamps)


class _Seconds:
    """Seconds of CPU time of each step, the least of all rounds, and whether all ways agree."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.least: dict[str, dict[str, float]] = {}
        self._found: dict[str, Any] = {}
        self._options = options

    def by_turns(self, **ways: Any) -> Iterator[tuple[str, Any]]:
        if self._options["only_new"]:
            ways = {"now": ways["now"]}
        for _ in range(self._options["rounds"]):
            yield from ways.items()

    @contextmanager
    def of(self, what: str, way: str) -> Iterator[None]:
        started = time.process_time()
        yield
        seconds, before = time.process_time() - started, self.least.setdefault(what, {})
        before[way] = min(seconds, before.get(way, seconds))

    def check(self, what: str, found: Any) -> None:
        if self._found.setdefault(what, found) != found:
            raise AssertionError(f"{what}: objects and documents of labels differ")


def _edit_labels(dataset: Any, count: int) -> None:
    """Moves one label a little, in each of some pictures that are spread over the dataset."""
    ids = dataset.values("id")
    for name in ids[:: max(1, len(ids) // count)][:count]:
        sample = dataset[name]
        labels = sample[FIELD]
        if hasattr(labels, "polylines"):
            labels.polylines[0].points[0][0][0] *= 0.9
        else:
            left, top, width, height = labels.detections[0].bounding_box
            labels.detections[0].bounding_box = [left, top, width * 0.9, height]
        sample.save()


if __name__ == "__main__":
    steps = (stand_in, whole, prepare, reading, keeping, drop)
    if not run_as_step({step.__name__: step for step in steps}):
        sys.exit(main())
