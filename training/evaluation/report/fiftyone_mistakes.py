"""A FiftyOne dataset with each prediction on its region, to look at mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.outcomes import Outcome, Row

if TYPE_CHECKING:
    import fiftyone as fo

OPAQUE = 127


def make_mistakes(
    name: str, regions: RegionSet, outcomes: Sequence[Outcome], overwrite: bool = False
) -> fo.Dataset:
    """Puts what several encoders answered beside the truth.

    Each picture has one field of detections for each encoder. A detection's ``label`` is the
    prediction, ``confidence`` the score (a cosine), and it has ``truth``, ``correct`` (whether the
    row counts in full), ``size`` and ``region``, the region's id. Polygons become masks.

    Args:
        name: of the dataset to make; it is persistent
        regions: that were judged
        outcomes: one for each encoder, whose rows have the regions' ids; others are passed over
        overwrite: whether a dataset of this name may be deleted first; only one that was made
            here is

    Raises:
        AlphaClipError: if there is a dataset of this name already, or no outcome fits the regions
    """
    import fiftyone as fo

    ids = {labelled.id for _, labelled in regions.regions}
    found = {_field(outcome): {row.id: row for row in outcome.rows} for outcome in outcomes}
    fields = {field: rows for field, rows in found.items() if rows.keys() & ids}
    if not fields:
        raise AlphaClipError(f"none of the rows is of a region of {regions.name}")
    _make_room(name, overwrite)
    dataset = fo.Dataset(name)
    dataset.info = {_MADE: regions.name}
    dataset.add_samples([_sample(example, fields) for example in regions.examples], progress=False)
    dataset.persistent = True
    return dataset


_MADE = "alphaclip_mistakes_of"


def _field(outcome: Outcome) -> str:
    """A name that FiftyOne takes for a field."""
    parts = (outcome.encoder, outcome.setting)
    return re.sub(r"\W+", "_", "_".join(filter(None, parts)), flags=re.ASCII).strip("_").lower()


def _make_room(name: str, overwrite: bool) -> None:
    import fiftyone as fo

    if not fo.dataset_exists(name):
        return
    if overwrite and _MADE in fo.load_dataset(name).info:
        fo.delete_dataset(name)
        return
    raise AlphaClipError(
        f"there is a FiftyOne dataset {name!r} already: take another name, or delete it first"
    )


def _sample(example: Example, fields: Mapping[str, Mapping[str, Row]]) -> fo.Sample:
    import fiftyone as fo

    sample = fo.Sample(filepath=str(example.path))
    shapes = dict(_shapes(example))
    for field, rows in fields.items():
        detections = [
            _detection(labelled, rows[labelled.id], *shapes[labelled.id])
            for labelled in example.regions
            if labelled.id in rows and labelled.id in shapes
        ]
        sample[field] = fo.Detections(detections=detections)
    return sample


def _shapes(example: Example) -> Iterator[tuple[str, tuple[list[float], np.ndarray | None]]]:
    """The box and the mask inside it of every region that has an area."""
    height, width = example.height, example.width
    for labelled in example.regions:
        try:
            window = labelled.region.bounds(height, width)
            pixels = labelled.region.alpha_window(height, width, window) > OPAQUE
        except RegionError:
            continue
        left, top, right, bottom = window
        box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
        yield labelled.id, (box, None if pixels.all() else pixels)


def _detection(labelled: LabelledRegion, row: Row, box: list[float], mask: Any) -> fo.Detection:
    import fiftyone as fo

    return fo.Detection(
        label=row.predicted,
        bounding_box=box,
        mask=mask,
        confidence=row.score,
        truth=row.truth,
        correct=row.correct >= 1.0,
        size=labelled.size,
        region=labelled.id,
    )
