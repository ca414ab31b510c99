"""Fields of a FiftyOne dataset: as a set to evaluate on, and as proposals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import shown_size
from alphaclip.training.datasets.proposals import Proposal, surest

if TYPE_CHECKING:
    import fiftyone as fo

OPAQUE = 127
"""Pixels of a soft mask above this, of 255, are inside where a mask has to be hard."""


def open_field(
    dataset: str,
    field: str,
    truth: str = "label",
    text: str | None = None,
    limit: int | None = None,
) -> RegionSet:
    """Reads a field of a dataset on this machine, see :func:`read_field`.

    Raises:
        AlphaClipError: if there is no such dataset; names those that there are
    """
    import fiftyone as fo

    if not fo.dataset_exists(dataset):
        names = ", ".join(fo.list_datasets()) or "none"
        raise AlphaClipError(f"no FiftyOne dataset is called {dataset!r}; there are: {names}")
    opened = fo.load_dataset(dataset)
    return read_field(opened if limit is None else opened.limit(limit), field, truth, text)


def read_field(
    samples: fo.SampleCollection, field: str, truth: str = "label", text: str | None = None
) -> RegionSet:
    """Reads the labelled regions of one field.

    Args:
        samples: a dataset or view
        field: holds Detections, Detection, Polylines or Polyline
        truth: the attribute with the right class; a label without it stands by its ``label``
        text: the attribute with a description, or several; None takes the class

    Returns:
        pictures that can be opened, in the dataset's order. The classes are the dataset's own
        where it states them for the field, else all that occur, sorted

    Raises:
        FieldError: if the field holds no regions, or no label of the dataset has the attributes;
            says which would do
    """
    from alphaclip.indexing.dataset.attributes import check_attribute
    from alphaclip.indexing.dataset.labels import images_of, stray_rings

    for attribute in {truth, "label" if text is None else text} - {"label"}:
        check_attribute(samples, field, attribute)
    skipped: list[str] = []
    examples, strays = [], 0
    for sample, labels in _labels(images_of(samples), field):
        if labels is None:
            continue
        try:
            width, height = shown_size(Path(sample.filepath))
        except (FileNotFoundError, AlphaClipError) as error:
            skipped.append(f"{sample.filepath}: {error}")
            continue
        regions = []
        for label in labels:
            try:
                regions.append(_labelled(label, truth, text, width, height))
            except RegionError as error:
                skipped.append(f"region {label.id} of {sample.filepath}: {error}")
            else:
                strays += stray_rings(getattr(label, "points", ()), regions[-1].region)
        path = Path(sample.filepath)
        examples.append(Example(str(sample.id), path, width, height, tuple(regions)))
    if strays:
        skipped.append(f"{strays} ring(s) of fewer than three points, left out of their polygons")
    occurring = {labelled.label for example in examples for labelled in example.regions}
    stated = samples.classes.get(field) or samples.default_classes
    classes = tuple(stated or sorted(occurring - {""}))
    name = f"{samples._dataset.name}.{field}"
    return RegionSet(name, tuple(examples), classes, tuple(skipped))


def read_predictions(
    samples: fo.SampleCollection, field: str, pictures: RegionSet, most: int = 300
) -> tuple[dict[str, list[Proposal]], list[str]]:
    """Reads a field of predictions; their labels do not count.

    Args:
        samples: a dataset or view
        field: holds Detections, Detection, Polylines or Polyline; ``confidence`` is the
            objectness, 1 where there is none
        pictures: read from the same samples, see :func:`read_field`
        most (300): kept of a picture, the surest ones

    Returns:
        by the sample's id, the surest first; and a line for each label that is no region
    """
    sizes = {example.id: (example.height, example.width) for example in pictures.examples}
    by_sample: dict[str, list[Proposal]] = {}
    skipped: list[str] = []
    for sample, labels in _labels(samples.select(list(sizes)), field):
        proposals = []
        for label in labels or ():
            try:
                proposals.append(_proposal(label, *sizes[sample.id]))
            except AlphaClipError as error:
                skipped.append(f"prediction {label.id}: {error}")
        by_sample[str(sample.id)] = surest(proposals, most)
    return by_sample, skipped


def open_predictions(
    dataset: str, field: str, pictures: RegionSet, most: int = 300
) -> tuple[dict[str, list[Proposal]], list[str]]:
    """The same of a dataset on this machine."""
    import fiftyone as fo

    return read_predictions(fo.load_dataset(dataset), field, pictures, most)


def _labels(samples: fo.SampleCollection, field: str) -> Iterator[tuple[fo.Sample, Any]]:
    """Samples with the labels of a field; None where the field is empty."""
    from alphaclip.indexing.dataset.labels import PATCHABLE, check_field

    kind = check_field(samples, field)
    for sample in samples.select_fields(field).iter_samples():
        value = sample[field]
        if value is not None:
            value = value[kind.lower()] if kind in PATCHABLE else [value]
        yield sample, value


def _labelled(label: Any, truth: str, text: str | None, width: int, height: int) -> LabelledRegion:
    from alphaclip.indexing.dataset.labels import label_region

    region = label_region(label)
    name = str(_attribute(label, truth) or label.label or "")
    described = name if text is None else _attribute(label, text)
    texts = described if isinstance(described, (list, tuple)) else [described]
    # soft edges count by their share
    pixels = region.alpha_window(height, width, region.bounds(height, width))
    return LabelledRegion(
        id=str(label.id),
        region=region,
        area=float(pixels.sum(dtype=float)) / 255.0,
        label=name,
        texts=tuple(str(one) for one in texts if one),
        crowd=bool(_attribute(label, "iscrowd")),
    )


def _proposal(label: Any, height: int, width: int) -> Proposal:
    from alphaclip.indexing.dataset.labels import label_region

    region = label_region(label)
    sure = _attribute(label, "confidence")
    objectness = 1.0 if sure is None else float(sure)
    if not 0 <= objectness <= 1:
        raise AlphaClipError(f"confidence is {objectness}: expected a number in [0, 1]")
    if region.box is not None and region.mask is None:
        x, y, w, h = (np.array(region.box) * (width, height, width, height)).tolist()
        return Proposal((x, y, w, h), objectness)
    left, top, right, bottom = region.bounds(height, width)
    rle = encode_rle(region.alpha_map(height, width) > OPAQUE)
    return Proposal((left, top, right - left, bottom - top), objectness, rle)


def _attribute(label: Any, name: str) -> Any:
    return label[name] if label.has_field(name) else None
