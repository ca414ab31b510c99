"""The labels of a field as the database holds them.

To make FiftyOne's objects of them takes twenty times as long as all that is done with a box here.
The database sends columns, one list of each kind for a sample: documents take PyMongo thrice as
long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from zlib_ng import zlib_ng

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.labels import (
    LABEL_ID,
    check_field,
    detection_region,
    is_of_frames,
    of_each_label,
    polyline_region,
)
from alphaclip.regions.region import Region
from alphaclip.regions.videos import frame_address

if TYPE_CHECKING:
    import fiftyone as fo

_DOCUMENTS = 500
"""Samples that the database sends at once: it ends a cursor that is not asked for ten minutes, and
whoever reads may look at each picture's file meanwhile."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(\|b1|\|u1)', 'fortran_order': False, "
    rb"'shape': \((\d{1,6}), (\d{1,6})\), \} *\n",
    re.DOTALL,
)
"""How NumPy's file of nearly every mask begins; NumPy's own reader of it takes as long as all else
that is done with a mask."""

_KINDS = {b"|b1": np.dtype(bool), b"|u1": np.dtype(np.uint8)}


@dataclass(frozen=True, slots=True)
class RawPicture:
    """A sample, or a frame of a video, and its labels in one field.

    Attributes:
        sample_id: of the sample, or the frame
        filepath: of the picture; a frame's address, see :mod:`alphaclip.regions.videos`
        modified: when FiftyOne last wrote the sample, as text; empty where it does not say so
        label_ids: of the labels; empty for one that has none
        boxes: the bounding box of each, as it is stored; empty where they are polylines
        details: what else makes the region of each; None where that is its box alone
    """

    sample_id: str
    filepath: str
    modified: str
    label_ids: Sequence[str] = ()
    boxes: Sequence[Any] = ()
    details: Sequence[Mapping[str, Any] | None] = ()

    @property
    def has_mask_files(self) -> bool:
        """Whether one of the labels has its mask in a file."""
        return any(one is not None and one.get("mask_path") is not None for one in self.details)

    def region(self, number: int) -> Region:
        """The region of a label.

        Raises:
            RegionError: if its box, mask or points are unusable
        """
        details = self.details[number] or {}
        if not self.boxes:
            return polyline_region(details.get("points"), details.get("filled"))
        mask = details.get("mask")
        return detection_region(
            self.boxes[number],
            None if mask is None else _stored_array(mask),
            details.get("mask_path"),
            is_solid="dimensions" in details,
        )


def read_pictures(
    samples: fo.SampleCollection,
    field: str,
    only: Sequence[str] | None = None,
    every: int = 1,
) -> Iterator[RawPicture]:
    """The samples of a FiftyOne view, or its frames, with their labels in a field, in order.

    Args:
        samples: a view or a dataset
        field: that holds regions
        only (None): ids of the samples or frames to read
        every (1): n for every nth frame of each video, from the first
    """
    for document in _documents(samples, field, _columns(samples, field), only, every):
        yield RawPicture(
            str(document["_id"]),
            document["filepath"],
            str(document.get("last_modified_at") or ""),
            [label_id or "" for label_id in document["label_ids"]],
            document.get("boxes", ()),
            document["details"],
        )


def read_times(
    samples: fo.SampleCollection,
    field: str,
    only: Sequence[str] | None = None,
    every: int = 1,
) -> Iterator[RawPicture]:
    """The same without their labels."""
    for document in _documents(samples, field, {}, only, every):
        modified = str(document.get("last_modified_at") or "")
        yield RawPicture(str(document["_id"]), document["filepath"], modified)


def _documents(
    samples: fo.SampleCollection,
    field: str,
    columns: Mapping[str, Any],
    only: Sequence[str] | None,
    every: int,
    skip: int = 0,
) -> Iterator[dict[str, Any]]:
    from bson import ObjectId
    from pymongo.errors import CursorNotFound

    names = ("filepath", "last_modified_at", "_sample_id", "frame_number")
    pipeline: list[dict[str, Any]] = [{"$project": {**dict.fromkeys(names, 1), **columns}}]
    if skip:
        pipeline.insert(0, {"$skip": skip})
    if every > 1:
        pipeline.insert(0, {"$match": {"frame_number": {"$mod": [every, 1]}}})
    if only is not None:
        pipeline.insert(0, {"$match": {"_id": {"$in": [ObjectId(one) for one in only]}}})
    try:
        cursor = _frames(samples, pipeline) if is_of_frames(field) else _run(samples, pipeline)
        for document in cursor:
            skip += 1
            yield document
    except CursorNotFound:  # Nothing was asked of it for long: as FiftyOne does, another goes on
        yield from _documents(samples, field, columns, only, every, skip)


def _run(samples: fo.SampleCollection, pipeline: list[dict[str, Any]], **options: Any) -> Any:
    return samples._aggregate(post_pipeline=pipeline, **options).batch_size(_DOCUMENTS)


def _frames(
    samples: fo.SampleCollection, pipeline: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Frames, video after video, in the order in which they are decoded.

    Those of a dataset are read from where they are: FiftyOne attaches them to their videos first,
    and of a long video they may be more than the database takes in one document.
    """
    if samples is samples._dataset:
        order = {"$sort": {"_sample_id": 1, "frame_number": 1}}
        cursor = samples._frame_collection.aggregate([order, *pipeline]).batch_size(_DOCUMENTS)
    else:
        cursor = _run(samples, pipeline, frames_only=True)
    videos = samples._dataset._sample_collection
    for video_id, frames in groupby(cursor, key=itemgetter("_sample_id")):
        video = videos.find_one({"_id": video_id}, {"filepath": 1}) or {"filepath": ""}
        for frame in frames:
            address = frame_address(video["filepath"], frame["frame_number"])
            yield {**frame, "filepath": address}


def _columns(samples: fo.SampleCollection, field: str) -> dict[str, Any]:
    """What the database is to make of a sample's labels: lists of equal length."""
    if check_field(samples, field).startswith("Polyline"):
        details: Any = {"points": "$$this.points", "filled": "$$this.filled"}
        boxes = {}
    else:
        names = ("mask", "mask_path", "dimensions")
        more = {name: f"$$this.{name}" for name in names}
        is_more = {"$or": [{"$gt": [path, None]} for path in more.values()]}
        details = {"$cond": [is_more, more, None]}
        boxes = {"boxes": "$$this.bounding_box"}
    columns = {"label_ids": LABEL_ID, **boxes, "details": details}
    return {name: of_each_label(samples, field, each) for name, each in columns.items()}


def _stored_array(stored: Any) -> np.ndarray:
    """An array as FiftyOne stores it: NumPy's file of it, compressed.

    Raises:
        RegionError: if it cannot be read
    """
    is_text = isinstance(stored, str)
    try:
        content = b"" if is_text else zlib_ng.decompress(stored)
        header = _HEADER.match(content)
        if header is None:  # Of text, or of another kind of array
            from fiftyone.core.utils import deserialize_numpy_array

            return deserialize_numpy_array(stored, ascii=is_text)
        kind, height, width = header.groups()
        return np.ndarray((int(height), int(width)), _KINDS[kind], content, header.end())
    except Exception as error:  # zlib, base64 and NumPy have errors of their own
        raise RegionError(f"mask cannot be read: {error}; write it again, or clear it") from error
