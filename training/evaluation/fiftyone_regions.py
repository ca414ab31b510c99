"""A field of a FiftyOne dataset as a set to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.files import shown_size

if TYPE_CHECKING:
    import fiftyone as fo


def open_field(
    dataset: str,
    field: str,
    truth: str = "label",
    text: str | None = None,
    limit: int | None = None,
) -> RegionSet:
    """Reads a field of a dataset on this machine.

    Args:
        dataset: its name
        field: see :func:`read_field`
        truth: see :func:`read_field`
        text: see :func:`read_field`
        limit: how many samples; None takes all

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
        FieldError: if the field holds no regions; says which would do
    """
    from alphaclip.indexing.dataset.labels import images_of

    skipped: list[str] = []
    pictures = images_of(samples)
    examples = tuple(_examples(pictures, field, truth, text, skipped))
    occurring = {labelled.label for example in examples for labelled in example.regions}
    name = f"{samples._dataset.name}.{field}"
    return RegionSet(name, examples, _classes(samples, field, occurring), tuple(skipped))


def _classes(samples: fo.SampleCollection, field: str, occurring: set[str]) -> tuple[str, ...]:
    stated = samples.classes.get(field) or samples.default_classes
    return tuple(stated or sorted(occurring - {""}))


def _examples(
    samples: fo.SampleCollection, field: str, truth: str, text: str | None, skipped: list[str]
) -> Iterator[Example]:
    from alphaclip.indexing.dataset.labels import PATCHABLE, check_field

    kind = check_field(samples, field)
    for sample in samples.select_fields(field).iter_samples():
        value = sample[field]
        if value is None:
            continue
        labels = value[kind.lower()] if kind in PATCHABLE else [value]
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
        yield Example(str(sample.id), Path(sample.filepath), width, height, tuple(regions))


def _labelled(label: Any, truth: str, text: str | None, width: int, height: int) -> LabelledRegion:
    from alphaclip.indexing.dataset.labels import label_region

    region = label_region(label)
    name = str(_attribute(label, truth) or label.label or "")
    return LabelledRegion(
        id=str(label.id),
        region=region,
        area=_area(region, height, width),
        label=name,
        texts=_texts(name if text is None else _attribute(label, text)),
        crowd=bool(_attribute(label, "iscrowd")),
    )


def _area(region: Region, height: int, width: int) -> float:
    """In square pixels; soft edges count by their share."""
    pixels = region.alpha_window(height, width, region.bounds(height, width))
    return float(pixels.sum(dtype=float)) / 255.0


def _texts(value: Any) -> tuple[str, ...]:
    several = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(text) for text in several if text)


def _attribute(label: Any, name: str) -> Any:
    return label[name] if label.has_field(name) else None
