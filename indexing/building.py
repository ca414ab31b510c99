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
from alphaclip.indexing.places import index_folder
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
        samples: a dataset or view of images
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
    dataset = samples._dataset
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
    pictures: list[LabelledPicture] = []
    skipped: list[Skipped] = []

    def on_error(failure: Failure) -> None:
        picture = pictures[failure.item]
        label_id = "" if failure.region is None else picture.label_ids[failure.region]
        skipped.append(Skipped(picture.filepath, label_id, str(failure.error)))

    def items() -> Iterator[tuple[str, Sequence[Region]]]:
        for picture in labelled_pictures(samples, field):
            pictures.append(picture)
            skipped.extend(picture.skipped)
            yield picture.filepath, picture.regions

    ids, rows = RegionIds(), []
    for done, vectors in _counted(encoder.encode_many(items(), on_error), len(samples), progress):
        picture = pictures[done]
        kept = np.isfinite(vectors).all(axis=1)
        rows.append(vectors[kept].astype(np.float16))
        for label_id in np.array(picture.label_ids, dtype=object)[kept]:
            ids.sample_ids.append(picture.sample_id)
            ids.label_ids.append(label_id)
            ids.fields.append(field)
    seconds = round(time.monotonic() - started, 1)
    unfilled = sum(picture.unfilled for picture in pictures)
    report = BuildReport(len(pictures), len(ids), skipped, unfilled, seconds)
    return np.concatenate(rows), ids, report


def _counted(
    stream: Iterator[np.ndarray], total: int, progress: Progress | None
) -> Iterator[tuple[int, np.ndarray]]:
    bar = tqdm(stream, total=total, desc="embedding", unit="sample", disable=progress is not None)
    for done, vectors in enumerate(bar):
        yield done, vectors
        if progress is not None:
            progress(done + 1, total)
