"""Embeds the labelled regions of a dataset and publishes them as an index.

The module is not called ``build``: importing it would hide the function of that name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from alphaclip.indexing.labels import LabelledPicture, Skipped, check_field, labelled_pictures
from alphaclip.indexing.places import check_key, index_folder
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.similarity import register
from alphaclip.indexing.store import MANIFEST, RegionIds, write_store
from tqdm import tqdm

from alphaclip.encoder import Encoder, Failure
from alphaclip.errors import AlphaClipError
from alphaclip.loading import load as load_encoder
from alphaclip.regions import Region

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many samples are done, and how many there are."""


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        samples: looked at
        regions: embedded
        skipped: regions and pictures left out, and why
        unfilled: polylines that are not filled, embedded as their box
        seconds: it took
    """

    samples: int
    regions: int
    skipped: list[Skipped]
    unfilled: int
    seconds: float


def build(
    samples: fo.SampleCollection,
    field: str,
    encoder: str | Path | Encoder = "auto",
    key: str = "regions",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RegionIndex:
    """Embeds every region of a field and makes them searchable.

    Args:
        samples: a dataset or view of images; of a grouped dataset, the active slice
        field: a field of Detections, Detection, Polylines or Polyline
        encoder: see :func:`alphaclip.load`
        key: what the index is called
        overwrite (False): replace an index of this name
        progress (None): told how far it is; None shows a bar in the terminal

    Returns:
        the index; its :attr:`~RegionIndex.info` has the report

    Raises:
        AlphaClipError: if the field holds no regions, nothing could be embedded, or the key is
            taken or malformed
    """
    if samples._is_generated:
        raise AlphaClipError(
            f"samples is a view of {type(samples).__name__}: pass the dataset, or a view of its "
            "images, and the field that holds the regions"
        )
    dataset = samples._dataset
    check_key(dataset, key)
    folder = index_folder(dataset, key)
    if (folder / MANIFEST).exists() and not overwrite:
        raise AlphaClipError(
            f"dataset {dataset.name!r} has an index {key!r}: choose another key, or pass "
            "overwrite=True to replace it"
        )
    check_field(samples, field)
    if not len(samples):
        raise AlphaClipError(f"{dataset.name!r} has no samples here: there is nothing to embed")
    loaded = load_encoder(encoder)
    vectors, ids, report = _embed(samples, field, loaded, progress)
    if not len(ids):
        raise AlphaClipError(
            f"no region of {field!r} could be embedded: {len(report.skipped)} were skipped"
            + (f", the first because {report.skipped[0].reason}" if report.skipped else "")
        )
    info = {
        "field": field,
        "encoder": loaded.name,
        "fingerprint": loaded.fingerprint,
        "view": loaded.view.to_dict(),
        "report": asdict(report),
    }
    write_store(folder, vectors, ids, info)
    logger.info(
        "%s: %d regions of %d samples embedded in %.1f s, %d skipped",
        key, report.regions, report.samples, report.seconds, len(report.skipped),
    )  # fmt: skip
    index = RegionIndex(dataset, key, encoder=loaded)
    register(index, loaded.name)
    return index


def _embed(
    samples: fo.SampleCollection, field: str, encoder: Encoder, progress: Progress | None
) -> tuple[np.ndarray, RegionIds, BuildReport]:
    started = time.monotonic()
    work = _Work(samples, field)
    stream = encoder.encode_many(work.items(), work.note_failure)
    for place, vectors in _counted(stream, len(samples), progress):
        work.collect(place, vectors)
    seconds = round(time.monotonic() - started, 1)
    report = BuildReport(work.samples, len(work.ids), work.skipped, work.unfilled, seconds)
    return np.concatenate(work.rows), work.ids, report


class _Work:
    """The pictures on their way through the encoder, and what has come of those before."""

    def __init__(self, samples: fo.SampleCollection, field: str) -> None:
        self.ids, self.rows = RegionIds(), list[np.ndarray]()
        self.skipped, self.samples, self.unfilled = list[Skipped](), 0, 0
        self._source, self._field = samples, field
        self._under_way: dict[int, LabelledPicture] = {}
        self._failed: dict[int, set[int]] = {}

    def items(self) -> Iterator[tuple[str, Sequence[Region]]]:
        """Pictures and regions, as the encoder takes them."""
        for place, picture in enumerate(labelled_pictures(self._source, self._field)):
            self._under_way[place], self._failed[place] = picture, set()
            self.samples += 1
            self.unfilled += picture.unfilled
            self.skipped.extend(picture.skipped)
            yield picture.filepath, picture.regions

    def note_failure(self, failure: Failure) -> None:
        """Remembers what the encoder could not use."""
        picture, failed = self._under_way[failure.item], self._failed[failure.item]
        if failure.region is None:
            failed.update(range(len(picture.regions)))
            self._skip(picture, "", str(failure.error))
        else:
            failed.add(failure.region)
            self._skip(picture, picture.label_ids[failure.region], str(failure.error))

    def collect(self, place: int, vectors: np.ndarray) -> None:
        """Takes the vectors of one picture, which is done with."""
        picture, failed = self._under_way.pop(place), self._failed.pop(place)
        kept = np.isfinite(vectors).all(axis=1)
        for region in set(np.flatnonzero(~kept).tolist()) - failed:
            self._skip(picture, picture.label_ids[region], "its vector is not finite")
        self.rows.append(vectors[kept].astype(np.float16))
        labels = [picture.label_ids[region] for region in np.flatnonzero(kept)]
        self.ids.label_ids.extend(labels)
        self.ids.sample_ids.extend([picture.sample_id] * len(labels))
        self.ids.fields.extend([self._field] * len(labels))

    def _skip(self, picture: LabelledPicture, label_id: str, reason: str) -> None:
        self.skipped.append(Skipped(picture.filepath, label_id, reason))


def _counted(
    stream: Iterator[np.ndarray], total: int, progress: Progress | None
) -> Iterator[tuple[int, np.ndarray]]:
    bar = tqdm(stream, total=total, desc="embedding", unit="sample", disable=progress is not None)
    for done, vectors in enumerate(bar):
        yield done, vectors
        if progress is not None:
            progress(done + 1, total)
