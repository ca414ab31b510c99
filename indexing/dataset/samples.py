"""The bundled sample dataset: drawn scenes whose regions are boxes, masks and polygons."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alphaclip
from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo

NAME = "alphaclip-sample"
FOLDER = Path(alphaclip.__file__).parents[1] / "sample"
OBJECTS, OUTLINES = "objects", "outlines"
"""Detections with boxes or masks, and Polylines with filled polygons."""


def load_sample(folder: Path = FOLDER, name: str = NAME) -> fo.Dataset:
    """The sample as a persistent FiftyOne dataset; made once, then opened.

    One that was left unfinished, or was made from other scenes, is made again. Each label has
    ``artist``; the 3 % whose ``label`` is wrong on purpose have the right one as ``true_label``.

    Args:
        folder: holds ``scenes.json`` and the pictures
        name: of the dataset

    Raises:
        AlphaClipError: if the folder does not hold the sample
    """
    import fiftyone as fo

    path = folder / "scenes.json"
    if not path.exists():
        raise AlphaClipError(
            f"{path} is missing: the sample dataset comes with the repository, not with the "
            "package; run this in a clone, or name the clone's sample folder"
        )
    listing = path.read_bytes()
    content = {"sample": str(folder), "sha256": hashlib.sha256(listing).hexdigest()}
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
        if "sample" not in dataset.info:
            raise AlphaClipError(
                f"there is another dataset {name!r}: rename it or delete it, or load the sample "
                "under another name"
            )
        if dataset.info == content and dataset.persistent:
            return dataset
        dataset.delete()
    dataset = fo.Dataset(name)
    dataset.info.update(content)
    dataset.save()
    scenes = json.loads(listing)["scenes"]
    dataset.add_samples([_sample(folder, scene) for scene in scenes], progress=False)
    dataset.persistent = True
    return dataset


def open_dataset(name: str) -> fo.Dataset:
    """A dataset by name.

    Raises:
        AlphaClipError: if there is none; says which there are
    """
    import fiftyone as fo

    if not fo.dataset_exists(name):
        names = ", ".join(fo.list_datasets()) or "none"
        raise AlphaClipError(f"there is no dataset {name!r}; there are: {names}")
    return fo.load_dataset(name)


def _sample(folder: Path, scene: dict[str, Any]) -> fo.Sample:
    import fiftyone as fo

    from alphaclip.regions.rle import decode_rle

    sample = fo.Sample(filepath=str(folder / scene["image"]))
    detections, polylines = [], []
    for row in scene["regions"]:
        names = {key: row[key] for key in ("label", "true_label", "artist") if key in row}
        if "polygon" in row:
            line = fo.Polyline(points=row["polygon"], closed=True, filled=True, **names)
            polylines.append(line)
        else:
            mask = decode_rle(row["mask"]).astype(bool) if "mask" in row else None
            detections.append(fo.Detection(bounding_box=row["box"], mask=mask, **names))
    sample[OBJECTS] = fo.Detections(detections=detections)
    sample[OUTLINES] = fo.Polylines(polylines=polylines)
    return sample
