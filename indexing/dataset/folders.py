"""Datasets of a folder: its pictures, or what FiftyOne's importers read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError, brief

if TYPE_CHECKING:
    import fiftyone as fo

SOURCE = "alphaclip_folder"
"""The key of a dataset's ``info`` that says which folder it was made of."""

LAYOUTS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("FiftyOneDataset", ("metadata.json", "samples.json"), {}),
    ("COCODetectionDataset", ("labels.json", "data"), {}),
    ("VOCDetectionDataset", ("labels/*.xml", "data"), {}),
    ("VOCDetectionDataset", ("Annotations/*.xml", "JPEGImages"),
     {"labels_path": "Annotations", "data_path": "JPEGImages"}),
    ("VOCDetectionDataset", ("annotations/*.xml", "images"),
     {"labels_path": "annotations", "data_path": "images"}),
    ("YOLOv5Dataset", ("dataset.yaml",), {}),
    ("YOLOv4Dataset", ("obj.names", "data"), {}),
)  # fmt: skip
"""FiftyOne's dataset types, what is in their folders, and what tells the importer where."""


def open_folder(folder: Path, name: str = "") -> fo.Dataset:
    """The persistent dataset of a folder: made once, then opened, with the pictures that are new.

    Args:
        folder: of pictures, also in folders within it; or a dataset in one of ``LAYOUTS``, whose
            labels are read once
        name (""): of the dataset; empty for the folder's name

    Raises:
        AlphaClipError: if there is no such folder, nothing is in it, or the name is another
            dataset's
    """
    import fiftyone as fo

    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise AlphaClipError(f"{folder}: there is no such folder")
    name = name or re.sub(r"[^\w-]+", "-", folder.name).strip("-") or "photos"
    layout = next((one for one in LAYOUTS if _holds(folder, one[1])), None)
    is_new = not fo.dataset_exists(name)
    dataset = fo.Dataset(name) if is_new else fo.load_dataset(name)
    if not is_new and dataset.info.get(SOURCE) != str(folder):
        raise AlphaClipError(
            f"there is a dataset {name!r} that was not made of {folder}: give another name, "
            "with --name"
        )
    _mark(dataset, folder)  # What a kill leaves is known for this folder's
    try:
        if layout is None:
            _add_pictures(dataset, folder)
        elif not dataset.persistent:  # or it was left unfinished
            dataset.clear()
            kind, options = getattr(fo.types, layout[0]), layout[2]
            dataset.add_dir(dataset_dir=str(folder), dataset_type=kind, **options)
    except Exception as error:
        if is_new:
            dataset.delete()
        if isinstance(error, AlphaClipError):
            raise
        kind = layout[0] if layout else "pictures"
        raise AlphaClipError(f"{folder} cannot be read as {kind}: {brief(error)}") from error
    _mark(dataset, folder)  # Some importers bring an info of their own
    dataset.persistent = True
    return dataset


def _mark(dataset: fo.Dataset, folder: Path) -> None:
    dataset.info[SOURCE] = str(folder)
    dataset.save()


def _holds(folder: Path, parts: tuple[str, ...]) -> bool:
    return all(next(folder.glob(part), None) is not None for part in parts)


def _add_pictures(dataset: fo.Dataset, folder: Path) -> None:
    from fiftyone.core.sample import Sample
    from fiftyone.utils.data import parse_images_dir

    there = set(dataset.values("filepath"))
    paths = [path for path in parse_images_dir(str(folder), recursive=True) if path not in there]
    if not paths and not there:
        raise AlphaClipError(f"{folder}: no pictures are in it, nor in folders within it")
    dataset.add_samples([Sample(path) for path in paths], progress=False)
