"""Reads the regions of a dataset's labels, and tells each from an edited one by a fingerprint.

A fingerprint is two hashes side by side, 16 hexadecimal digits each: of the picture, and of region
and encoder. So a vector still counts where the picture cannot be reached at the moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.files import file_sha256
from alphaclip.indexing.dataset.labels import (
    FieldError,
    Skipped,
    check_field,
    count_samples,
    label_region,
    labels_of,
    region_fields,
    stray_rings,
)
from alphaclip.indexing.dataset.stages import check_stages, view_of
from alphaclip.indexing.progress import Progress
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

Identify = Literal["stat", "content"]
"""How a picture is told from an edited one: by size and time of change, or by its content."""

HALF = 16
"""Digits of each half: 64 bits. Two versions of one region have to differ, not all regions."""

READ_AT = "read_at"
"""In what is noticed of the labels: when they began to be read, ISO 8601, UTC."""

TWICE = "its id occurs twice: a region has one vector"
"""Why all regions of a sample with one label id but the first are left out."""

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
        stamps: of the regions
    """

    sample_id: str
    filepath: str
    stamp: str | None
    label_ids: Sequence[str]
    regions: Sequence[Region]
    stamps: Sequence[str]


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
) -> Iterator[LabelledPicture]:
    """Every picture of a dataset with its regions, in order.

    Args:
        samples: a view or dataset of pictures
        settings: of the index: ``field``, ``fingerprint`` of the encoder, ``identify``
        reading: gets what is noticed, JSON: how many ``samples`` there are, how many ``unfilled``
            polylines, which count as their box, how many ``stray_rings`` of polygons were left
            out, the labels ``skipped``, and when this began, as ``read_at``
        progress: told how many samples are read
    """
    field, total = settings["field"], count_samples(samples)
    check_field(samples, field)
    reading.update(samples=0, unfilled=0, stray_rings=0, skipped=[])
    reading[READ_AT] = datetime.now(timezone.utc).isoformat()
    for sample in samples.select_fields(field).iter_samples():
        regions: dict[str, Region] = {}
        for label in labels_of(sample[field]):
            label_id = str(label.id)
            try:
                if label_id in regions:
                    raise RegionError(TWICE)
                regions[label_id] = label_region(label)
            except RegionError as error:
                skipped = Skipped(sample.filepath, label_id, str(error))
                reading["skipped"].append(asdict(skipped))
                continue
            reading["unfilled"] += hasattr(label, "points") and not label.filled
            reading["stray_rings"] += stray_rings(label, regions[label_id])
        reading["samples"] += 1
        yield LabelledPicture(
            str(sample.id),
            sample.filepath,
            picture_stamp(sample.filepath, settings["identify"]) if regions else None,
            list(regions),
            list(regions.values()),
            [region_stamp(region, settings["fingerprint"]) for region in regions.values()],
        )
        progress("samples read", reading["samples"], total)


def picture_stamp(path: str, identify: Identify) -> str | None:
    """A hash of the picture; None if it cannot be reached.

    Args:
        path: of the picture
        identify: "stat" is quick; "content" reads the file, and does not mind copies
    """
    try:
        if identify == "content":
            return file_sha256(Path(path))[:HALF]
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return _hash(f"{status.st_size} {status.st_mtime_ns}")


def region_stamp(region: Region, encoder: str) -> str:
    """A hash of what the encoder, of this fingerprint, does with a picture."""
    return _hash(f"{region.digest()} {encoder}")


def region_half(fingerprints: np.ndarray) -> np.ndarray:
    """The part of fingerprints (bytes, n) that the picture has no share in."""
    full = fingerprints.astype(f"S{2 * HALF}")
    return full.view(f"S{HALF}").reshape(-1, 2)[:, 1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HALF]
