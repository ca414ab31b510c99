"""LVIS v1: ``lvis_v1_*.json`` over COCO's pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.datasets.files import Entry, inside
from alphaclip.training.datasets.instances import Instances, Shape, read_instances, region_set
from alphaclip.training.datasets.sources import LVIS


def read_lvis(
    data: Path,
    split: str = "val",
    shape: Shape = "mask",
    limit: int | None = None,
    underscores: bool = True,
) -> RegionSet:
    """Reads LVIS's objects.

    Args:
        data: folder with ``annotations/lvis_v1_SPLIT.json``, ``train2017/`` and ``val2017/``
        split: ``train`` or ``val``
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures that have objects; None takes all
        underscores: whether the 1203 names stay as in the file, as Alpha-CLIP's evaluation has
            them, such as ``aerosol_can``; else they are ``aerosol can``

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if the annotations have another form
    """
    instances = read_instances(data / "annotations" / f"lvis_v1_{split}.json", LVIS)
    if not underscores:
        instances = _with_spaces(instances)
    _require_folders(data, instances)
    return region_set(
        f"lvis-{split}", instances, lambda entry: lvis_picture(data, entry), shape, limit
    )


def lvis_picture(data: Path, entry: Entry) -> Path:
    """Where a picture of LVIS is; version 1 names it by its address only.

    Args:
        data: folder with ``train2017/`` and ``val2017/``
        entry: of the picture, with ``coco_url``

    Raises:
        AlphaClipError: if the address does not end in a folder and a file
    """
    folder, name = _last_parts(entry["coco_url"])
    return inside(data, f"{folder}/{name}")


def _with_spaces(instances: Instances) -> Instances:
    names = {key: name.replace("_", " ") for key, name in instances.categories.items()}
    return replace(instances, categories=names)


def _require_folders(data: Path, instances: Instances) -> None:
    """At least one of the folders that the pictures are in has to be there."""
    folders = [data / "val2017", data / "train2017"]
    if not any(folder.is_dir() for folder in folders):
        LVIS.require(folders[0])


def _last_parts(url: str) -> tuple[str, str]:
    parts = url.split("/")
    if len(parts) < 2 or not all(parts[-2:]):
        raise AlphaClipError(f"has the address {url[:80]!r}: expected .../val2017/NAME.jpg")
    return parts[-2], parts[-1]
