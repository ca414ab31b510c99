"""ImageNet-S: one object of a known class in each picture, in two published forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.regions.images import check_pixels, decode_image
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import Entry, Pictures, as_list, each, inside, read_json
from alphaclip.training.datasets.masks import decode_mask, masked_region
from alphaclip.training.datasets.sources import IMAGENET_S, IMAGENET_S_JSON

Count = Literal[50, 300, 919]


def read_imagenet_s_json(data: Path, limit: int | None = None) -> RegionSet:
    """Reads ``imagenet_919.json``, the annotations that Alpha-CLIP was evaluated with.

    An entry has ``image_pth`` (relative to the folder), ``category_word`` (a WordNet id, which is
    the class's name) and ``mask`` (an RLE). A class's index is that of its first appearance. The
    reference code takes the number of classes seen so far instead, which is the same only while
    the entries of a class follow one another.

    Args:
        data: folder with ``imagenet_919.json`` and ``ImageNetS919/validation/``
        limit: how many pictures; None takes all
    """
    path = data / "imagenet_919.json"
    entries = as_list(read_json(path, IMAGENET_S_JSON), path)
    IMAGENET_S_JSON.require(data / "ImageNetS919")
    words = (entry.get("category_word") for entry in entries if isinstance(entry, Mapping))
    classes = list(dict.fromkeys(word for word in words if isinstance(word, str) and word))
    times: Counter[str] = Counter()

    def read(entry: Entry, pictures: Pictures) -> Example | None:
        """A picture's second object is an example of its own."""
        name, word = entry["image_pth"], entry["category_word"]
        if not isinstance(word, str) or not word:
            raise AlphaClipError("has a category_word that is no WordNet id")
        file, mask = inside(data, name), decode_mask(entry["mask"])
        times[name] += 1
        key = name if times[name] == 1 else f"{name}#{times[name]}"
        return _example(key, file, mask, word, pictures)

    return _collect("imagenet-s-919", entries, read, classes, limit)


def read_imagenet_s_folder(
    data: Path, count: Count = 919, split: str = "validation", limit: int | None = None
) -> RegionSet:
    """Reads the folders that ImageNet-S's own script makes, with their PNG masks.

    A mask's class is ``R + 256 * G``; 1000 is ignored and 0 is everything else. The ids 1, 2, ...
    stand for the WordNet ids in order, so all folders have to be there. The region is what has
    the class of the picture's folder; other classes in the same picture are not used.

    Args:
        data: folder with ``ImageNetS{count}/``
        count: of the classes
        split: ``validation``, or another with a folder ``{split}-segmentation``
        limit: how many pictures; None takes all
    """
    root = IMAGENET_S.require(data / f"ImageNetS{count}")
    masks = IMAGENET_S.require(root / f"{split}-segmentation")
    folder = IMAGENET_S.require(root / split)
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(classes) != count:
        raise AlphaClipError(
            f"{folder} has {len(classes)} folders of classes, ImageNet-S-{count} has {count}: "
            "the ids in its masks go by the whole list, so make the missing folders, even empty"
        )
    ids = {word: number for number, word in enumerate(classes, 1)}

    def read(path: Path, pictures: Pictures) -> Example | None:
        word = path.parent.name
        mask = _read_ids(masks / word / f"{path.stem}.png") == ids[word]
        return _example(f"{word}/{path.stem}", path, mask, word, pictures)

    files = (path for word in classes for path in sorted((folder / word).iterdir()))
    name = f"imagenet-s-{count}" if split == "validation" else f"imagenet-s-{count}-{split}"
    return _collect(name, files, read, classes, limit)


def _collect(
    name: str,
    entries: Iterable[Any],
    read: Callable[[Any, Pictures], Example | None],
    classes: list[str],
    limit: int | None,
) -> RegionSet:
    skipped: list[str] = []
    pictures = Pictures(skipped)
    made = each(entries, lambda entry: read(entry, pictures), f"{name}: picture", skipped)
    examples = tuple(islice(filter(None, made), limit))
    pictures.report()
    return RegionSet(name, examples, tuple(classes), tuple(skipped))


def _read_ids(path: Path) -> np.ndarray:
    try:
        pixels = decode_image(path, lambda image: _stored(image, path))
    except ImageError as error:
        raise AlphaClipError(f"has no mask that can be opened: {error}") from error
    if pixels.ndim != 3 or pixels.shape[2] < 2:
        raise AlphaClipError(f"has a mask without colours: {path}: class ids are R + 256 * G")
    return pixels[..., 0].astype(np.int32) + 256 * pixels[..., 1].astype(np.int32)


def _stored(image: Image.Image, path: Path) -> np.ndarray:
    check_pixels(*image.size, str(path))
    return np.array(image)


def _example(
    key: str, path: Path, mask: np.ndarray, word: str, pictures: Pictures
) -> Example | None:
    height, width = mask.shape
    example = pictures.example(key, path, (width, height))
    if example is None:
        return None
    region = LabelledRegion(key, masked_region(mask), float(mask.sum()), label=word)
    return replace(example, regions=(region,))
