"""From semantic segmentation to regions: each connected part of a class becomes a Detection.

The parts of a Segmentation have no ids of their own, so they are made once, into a field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError, Skipped, active_images, count_samples
from alphaclip.indexing.masks.mask_fields import (
    MaskReport,
    digest,
    fill_field,
    prepare_field,
    write_masks,
)
from alphaclip.indexing.progress import Progress
from alphaclip.regions.images import FORMATS
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo


def segmentation_fields(samples: fo.SampleCollection) -> list[str]:
    """The names of the fields of type Segmentation."""
    import fiftyone as fo

    return [
        name
        for name, schema in samples.get_field_schema().items()
        if isinstance(schema, fo.EmbeddedDocumentField) and schema.document_type is fo.Segmentation
    ]


@checked()
def materialize(
    samples: fo.SampleCollection,
    field: str,
    into: str,
    min_area: float = 0.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MaskReport:
    """Makes a Detection with a mask of each connected part of each class of a segmentation.

    ``label`` is the class: its name in the dataset's mask targets, else its pixel value (of an
    RGB mask, its hex colour; of a file with a palette, its number there). Every value but 0 is a
    class, negative ones too; 0 and, in an RGBA mask, what is transparent are background. ``source``
    is the field's name. Run again, it changes nothing but what has been edited since: parts that
    are as they were keep their Detection.

    Args:
        samples: a dataset or view of images; of a grouped dataset, the active slice
        field: a field of Segmentation, with masks in the database or on disk
        into: the field of Detections to make
        min_area (0): smaller parts are left out; a share of the picture
        overwrite (False): empty the field first, in all samples
        progress (None): told how far it is; None shows a bar in the terminal

    Returns:
        what was done

    Raises:
        AlphaClipError: if the field is no segmentation, no sample has one, the name is taken, or
            the samples are no images
    """
    images = active_images(samples)
    _check(images, field, min_area)
    dataset = samples._dataset
    settings = {"kind": "components", "field": field, "min_area": min_area}
    prepare_field(dataset, into, settings, overwrite)
    report = MaskReport(into)
    targets = dict(dataset.mask_targets.get(field) or dataset.default_mask_targets or {})

    def make(samples: Sequence[Any]) -> Iterator[None]:
        for sample in samples:
            _take(sample, field, targets, min_area, report)
            yield

    what = "segmentations taken apart"
    fill_field(images, [field], report, what, lambda sample: sample, make, progress)
    return report


def _check(images: fo.SampleCollection, field: str, min_area: float) -> None:
    fields = segmentation_fields(images)
    if field not in fields:
        raise FieldError(
            f"dataset {images._dataset.name!r} has no Segmentation field {field!r}; it has: "
            f"{', '.join(fields) or 'none'}"
        )
    if not 0 <= min_area < 1:
        raise AlphaClipError(f"min_area is {min_area}: expected a share of the picture, in [0, 1)")
    if not images.count(field):
        raise FieldError(f"field {field!r} is empty in all {count_samples(images)} samples")


def _take(
    sample: Any, field: str, targets: Mapping[Any, str], min_area: float, report: MaskReport
) -> None:
    segmentation = sample[field]
    if segmentation is None:
        return
    segmentation = _as_classes(segmentation, targets)
    try:
        mask = _read(segmentation)
        classes, is_rgb = _classes(mask)
    except AlphaClipError as error:
        report.skipped.append(Skipped(sample.filepath, str(segmentation.id), str(error)))
        return
    names = sorted(map(repr, targets.items()))
    made_from = digest([mask.shape, str(mask.dtype), mask.tobytes(), names])
    old = sample[report.into]
    if old is not None and getattr(old, "made_from", None) == made_from:
        report.done_before += 1
        return
    parts = []
    for value, part in _parts(classes):
        if part.mask.sum() < min_area * classes.size:
            report.drop("area")
            continue
        part.label = _class_name(value, is_rgb, targets)
        part.bounding_box = [float(value) for value in part.bounding_box]
        part["source"] = field
        part["source_digest"] = Region.from_mask(part.mask, box=part.bounding_box).digest()
        parts.append(part)
    write_masks(sample, parts, made_from, ("label", "source_digest"), report)


def _as_classes(segmentation: fo.Segmentation, targets: Mapping[Any, str]) -> fo.Segmentation:
    """Of a picture with a palette, as Pascal VOC has them, the numbers that stand for classes.

    FiftyOne reads its colours, which have no names unless the mask targets are colours.
    """
    from PIL import Image

    path = None if segmentation.mask is not None else segmentation.mask_path
    if path is None or any(str(key).startswith("#") for key in targets):
        return segmentation
    with suppress(OSError, ValueError), Image.open(path, formats=FORMATS) as image:
        if image.mode == "P":
            segmentation = segmentation.copy()
            segmentation.mask, segmentation.mask_path = np.array(image), None
    return segmentation


def _read(segmentation: fo.Segmentation) -> np.ndarray:
    try:
        mask = segmentation.get_mask()
    except Exception as error:  # OpenCV, which reads the files, has errors of its own
        raise AlphaClipError(
            f"mask {segmentation.mask_path or ''} cannot be read ({error}): write it again"
        ) from error
    if mask is None or not mask.size:
        raise AlphaClipError("segmentation has no mask")
    return np.asarray(mask)


def _classes(mask: np.ndarray) -> tuple[np.ndarray, bool]:
    """The class of each pixel, a whole number (H, W), 0 being none; and whether it is a colour."""
    values = mask
    if mask.dtype.kind == "f" and np.abs(mask).max() < 2**53 and (mask == mask.round()).all():
        values = mask.astype(np.int64)
    if values.dtype.kind in "biu" and values.ndim == 2:
        return values, False
    if values.dtype.kind in "biu" and values.ndim == 3:
        if values.shape[2] in (3, 4):
            colors = values[..., :3].astype(np.int64) @ (1 << 16, 1 << 8, 1)
            return np.where(values[..., 3:].all(axis=2), colors, 0), True
        if 1 in (values.shape[0], values.shape[2]):
            return values.squeeze(2 if values.shape[2] == 1 else 0), False
    raise AlphaClipError(
        f"mask has shape {mask.shape} and dtype {mask.dtype}: expected whole numbers, (height, "
        "width), or (height, width, 3) or (height, width, 4) for colours"
    )


def _parts(classes: np.ndarray) -> Iterator[tuple[int, fo.Detection]]:
    """Each connected part and its class; FiftyOne itself takes classes above 0 apart only."""
    import fiftyone as fo

    values = np.unique(classes[classes != 0])
    numbers = (np.searchsorted(values, classes) + 1) * (classes != 0)
    for part in fo.Segmentation(mask=numbers).to_detections(mask_types="thing").detections:
        yield int(values[int(part.label) - 1]), part


def _class_name(value: int, is_rgb: bool, targets: Mapping[Any, str]) -> str:
    if not is_rgb:
        return str(targets.get(value, value))
    color = f"#{value:06x}"
    return str(targets.get(color, targets.get(color.upper(), color)))
