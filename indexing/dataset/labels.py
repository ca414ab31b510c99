"""From a FiftyOne dataset's labels to regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.regions.masks import open_mask
from alphaclip.regions.polygons import read_rings
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

REGION_TYPES = ("Detections", "Detection", "Polylines", "Polyline")
"""Names of the FiftyOne label classes that hold regions."""

PATCHABLE = ("Detections", "Polylines")
"""Those that FiftyOne makes patches of."""


class FieldError(AlphaClipError):
    """A field is missing, or holds no regions."""


@dataclass(frozen=True)
class Skipped:
    """A region or a picture that a job left out.

    Attributes:
        filepath: the picture
        label_id: the region, empty if the picture itself could not be used
        reason: why
    """

    filepath: str
    label_id: str
    reason: str


def region_fields(samples: fo.SampleCollection) -> dict[str, str]:
    """The fields that hold regions, and the label class of each."""
    import fiftyone as fo

    kinds = {}
    for name, schema in samples.get_field_schema().items():
        if isinstance(schema, fo.EmbeddedDocumentField):
            kind = schema.document_type.__name__
            if kind in REGION_TYPES:
                kinds[name] = kind
    return kinds


def check_field(samples: fo.SampleCollection, field: str) -> str:
    """The label class of a field that holds regions.

    Raises:
        FieldError: says what the field is, and which fields would do
    """
    kinds = region_fields(samples)
    if field in kinds:
        return kinds[field]
    fitting = ", ".join(kinds) or "none"
    schema = samples.get_field_schema().get(field)
    if schema is None:
        raise FieldError(
            f"dataset {samples._dataset.name!r} has no field {field!r}; fields with regions: "
            f"{fitting}"
        )
    kind = getattr(getattr(schema, "document_type", None), "__name__", str(schema))
    raise FieldError(
        f"field {field!r} holds {kind}, not regions ({', '.join(REGION_TYPES)}); fields with "
        f"regions: {fitting}"
    )


def images_of(samples: fo.SampleCollection) -> fo.SampleCollection:
    """The same samples; of a grouped dataset or view, the images of every slice."""
    if samples.media_type == "group":
        return samples.select_group_slices(media_type="image")
    return samples


def active_slice(samples: fo.SampleCollection) -> fo.SampleCollection:
    """Of a grouped collection its active slice, by name: another may be active next time."""
    if samples.media_type == "group":
        return samples.select_group_slices(samples.group_slice)
    return samples


def active_images(samples: fo.SampleCollection) -> fo.SampleCollection:
    """The images that are meant: the samples themselves; of a grouped collection, the active slice.

    Raises:
        AlphaClipError: if they are no images, or a view of something else than samples
    """
    name = samples._dataset.name
    if samples._is_generated:
        raise AlphaClipError(
            f"samples is a view of {type(samples).__name__}: pass the dataset or a view of its "
            "images; the frames of a video become a dataset by "
            "dataset.to_frames(sample_frames=True).clone()"
        )
    samples = active_slice(samples)
    if samples.media_type == "video":
        raise AlphaClipError(
            f"{name!r} holds videos here: make a dataset of their frames by "
            "dataset.to_frames(sample_frames=True).clone(), and pass that"
        )
    if samples.media_type not in ("image", "mixed"):
        what = f"media type {samples.media_type!r}" if samples.media_type else "no samples"
        raise AlphaClipError(f"{name!r} has {what} here: regions are parts of images")
    return samples


def labels_of(value: Any) -> list[Any]:
    """The labels that a sample has in a field of regions."""
    if value is None:
        return []
    for name in ("detections", "polylines"):
        if hasattr(value, name):
            return list(value[name])
    return [value]


def labels_in(view: fo.SampleCollection, dataset: fo.Dataset, field: str) -> list[str]:
    """The ids of a field's labels in a view; where the view shows something else than the field,
    those of the labels of its pictures.

    Raises:
        AlphaClipError: if the view is one of another dataset
    """
    if view._root_dataset.name != dataset.name:
        raise AlphaClipError(
            f"view is of dataset {view._root_dataset.name!r}, the index of {dataset.name!r}: pass "
            "a view of that dataset"
        )
    check_field(dataset, field)
    view = images_of(view)
    if field not in view.get_field_schema():
        samples = view.distinct("sample_id") if view._is_generated else view.values("id")
        view = images_of(dataset).select(samples)
    _, path = view._get_label_field_path(field, "id")
    ids = view.values(path, unwind=True)
    return [label_id for label_id in ids if label_id is not None]


def label_region(label: Any) -> Region:
    """The region of one FiftyOne label.

    Raises:
        RegionError: if its box, mask or points are unusable
    """
    import fiftyone as fo

    if isinstance(label, fo.Polyline):
        return _polyline_region(label)
    if label.mask is not None:
        return Region.from_mask(label.mask, box=label.bounding_box)
    if label.mask_path is not None:
        return Region.from_mask(_mask_file(label.mask_path), box=label.bounding_box)
    return Region.from_box(label.bounding_box or [])


def stray_rings(label: Any, region: Region) -> int:
    """How many rings of a label its region leaves out, because they have less than three points."""
    return len(label.points) - len(region.rings) if region.rings else 0


def _mask_file(path: str) -> np.ndarray:
    try:
        return open_mask(path)
    except ImageError as error:
        raise RegionError(f"mask {error}; write the mask again, or clear it") from error


def _polyline_region(label: Any) -> Region:
    if label.filled and any(label.points or ()):
        return Region.from_polygon(label.points)
    rings = read_rings(label.points or (), least=1)
    if not rings:
        raise RegionError("polyline has no points")
    points = np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Region.from_box([left, top, max(right - left, 1e-6), max(bottom - top, 1e-6)])
