"""Reads the regions of a dataset's labels, and tells each from an edited one by a fingerprint.

A fingerprint is two hashes side by side, 16 hexadecimal digits each: of the picture, and of region
and encoder. So a vector still counts where the picture cannot be reached at the moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.files import file_sha256
from alphaclip.indexing.dataset.labels import Skipped, check_field, label_region, labels_of
from alphaclip.indexing.dataset.stages import view_of
from alphaclip.indexing.progress import Progress
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

Identify = Literal["stat", "content"]
"""How a picture is told from an edited one: by size and time of change, or by its content."""

HALF = 16
"""Digits of each half: 64 bits. Two versions of one region have to differ, not all regions."""


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
    """What an index is of: its dataset, or the view that it was built on, as it is now."""
    return view_of(dataset, settings["stages"]) if settings["stages"] else dataset


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
            polylines, which count as their box, and the labels ``skipped``
        progress: told how many samples are read
    """
    field, total = settings["field"], len(samples)
    check_field(samples, field)
    reading.update(samples=0, unfilled=0, skipped=[])
    for sample in samples.select_fields(field).iter_samples():
        label_ids, regions = [], []
        for label in labels_of(sample[field]):
            try:
                regions.append(label_region(label))
            except RegionError as error:
                skipped = Skipped(sample.filepath, str(label.id), str(error))
                reading["skipped"].append(asdict(skipped))
                continue
            label_ids.append(str(label.id))
            reading["unfilled"] += hasattr(label, "points") and not label.filled
        reading["samples"] += 1
        yield LabelledPicture(
            str(sample.id),
            sample.filepath,
            picture_stamp(sample.filepath, settings["identify"]) if regions else None,
            label_ids,
            regions,
            [region_stamp(region, settings["fingerprint"]) for region in regions],
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
