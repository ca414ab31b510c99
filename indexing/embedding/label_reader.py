"""Reads the regions of a dataset's labels, and tells each from an edited one by a fingerprint.

A fingerprint is two hashes side by side, 16 hexadecimal digits each: of the picture, and of region
and encoder. So a vector still counts where the picture cannot be reached at the moment. Where the
database holds a mask, a third follows, of box and mask as they are stored: while that is the same,
the mask need not be unpacked. It says nothing by itself, as one mask can be packed in many ways.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.files import file_sha256
from alphaclip.indexing.dataset.labels import (
    FieldError,
    Skipped,
    check_field,
    count_samples,
    region_fields,
    stray_rings,
)
from alphaclip.indexing.dataset.raw_labels import RawPicture, read_pictures, read_times
from alphaclip.indexing.dataset.stages import check_stages, view_of
from alphaclip.indexing.progress import Progress
from alphaclip.regions.region import Region, box_texts, text_digest, usable_boxes
from alphaclip.regions.remote import is_remote, read_remote, remote_version
from alphaclip.regions.videos import split_address

if TYPE_CHECKING:
    import fiftyone as fo

T = TypeVar("T")

Identify = Literal["stat", "content"]
"""How a picture is told from an edited one: by size and time of change, or by its content."""

HALF = 16
"""Digits of each half: 64 bits. Two versions of one region have to differ, not all regions."""

READ_AT = "read_at"
"""In what is noticed of the labels: when they began to be read, ISO 8601, UTC."""

EVERY = "every"
"""In the settings of an index of frames that is not of all of them: n for every nth."""

TWICE = "its id occurs twice: a region has one vector"
"""Why all regions of a sample with one label id but the first are left out."""

_TOGETHER = 1000
"""Labels and pictures that are looked at together: what is done once for all of them is little
then, for each, and they take little memory."""

NO_PICTURE = "-" * HALF
"""In place of the hash of a picture that cannot be reached."""

_NO_BOX = [math.nan] * 4

_RENAMED = (
    "If it was renamed, build under the same key with overwrite=True, on what it is called now: "
    "the vectors are taken over"
)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and its regions.

    Attributes:
        sample_id: of the picture
        filepath: of the picture
        stamp: of the picture, None if it cannot be reached
        label_ids: of the regions
        regions: to embed
        stamps: of the regions: what follows the picture's in their fingerprints
        modified: when FiftyOne last wrote the sample, as text; empty where the labels are to be
            read again whatever it says: something else than regions was noticed, or masks are
            in files
        mask_bytes: of the masks of the regions, in memory
    """

    sample_id: str
    filepath: str
    stamp: str | None
    label_ids: Sequence[str]
    regions: Sequence[Region]
    stamps: Sequence[str]
    modified: str = ""
    mask_bytes: int = 0


class Finder(Protocol):
    """Finds what is the same as before."""

    def __call__(self, pictures: Sequence[RawPicture]) -> Sequence[LabelledPicture | None]:
        """The pictures whose regions are the same; None stands for one to be read."""

    def stamps_of_masks(self, sample_ids: Sequence[str]) -> Mapping[str, str]:
        """Of the masks of some pictures: the second part of their fingerprints by the third."""


class _Labels(Sequence[Region]):
    """Regions of some labels of a picture, made when they are asked for, but for those that are."""

    def __init__(self, picture: RawPicture, numbers: list[int], made: dict[int, Region]) -> None:
        self._picture, self._numbers, self._made = picture, numbers, made

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        number = self._numbers[place]
        return self._made.get(number) or self._picture.region(number)


class _Boxes(Sequence[Region]):
    """Regions of usable boxes, made when they are asked for: most have a vector already."""

    def __init__(self, boxes: np.ndarray) -> None:
        self._boxes = boxes

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, number: Any) -> Any:
        left, top, width, height = self._rows[number]
        return Region(box=(left, top, width, height))

    @cached_property
    def _rows(self) -> list[list[float]]:
        rows: list[list[float]] = self._boxes.tolist()
        return rows


def samples_of(dataset: fo.Dataset, settings: dict[str, Any]) -> fo.SampleCollection:
    """What an index is of: its dataset, or the view that it was built on, as it is now.

    Raises:
        AlphaClipError: if its field, or something that the view is made of, was renamed or deleted
    """
    field, fields = settings["field"], region_fields(dataset)
    if field not in fields:
        raise FieldError(
            f"the index is of field {field!r}, which holds no regions of dataset {dataset.name!r} "
            f"any more; fields with regions: {', '.join(fields) or 'none'}. {_RENAMED}"
        )
    if not settings["stages"]:
        return dataset
    stages = check_stages(settings["stages"])
    try:
        return view_of(dataset, stages)
    except AlphaClipError as error:
        raise AlphaClipError(
            f"the FiftyOne view that the index was built on cannot be made any more: {error}. "
            f"{_RENAMED}"
        ) from error


