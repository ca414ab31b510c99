"""Measures how long the panel "Region search" takes to answer, over 100,000 regions.

    .venv/bin/python scripts/sandbox.py .venv/bin/python benchmarks/app/panel.py FOLDER

FOLDER gets 5,000 pictures with 20 boxes each and an index of them, once; the dataset
``benchmark-panel`` stays in the sandbox's database for the next run. The panel is asked without a
browser, by the code that its tests use: a click goes in as the App sends it, and what the App would
draw comes out. Its vectors and queries are those of `vectors`; for each query the text tower of
ViT-B/16, with random weights, runs as well, for the time that it takes.

The peer is FiftyOne's own ``sort_by_similarity`` by vector, with the sklearn backend, on the same
vectors and in the same run: from the query to the ids of its 24 best patches. It draws nothing.
Its patches view is made before, which takes it a while.

Besides the time on the clock, that of the processor is shown: of this process only, without the
database. It changes less where other work runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measuring import machine, run_as_step, run_step, tell
from systems import write_store
from vectors import Source

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "tests" / "plugin" / "panel"
NAME, FIELD, KEY, PEER = "benchmark-panel", "boxes", "regions", "peer"
SIDE, BOXES, DIM = (640, 480), 20, 512
QUERIES, PAGE, SIDE_OF_TILE = 20, 24, 256
QUICK = 20
HEADS = ("what", "median", "p99", "median CPU", "p99 CPU", "to the peer's median")


def main() -> None:
    """Prepares the data, measures both, prints one table."""
    parser = argparse.ArgumentParser(description="Measures the panel's answers.")
    parser.add_argument("folder", type=Path, help="for pictures and vectors; 1 GB free")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.environ["ALPHACLIP_STORE"] = str(folder / "stores")
    pictures = 5_000 // (QUICK if options.quick else 1)
    asked = {"folder": str(folder), "pictures": pictures}
    found = {}
    for step in ("prepare", "panel", "peer"):
        found[step] = run_step("app/panel.py", step, asked)
        tell(f"{step} is done")
    facts = [f"{name}: {value}" for name, value in machine().items()]
    lines = [f"{', '.join(facts)}; {pictures * BOXES:,} regions", "", *_table(found)]
    sys.stdout.write("\n".join(lines) + "\n")


def prepare(options: dict[str, Any]) -> dict[str, Any]:
    """Makes what is not there yet."""
    import fiftyone as fo

    folder, count = Path(options["folder"]), options["pictures"]
    content = {"folder": str(folder), "pictures": count}
    if fo.dataset_exists(NAME):
        dataset = fo.load_dataset(NAME)
        if dataset.info == content:
            return {}
        dataset.delete_brain_runs()
        dataset.delete()
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.04, 0.5, (count, BOXES, 2))  # from 20 pixels to half the picture
    boxes = np.concatenate([rng.uniform(0, 1 - sizes), sizes], axis=2).round(4).tolist()
    _draw_pictures(folder, count, rng)
    dataset = fo.Dataset(NAME, persistent=True)
    samples = []
    for number, own in enumerate(boxes):
        detections = [fo.Detection(label="thing", bounding_box=box) for box in own]
        labels = fo.Detections(detections=detections)
        samples.append(fo.Sample(str(_path(folder, number)), number=number, **{FIELD: labels}))
    dataset.add_samples(samples, progress=False)
    _index(dataset, count)
    dataset.info = content
    dataset.save()
    return {}


def panel(options: dict[str, Any]) -> dict[str, Any]:
    """Times what a person does in the panel."""
    import fiftyone as fo

    dataset, times = fo.load_dataset(NAME), Times()
    sys.path.insert(0, str(DRIVER))
    from panel_driver import PanelDriver

    driver = PanelDriver(dataset)
    package = type(driver.panel).__module__.partition(".regions")[0] + ".regions"
    index = sys.modules[f"{package}.common.indexes"].open_index(dataset, KEY)
    vars(index)["encoder"] = TextEncoder(Source(options["pictures"] * BOXES, DIM))
    driver.search("query 999")
    for number in range(QUERIES):
        with times.of("search"):
            driver.search(f"query {number}")
        with times.of("its first crops"):
            _look(driver, range(PAGE))
        _look_around(driver, times, number)
    _search_in_views(driver, times)
    with times.of("panel opened anew"):
        driver.do("about")
    driver.view = None
    driver.search("query 0")
    hits = _look(driver, range(PAGE))
    return {"times": times.seconds, "hits": [tile["label_id"] for tile in hits]}


def peer(options: dict[str, Any]) -> dict[str, Any]:
    """Times FiftyOne's own search of patches, to the ids of the best."""
    import fiftyone as fo

    dataset, times = fo.load_dataset(NAME), Times()
    source = Source(options["pictures"] * BOXES, DIM)
    with times.of("peer: patches view made"):
        patches = dataset.to_patches(FIELD)
    with times.of("peer: index loaded"):
        dataset.load_brain_results(PEER)
    found = []
    for query in source.queries(1000, draw=0)[:QUERIES]:
        with times.of("peer: query"):
            view = patches.sort_by_similarity(query, k=PAGE, brain_key=PEER)
            found.append(view.values("id"))
    return {"times": times.seconds, "hits": found[0]}


