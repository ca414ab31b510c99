"""Reads the labels of a dataset for a plan, and remembers what it could not use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import LabelledPicture, labelled_pictures
from alphaclip.indexing.dataset.skipped import Skipped
from alphaclip.indexing.embedding.fingerprints import picture_stamp, region_stamp
from alphaclip.indexing.progress import Progress
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class PlannedPicture:
    """A picture and its regions, as a plan takes them.

    Attributes:
        sample_id: of the picture
        filepath: of the picture
        stamp: of the picture, None if it cannot be reached; see `fingerprints`
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


class LabelReader:
    """The pictures of a dataset with their regions.

    Args:
        samples: a view or dataset of pictures
        settings: of the index: ``field``, ``fingerprint`` of the encoder, ``identify``
        progress: told how many samples are read
    """

    def __init__(
        self, samples: fo.SampleCollection, settings: dict[str, Any], progress: Progress
    ) -> None:
        self._samples, self._settings, self._progress = samples, settings, progress
        self._skipped: list[Skipped] = []
        self._read = self._unfilled = 0

    def pictures(self) -> Iterator[PlannedPicture]:
        """Every picture, in order."""
        total = len(self._samples)
        for picture in labelled_pictures(self._samples, self._settings["field"]):
            self._read += 1
            self._unfilled += picture.unfilled
            self._skipped += picture.skipped
            yield self._planned(picture)
            self._progress("samples read", self._read, total)

    def report(self) -> dict[str, Any]:
        """What was read: ``samples``, ``unfilled`` polylines, and what was ``skipped``."""
        skipped = [asdict(skipped) for skipped in self._skipped]
        return {"samples": self._read, "unfilled": self._unfilled, "skipped": skipped}

    def _planned(self, picture: LabelledPicture) -> PlannedPicture:
        encoder, identify = self._settings["fingerprint"], self._settings["identify"]
        return PlannedPicture(
            picture.sample_id,
            picture.filepath,
            picture_stamp(picture.filepath, identify) if picture.regions else None,
            picture.label_ids,
            picture.regions,
            [region_stamp(region, encoder) for region in picture.regions],
        )


def active_slice(samples: fo.SampleCollection) -> fo.SampleCollection:
    """Of a grouped collection its active slice, by name: another may be active next time."""
    if samples.media_type == "group":
        return samples.select_group_slices(samples.group_slice)
    return samples


def samples_of(dataset: fo.Dataset, settings: dict[str, Any]) -> fo.SampleCollection:
    """What an index is of: its dataset, or the view that it was built on, as it is now."""
    import fiftyone as fo

    if not settings["stages"]:
        return dataset
    return fo.DatasetView._build(dataset, settings["stages"])