def labelled_pictures(
    samples: fo.SampleCollection,
    settings: dict[str, Any],
    reading: dict[str, Any],
    progress: Progress,
    unmodified: Finder | None = None,
    only: Sequence[str] | None = None,
) -> Iterator[LabelledPicture]:
    """Every picture of a dataset with its regions; in order, where all of them are read.

    Args:
        samples: a view or dataset of pictures, or of videos where the field is one of their frames
        settings: of the index: ``field``, ``fingerprint`` of the encoder, ``identify``, ``every``
        reading: gets what is noticed, JSON: how many ``samples`` there are, how many ``unfilled``
            polylines, which count as their box, how many ``stray_rings`` of polygons were left
            out, the labels ``skipped``, and when this began, as ``read_at``
        progress: told how many samples are read
        unmodified (None): finds pictures of the dataset that need not be read
        only (None): ids of the pictures to read
    """
    field, every = settings["field"], settings.get(EVERY, 1)
    total = -(-count_samples(samples, field) // every) if only is None else len(only)
    check_field(samples, field)
    reading.update(samples=0, unfilled=0, stray_rings=0, skipped=[])
    reading[READ_AT] = datetime.now(timezone.utc).isoformat()
    if unmodified is None:
        pictures = _read(read_pictures(samples, field, only, every), settings, reading)
    else:
        pictures = _read_modified(samples, settings, reading, unmodified)
    for picture in pictures:
        reading["samples"] += 1
        yield picture
        progress("samples read", reading["samples"], total)


def _read_modified(
    samples: fo.SampleCollection,
    settings: dict[str, Any],
    reading: dict[str, Any],
    unmodified: Finder,
) -> Iterator[LabelledPicture]:
    field, every = settings["field"], settings.get(EVERY, 1)
    for some in together(read_times(samples, field, every=every), lambda picture: 1, _TOGETHER):
        found = unmodified(some)
        yield from filter(None, found)
        others = [one.sample_id for one, same in zip(some, found, strict=True) if same is None]
        if others:
            before = unmodified.stamps_of_masks(others)
            yield from _read(read_pictures(samples, field, others), settings, reading, before)


def _read(
    pictures: Iterator[RawPicture],
    settings: dict[str, Any],
    reading: dict[str, Any],
    before: Mapping[str, str] | None = None,
) -> Iterator[LabelledPicture]:
    for some in together(pictures, lambda picture: 1 + len(picture.label_ids), _TOGETHER):
        yield from _labelled(some, settings, reading, before or {})


def together(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Lists of items, each as soon as the sizes of its items sum up to so much."""
    some, total = [], 0
    for item in items:
        some.append(item)
        total += size(item)
        if total >= most:
            yield some
            some, total = [], 0
    if some:
        yield some


def _labelled(
    pictures: Sequence[RawPicture],
    settings: dict[str, Any],
    reading: dict[str, Any],
    before: Mapping[str, str],
) -> Iterator[LabelledPicture]:
    """Pictures with their regions; those of pictures that have nothing but boxes are made
    together."""
    boxes, usable = _boxes_of(pictures)
    texts = np.full(len(boxes), "", object)
    texts[usable] = box_texts(boxes[usable])
    end = 0
    for picture in pictures:
        start, end = end, end + len(picture.label_ids)
        ids, geometries = set(picture.label_ids), texts[start:end].tolist()
        is_plain = not any(picture.details) and len(ids) == end - start and "" not in ids
        if is_plain and all(geometries):
            yield LabelledPicture(
                picture.sample_id,
                picture.filepath,
                picture_stamp(picture.filepath, settings["identify"]) if ids else None,
                picture.label_ids,
                _Boxes(boxes[start:end]),
                [_stamp(text_digest(one), settings["fingerprint"]) for one in geometries],
                picture.modified,
            )
        else:
            yield _one_by_one(picture, geometries, settings, reading, before)


def _boxes_of(pictures: Sequence[RawPicture]) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of all labels, float64 (n, 4), and which of them are usable."""
    rows = [
        box if isinstance(box, list) and len(box) == 4 else _NO_BOX
        for picture in pictures
        for box in picture.boxes or picture.details
    ]
    boxes = np.full((len(rows), 4), np.nan)
    with suppress(TypeError, ValueError):  # Of a box that is not made of numbers
        boxes[:] = np.array(rows, np.float64)
    return boxes, usable_boxes(boxes)


def _one_by_one(
    picture: RawPicture,
    geometries: Sequence[str],
    settings: dict[str, Any],
    reading: dict[str, Any],
    before: Mapping[str, str],
) -> LabelledPicture:
    """A picture with its regions; those with a box have a text of its geometry, or an empty one."""
    numbers: dict[str, int] = {}
    made: dict[int, Region] = {}
    stamps, skipped = [], []
    for number, (label_id, geometry) in enumerate(zip(picture.label_ids, geometries, strict=True)):
        source = _source(geometry, picture.details[number])
        try:
            if not label_id:
                raise RegionError(f"label {number} has no id, by which it could be found again")
            if label_id in numbers:
                raise RegionError(TWICE)
            stamp = before.get(source)
            if stamp is None:
                region = made[number] = picture.region(number)
                digest = text_digest(geometry, region.mask) if geometry else region.digest()
                stamp = _stamp(digest, settings["fingerprint"])
        except RegionError as error:
            skipped.append(asdict(Skipped(picture.filepath, label_id, str(error))))
            continue
        numbers[label_id] = number
        stamps.append(stamp + source)
    is_plain = not skipped and not picture.has_mask_files
    reading["skipped"] += skipped
    for notice, count in _notices(picture, made, numbers.values()).items():
        reading[notice] += count
        is_plain &= not count
    return LabelledPicture(
        picture.sample_id,
        picture.filepath,
        picture_stamp(picture.filepath, settings["identify"]) if numbers else None,
        list(numbers),
        _Labels(picture, list(numbers.values()), made),
        stamps,
        picture.modified if is_plain else "",
        sum(one.mask.nbytes for one in made.values() if one.mask is not None),
    )


def _notices(
    picture: RawPicture, made: Mapping[int, Region], numbers: Iterable[int]
) -> dict[str, int]:
    """What is noticed of polylines, and how often."""
    if picture.boxes:
        return {}
    lines = {number: picture.details[number] or {} for number in numbers}
    return {
        "unfilled": sum(not line.get("filled") for line in lines.values()),
        "stray_rings": sum(stray_rings(line.get("points"), made[n]) for n, line in lines.items()),
    }


def _source(geometry: str, details: Mapping[str, Any] | None) -> str:
    """A hash of a usable box, by its text, and a mask as the database holds it; else empty."""
    mask = (details or {}).get("mask")
    if not geometry or not isinstance(mask, bytes):
        return ""
    return hashlib.sha256(geometry.encode() + mask).hexdigest()[:HALF]


def picture_stamp(path: str, identify: Identify) -> str | None:
    """A hash of the picture, for a frame of its video; None if it cannot be reached.

    Args:
        path: of the picture
        identify: "stat" is quick; "content" reads the file, and does not mind copies
    """
    path, frame = split_address(path)
    try:
        if is_remote(path):
            if identify == "content":
                return hashlib.sha256(read_remote(path, anew=True)).hexdigest()[:HALF]
            return _hash(remote_version(path))
        if identify == "content" and frame is None:
            return file_sha256(Path(path))[:HALF]
        status = os.stat(path)  # noqa: PTH116 - a Path takes thrice as long to be made
        if identify == "content":
            return _video_sha256(path, status.st_size, status.st_mtime_ns)[:HALF]
    except (OSError, ValueError):
        return None
    return _hash(f"{status.st_size} {status.st_mtime_ns}")


@lru_cache(maxsize=16)
def _video_sha256(path: str, size: int, modified: int) -> str:
    """Read once for all its frames, while it is the same file."""
    return file_sha256(Path(path))


def region_stamp(region: Region, encoder: str) -> str:
    """A hash of what the encoder, of this fingerprint, does with a picture."""
    return _stamp(region.digest(), encoder)


def both_halves(fingerprints: np.ndarray) -> np.ndarray:
    """What says whether a vector holds, of fingerprints (bytes, n)."""
    return fingerprints.astype(f"S{2 * HALF}")


def region_half(fingerprints: np.ndarray) -> np.ndarray:
    """The part of fingerprints (bytes, n) that the picture has no share in."""
    return both_halves(fingerprints).view(f"S{HALF}").reshape(-1, 2)[:, 1]


def _stamp(digest: str, encoder: str) -> str:
    return _hash(f"{digest} {encoder}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HALF]
