"""Predictions in a FiftyOne dataset as proposals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.datasets.proposals import Proposal, surest

if TYPE_CHECKING:
    import fiftyone as fo


def read_predictions(
    samples: fo.SampleCollection, field: str, pictures: RegionSet, most: int = 300
) -> tuple[dict[str, list[Proposal]], list[str]]:
    """Reads a field of predictions; their labels do not count.

    Args:
        samples: a dataset or view
        field: holds Detections, Detection, Polylines or Polyline; ``confidence`` is the
            objectness, 1 where there is none
        pictures: read from the same samples, see
            :func:`alphaclip.training.evaluation.fiftyone_regions.read_field`
        most (300): kept of a picture, the surest ones

    Returns:
        by the sample's id, the surest first; and a line for each label that is no region

    Raises:
        FieldError: if the field holds no regions
    """
    from alphaclip.indexing.dataset.labels import PATCHABLE, check_field

    kind, skipped = check_field(samples, field), list[str]()
    sizes = {example.id: (example.height, example.width) for example in pictures.examples}
    found = {}
    for sample in samples.select(list(sizes)).select_fields(field).iter_samples():
        value = sample[field]
        labels = [] if value is None else value[kind.lower()] if kind in PATCHABLE else [value]
        made = list(_proposals(labels, sizes[sample.id], skipped))
        found[str(sample.id)] = surest(made, most)
    return found, skipped


def open_predictions(
    dataset: str, field: str, pictures: RegionSet, most: int = 300
) -> tuple[dict[str, list[Proposal]], list[str]]:
    """Reads a field of predictions of a dataset on this machine, see :func:`read_predictions`."""
    import fiftyone as fo

    return read_predictions(fo.load_dataset(dataset), field, pictures, most)


def _proposals(labels: list[Any], size: tuple[int, int], skipped: list[str]) -> Iterator[Proposal]:
    for label in labels:
        try:
            yield _proposal(label, *size)
        except (RegionError, AlphaClipError) as error:
            skipped.append(f"prediction {label.id}: {error}")


def _proposal(label: Any, height: int, width: int) -> Proposal:
    from alphaclip.indexing.dataset.labels import label_region

    region = label_region(label)
    sure = label.confidence if label.has_field("confidence") else None
    objectness = 1.0 if sure is None else float(sure)
    if not 0 <= objectness <= 1:
        raise AlphaClipError(f"confidence is {objectness}: expected a number in [0, 1]")
    if region.box is not None and region.mask is None:
        x, y, w, h = np.array(region.box) * (width, height, width, height)
        return Proposal((float(x), float(y), float(w), float(h)), objectness)
    left, top, right, bottom = region.bounds(height, width)
    rle = encode_rle(region.alpha_map(height, width) > 127)
    return Proposal((left, top, right - left, bottom - top), objectness, rle)
