"""Makes what lies beside this file, with the code of commit 8fa91e9; see the README.

In a checkout of that commit::

    .venv/bin/python scripts/sandbox.py .venv/bin/python make_store.py FOLDER
"""

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
from PIL import Image, ImageDraw

from alphaclip import indexing, load
from alphaclip.encoder import Encoder
from alphaclip.indexing import building
from alphaclip.indexing.similarity import FaissSimilarityConfig

COLORS = {"red apple": (200, 30, 40), "green leaf": (40, 150, 60), "blue ball": (40, 60, 200)}
QUERIES = ("a drawing of a red apple", "a blue ball")


def draw(folder: Path) -> list[fo.Sample]:
    """Four pictures of three things each: two boxes and one mask."""
    samples = []
    for number in range(4):
        image = Image.new("RGB", (96, 64), (235, 230, 220 - 10 * number))
        pen, detections = ImageDraw.Draw(image), []
        for place, (label, color) in enumerate(COLORS.items()):
            left, top, side = 4 + 31 * place, 8 + 5 * ((number + place) % 4), 18 + 2 * number
            shape = (pen.ellipse, pen.rectangle)[(number + place) % 2]
            shape((left, top, left + side, top + side), fill=color)
            box = [left / 96, top / 64, (side + 1) / 96, (side + 1) / 64]
            detections.append(fo.Detection(label=label, bounding_box=box))
        detections[2].mask = np.tri(20, 20, 3, dtype=bool)
        path = folder / f"{number}.png"
        image.save(path, optimize=True)
        samples.append(fo.Sample(str(path), things=fo.Detections(detections=detections)))
    return samples


class Dies:
    """An encoder that is interrupted when its second shard comes."""

    def __init__(self, encoder):
        self._encoder, self._shards = encoder, 0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_many(self, items, on_error=None):
        self._shards += 1
        if self._shards == 2:
            raise KeyboardInterrupt
        yield from self._encoder.encode_many(items, on_error)


def interrupt(dataset: fo.Dataset, encoder: Encoder) -> None:
    """Leaves a build of two shards, one of which is done."""
    building.make_plan = partial(building.make_plan, shard_regions=6)
    building.load_encoder = lambda given: given
    try:
        indexing.build(dataset, "things", Dies(encoder), key="interrupted", identify="content")
    except KeyboardInterrupt:
        return
    raise SystemExit("it was not interrupted")


def main(folder: Path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    os.environ["ALPHACLIP_STORE"] = str(folder / "store")
    dataset = fo.Dataset("store-0.1.0")
    dataset.add_samples(draw(pictures), progress=False)
    encoder = load("alphaclip-nano")
    index = indexing.build(dataset, "things", encoder, identify="content")
    sample = dataset.first()
    sample.things.detections[0].bounding_box = [0.0, 0.1, 0.4, 0.5]
    sample.save()
    index.update()
    ids = dataset.values("things.detections.id", unwind=True)
    fob.compute_similarity(
        dataset,
        patches_field="things",
        embeddings={sample.id: np.eye(3, 4, number) for number, sample in enumerate(dataset)},
        backend=FaissSimilarityConfig,
        brain_key="given",
    )
    interrupt(dataset, encoder)
    found = {query: index.search(query, k=len(ids)) for query in QUERIES}
    recorded = {
        "dataset_id": str(dataset._doc.id),
        "encoder": index.info()["encoder"],
        "hits": {
            query: [hits.label_ids.tolist(), [round(float(s), 7) for s in hits.scores]]
            for query, hits in found.items()
        },
        "given": dataset.load_brain_results("given").total_index_size,
    }
    (folder / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n")
    dataset.export(str(folder / "dataset"), fo.types.FiftyOneDataset, export_media=True)
    shutil.rmtree(pictures)
    for path in folder.rglob("writer.*"):
        path.unlink()


main(Path(sys.argv[1]))