@dataclass
class Times:
    """Seconds on the clock and of the processor, by what was measured."""

    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Measures a block."""
        started = time.perf_counter(), time.process_time()
        yield
        took = time.perf_counter() - started[0], time.process_time() - started[1]
        self.seconds.setdefault(what, []).append(took)


class TextEncoder:
    """The vectors of `vectors`, at the price of a real text tower."""

    def __init__(self, source: Source) -> None:
        import open_clip

        model = open_clip.create_model("ViT-B-16")
        self._model, self._tokenize = model.eval(), open_clip.get_tokenizer("ViT-B-16")
        self._queries = source.queries(1000, draw=0)

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """The vectors of texts like "query 7"."""
        import torch

        with torch.inference_mode():
            self._model.encode_text(self._tokenize(list(prompts)))
        return self._queries[[int(prompt.rpartition(" ")[2]) for prompt in prompts]]

    def recall_text(self, prompts: Sequence[str]) -> np.ndarray:
        """The same: every query counts as a new one."""
        return self.encode_text(prompts)


def _look(driver: Any, ranks: Sequence[int]) -> list[dict[str, Any]]:
    """The tiles at some ranks of the last search, with their crops."""
    tiles = driver.do("tiles", question=driver.question, ranks=list(ranks), side=SIDE_OF_TILE)
    if tiles.get("error") or len(tiles["tiles"]) < len(ranks):
        raise ValueError(f"the panel shows too little: {tiles.get('error')}")
    return tiles["tiles"]


def _look_around(driver: Any, times: Times, number: int) -> None:
    with times.of("the same search again"):
        driver.search(f"query {number}")
    with times.of("24 crops further down"):
        _look(driver, range(1000 + number * PAGE, 1000 + (number + 1) * PAGE))
    with times.of("labels and tags of 200 tiles read anew"):
        driver.tiles()
    with times.of("all hits selected"):
        driver.do("ids", question=driver.question, ranks=list(range(10_000)))


def _search_in_views(driver: Any, times: Times) -> None:
    """In twenty views that were not searched before, each about a half; then in one of them."""
    from fiftyone import ViewField

    pictures = len(driver.dataset)
    for number in range(QUERIES):
        driver.view = driver.dataset.match(ViewField("number") >= pictures // 2 + number)
        with times.of("search in a view, its first"):
            driver.search(f"query {number}", inside=True)
        _look(driver, range(PAGE))
    for number in range(QUERIES):
        with times.of("search in the same view"):
            driver.search(f"query {number}", inside=True)


def _draw_pictures(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Smooth colours with a grain, about as large as photographs are as JPEG."""
    from PIL import Image

    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    width, height = SIDE
    grain = rng.normal(0, 6, (height, width, 3))
    for number in range(count):
        path = _path(folder, number)
        if path.exists():
            continue
        rough = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
        smooth = np.asarray(rough.resize(SIDE, Image.Resampling.BICUBIC)) + grain
        Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def _path(folder: Path, number: int) -> Path:
    return folder / "pictures" / f"{number:06d}.jpg"


def _index(dataset: Any, count: int) -> None:
    """The same vectors for both: as a store of ours, and in FiftyOne's database."""
    import fiftyone.brain as fob

    from alphaclip.indexing.dataset.locations import own_folder, store_id
    from alphaclip.indexing.similarity import register_run

    samples, labels = dataset.values(["id", f"{FIELD}.detections.id"])
    source = Source(count * BOXES, DIM)
    vectors = np.concatenate(list(source.blocks(np.float16)))
    report = {"skipped": [], "added": source.count}
    info = {"kind": "regions", "metric": "cosine", "field": FIELD, "report": report}
    info |= {"encoder": "stand-in", "fingerprint": "0" * 64, "view": {"kind": "image"}}
    info["stages"] = []
    folder, repeated = own_folder(dataset, KEY), np.repeat(samples, BOXES)
    write_store(folder, repeated, [vectors], source, np.concatenate(labels), FIELD, info)
    register_run(dataset, KEY, store_id(dataset, KEY), "alphaclip-nano", FIELD)
    own = dict(zip(samples, vectors.astype(np.float32).reshape(count, BOXES, DIM), strict=True))
    fob.compute_similarity(
        dataset, patches_field=FIELD, embeddings=own, backend="sklearn", brain_key=PEER
    )


def _table(found: dict[str, Any]) -> list[str]:
    times = found["panel"]["times"] | found["peer"]["times"]
    base = _percentile(times["peer: query"], 0, 50)
    rows = [HEADS, tuple("---" for _ in HEADS)]
    for what, seconds in times.items():
        values = [_percentile(seconds, kind, part) for kind in (0, 1) for part in (50, 99)]
        cells = [f"{value * 1000:,.0f} ms" for value in values]
        rows.append((what, *cells, f"{values[0] / base:.2f}"))
    same = len({*found["panel"]["hits"]} & {*found["peer"]["hits"]})
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [*lines, "", f"{same} of {PAGE} hits of the first query are the peer's"]


def _percentile(seconds: Sequence[Sequence[float]], kind: int, part: float) -> float:
    return float(np.percentile([one[kind] for one in seconds], part))


if __name__ == "__main__":
    if not run_as_step({"prepare": prepare, "panel": panel, "peer": peer}):
        main()
