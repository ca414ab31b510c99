"""COCO: ``instances_*.json`` and its pictures."""

from __future__ import annotations

from pathlib import Path

from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.datasets.files import inside
from alphaclip.training.datasets.instances import Shape, read_instances, region_set
from alphaclip.training.datasets.sources import COCO


def read_coco(
    data: Path, split: str = "val2017", shape: Shape = "mask", limit: int | None = None
) -> RegionSet:
    """Reads COCO's objects.

    Crowds are among them, as in Alpha-CLIP's evaluation, and are marked ``crowd``. Polygons of one
    object are united and filled as pycocotools does; sizes go by the annotated ``area``. The 80
    classes are in the order of the file.

    Args:
        data: folder with ``annotations/instances_SPLIT.json`` and ``SPLIT/``
        split: such as ``val2017``
        shape: ``mask``, or ``box`` for the annotated box
        limit: how many pictures that have objects; None takes all

    Raises:
        MissingDataError: if a file is not there
        AlphaClipError: if the annotations have another form
    """
    instances = read_instances(data / "annotations" / f"instances_{split}.json", COCO)
    folder = COCO.require(data / split)
    return region_set(
        f"coco-{split}", instances, lambda e: inside(folder, e["file_name"]), shape, limit
    )
