"""Makes masks with Segment Anything: for the boxes of a field, or of everything in a picture.

The module is not called ``segment``: importing it would hide the function of that name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.labels import (
    PATCHABLE,
    FieldError,
    active_images,
    check_field,
    label_region,
    labels_of,
)
from alphaclip.indexing.dataset.skipped import Skipped
from alphaclip.indexing.masks.mask_fields import MaskReport, digest, prepare_field
from alphaclip.indexing.masks.materializing import segmentation_fields
from alphaclip.indexing.masks.segmenters import Found, Job, Prompt, Segmenter, open_segmenter
from alphaclip.indexing.progress import Progress, shown
from alphaclip.sam.masks import AUTOMATIC_LIMITS, PROMPTED_LIMITS, MaskLimits, SamMask, judge
from alphaclip.sam.sam import SamModel

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

AUTOMATIC = "automatic"
"""The ``source`` of masks that no label asked for."""


def segment(
    samples: fo.SampleCollection,
    field: str | None = None,
    into: str = "masks",
    model: str | Path | SamModel = "auto",
    limits: MaskLimits | None = None,
    points_per_side: int = 32,
    overwrite: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> MaskReport:
    """Makes masks and writes them into a field of Detections.

    With a field, each of its boxes gives one mask with the box's ``label``, its id as
    ``source_id`` and the field's name as ``source``. Without one, SAM finds what there is:
    ``label`` is None and ``source`` is "automatic". ``quality`` is the IoU that SAM predicts.

    Samples are saved one by one, so a job that was interrupted goes on where it was when it is
    run again. Labels that were added or edited since then get new masks, those of labels that are
    gone are dropped, and nothing else changes. Pictures that cannot be read are reported, and
    tried again next time.

    Args:
        samples: a dataset or view of images; of a grouped dataset, the active slice
        field (None): Detections, Detection, Polylines or Polyline, whose boxes are the prompts
        into: the field to write; made here, or made by an earlier run with the same settings
        model: see :func:`alphaclip.sam.sam.load_sam`; or the name of a SAM or SAM 2 of FiftyOne's
            zoo, as ``segment-anything-vitb-torch``
        limits (None): which masks are kept; None is ``PROMPTED_LIMITS`` or ``AUTOMATIC_LIMITS``
        points_per_side (32): of the grid that automatic masks start from; the zoo has its own
        overwrite (False): empty the field first, in all samples
        device (None): see :func:`alphaclip.sam.sam.load_sam`
        progress (None): told how far it is; None shows a bar in the terminal

    Returns:
        what was done

    Raises:
        AlphaClipError: if the field holds no regions or is empty, ``into`` is taken, the model
            cannot be had, or the samples are no images
    """
    started = time.monotonic()
    images = active_images(samples)
    _check(images, field, into)
    limits = limits or (AUTOMATIC_LIMITS if field is None else PROMPTED_LIMITS)
    segmenter = open_segmenter(model, images, limits, points_per_side, device)
    settings = _settings(segmenter, field, limits, points_per_side)
    prepare_field(samples._dataset, into, settings, overwrite)
    report = MaskReport(into)
    with shown(progress) as show, closing(segmenter):
        _segment_all(images, field, segmenter, limits, report, show)
    report.seconds = round(time.monotonic() - started, 1)
    logger.info("%s: %d masks added, %d skipped", into, report.added, len(report.skipped))
    return report


def _check(images: fo.SampleCollection, field: str | None, into: str) -> None:
    if field is None:
        return
    if field in segmentation_fields(images):
        raise FieldError(
            f"field {field!r} is a Segmentation, which has masks already: "
            f"indexing.materialize(dataset, {field!r}, into=...) makes regions of them"
        )
    kind = check_field(images, field)
    if into == field:
        raise FieldError(f"the masks cannot go into {field!r}, whose boxes they are made of")
    path = f"{field}.{kind.lower()}" if kind in PATCHABLE else field
    if not images.count(path):
        raise FieldError(f"field {field!r} holds no labels in these {len(images)} samples")


def _settings(
    segmenter: Segmenter, field: str | None, limits: MaskLimits, points_per_side: int
) -> dict[str, Any]:
    settings = {"kind": "sam", "model": segmenter.name, "field": field, "limits": asdict(limits)}
    return settings if field else {**settings, "points_per_side": points_per_side}


def _segment_all(
    images: fo.SampleCollection,
    field: str | None,
    segmenter: Segmenter,
    limits: MaskLimits,
    report: MaskReport,
    show: Progress,
) -> None:
    total = len(images)
    show("pictures segmented", 0, total)
    for jobs in _batches(_jobs(images, field, report, show), segmenter.batch):
        for found in segmenter.find(jobs):
            _take(found, field, limits, report)
            report.samples += 1
            show("pictures segmented", report.samples, total)


def _jobs(
    images: fo.SampleCollection, field: str | None, report: MaskReport, show: Progress
) -> Iterator[Job]:
    """The samples of which something is not done yet, with the labels that have no mask yet."""
    total = len(images)
    fields = [report.into] if field is None else [field, report.into]
    for sample in images.select_fields(fields).iter_samples():
        prompts = None if field is None else _prompts(sample, field, report)
        if _is_done(sample[report.into], prompts):
            report.samples += 1
            report.done_before += 1
            show("pictures segmented", report.samples, total)
            continue
        yield Job(sample, prompts)


def _prompts(sample: Any, field: str, report: MaskReport) -> list[Prompt]:
    prompts = []
    for label in labels_of(sample[field]):
        try:
            region = label_region(label)
        except RegionError as error:
            report.skipped.append(Skipped(sample.filepath, str(label.id), str(error)))
            continue
        content = digest([region.digest(), label.label])
        prompts.append(Prompt(str(label.id), label.label, region, content))
    return prompts


def _is_done(value: fo.Detections | None, prompts: list[Prompt] | None) -> bool:
    if value is None or prompts is None:
        return value is not None
    return getattr(value, "made_from", None) == _made_from(prompts)


def _made_from(prompts: list[Prompt] | None) -> str:
    if prompts is None:
        return AUTOMATIC
    return digest(sorted((prompt.label_id, prompt.digest) for prompt in prompts))


def _batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    stream = iter(jobs)
    while batch := list(islice(stream, size)):
        yield batch


def _take(found: Found, field: str | None, limits: MaskLimits, report: MaskReport) -> None:
    """Writes the masks of one sample that are kept; of a broken picture, nothing."""
    import fiftyone as fo

    sample, prompts = found.job.sample, found.job.prompts
    for label_id, reason in found.failures:
        report.skipped.append(Skipped(sample.filepath, label_id, reason))
    if any(not label_id for label_id, _ in found.failures):
        return
    known = _known(sample[report.into], prompts)
    detections = []
    for mask, prompt in _kept(found, limits, report):
        earlier = known.get((prompt.label_id, prompt.digest)) if prompt else None
        detections.append(earlier or _detection(mask, prompt, field))
        report.kept += earlier is not None
        report.added += earlier is None
    made_from = _made_from(prompts)
    sample[report.into] = fo.Detections(detections=detections, made_from=made_from)
    sample.save()


def _known(value: fo.Detections | None, prompts: list[Prompt] | None) -> dict[Any, fo.Detection]:
    """The masks of an earlier run, by the label that each was made for, as it was then."""
    if value is None or prompts is None:
        return {}
    return {
        (getattr(mask, "source_id", None), getattr(mask, "source_digest", None)): mask
        for mask in value.detections
    }


def _kept(
    found: Found, limits: MaskLimits, report: MaskReport
) -> Iterator[tuple[SamMask, Prompt | None]]:
    groups = [prompt.label if prompt else None for _, prompt in found.masks]
    verdicts = judge([mask for mask, _ in found.masks], limits, groups)
    for (mask, prompt), verdict in zip(found.masks, verdicts, strict=True):
        if verdict == "kept":
            yield mask, prompt
        else:
            report.drop(verdict)


def _detection(mask: SamMask, prompt: Prompt | None, field: str | None) -> fo.Detection:
    import fiftyone as fo

    source: dict[str, Any] = {"source": AUTOMATIC}
    if prompt is not None:
        source = {
            "source": field,
            "source_id": prompt.label_id,
            "source_digest": prompt.digest,
        }
    return fo.Detection(
        label=prompt.label if prompt else None,
        bounding_box=mask.relative_box,
        mask=mask.mask,
        quality=mask.quality,
        **source,
    )
