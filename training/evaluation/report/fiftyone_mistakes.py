"""A FiftyOne dataset with each prediction on its region, to look at mistakes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.fiftyone_regions import OPAQUE
from alphaclip.training.evaluation.outcomes import Outcome, Row

if TYPE_CHECKING:
    import fiftyone as fo

_MADE = "alphaclip_mistakes_of"
"""In a dataset's ``info``: only what was made here is ever overwritten."""


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

    ids = {(example.id, labelled.id) for example, labelled in regions.regions}
    fields: dict[str, dict[tuple[str, str], Row]] = {}
    for outcome in outcomes:
        rows = {(row.example, row.id): row for row in outcome.rows}
        if rows.keys() & ids:
            fields[_field_name(outcome, fields)] = rows
    if not fields:
        raise AlphaClipError(f"none of the rows is of a region of {regions.name}")
    check_name(name, overwrite)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    dataset = fo.Dataset(name)
    dataset.info = {_MADE: regions.name}
    dataset.add_samples([_sample(example, fields) for example in regions.examples], progress=False)
    dataset.persistent = True
    return dataset


def check_name(name: str, overwrite: bool = False) -> None:
    """Checks that a dataset of this name can be made, for who works for hours before it is.

    Raises:
        AlphaClipError: if FiftyOne does not take the name, or there is such a dataset already, see
            :func:`make_mistakes`
    """
    import fiftyone as fo

    if fo.dataset_exists(name):
        if not overwrite or _MADE not in fo.load_dataset(name).info:
            raise AlphaClipError(
                f"there is a FiftyOne dataset {name!r} already: take another name, or delete it "
                "first"
            )
        return
    try:
        fo.Dataset(name).delete()
    except ValueError as error:
        raise AlphaClipError(f"{name!r:.120} is no name for a dataset: {error}") from error


def _field_name(outcome: Outcome, others: Collection[str]) -> str:
    """A name that FiftyOne takes for a field, and that no other encoder has."""
    import fiftyone as fo

    parts = "_".join(filter(None, (outcome.encoder, outcome.setting)))
    name = re.sub(r"\W+", "_", parts, flags=re.ASCII).strip("_").lower()[:80]
    if not name[:1].isalpha() or name in dir(fo.Sample("")):
        name = f"by_{name}".rstrip("_")
    numbered = (f"{name}_{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in others)


def _sample(example: Example, fields: Mapping[str, Mapping[tuple[str, str], Row]]) -> fo.Sample:
    import fiftyone as fo

    sample = fo.Sample(filepath=str(example.path))
    shapes = []
    for labelled in example.regions:
        shape = _shape(example, labelled)
        if shape is not None:
            shapes.append((labelled, *shape))
    for field, rows in fields.items():
        detections = [
            fo.Detection(
                label=row.predicted,
                bounding_box=box,
                mask=mask,
                confidence=row.score,
                truth=row.truth,
                correct=row.correct >= 1.0,
                size=labelled.size,
                region=labelled.id,
            )
            for labelled, box, mask in shapes
            if (row := rows.get((example.id, labelled.id))) is not None
        ]
        sample[field] = fo.Detections(detections=detections)
    return sample


def _shape(
    example: Example, labelled: LabelledRegion
) -> tuple[list[float], np.ndarray | None] | None:
    """A region's box and the mask inside it; None where it has no area."""
    height, width = example.height, example.width
    try:
        window = labelled.region.bounds(height, width)
        pixels = labelled.region.alpha_window(height, width, window) > OPAQUE
    except RegionError:
        return None
    left, top, right, bottom = window
    box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
    return box, None if pixels.all() else pixels
