"""Makes masks with Segment Anything: for the boxes of a field, or of everything in a picture.

The module is not called ``segment``: importing it would hide the function of that name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.indexing.dataset.labels import (
    PATCHABLE,
    FieldError,
    Skipped,
    active_images,
    check_field,
    count_samples,
    label_region,
    labels_of,
)
from alphaclip.indexing.masks.concept_boxes import open_finder
from alphaclip.indexing.masks.mask_fields import (
    MaskReport,
    digest,
    fill_field,
    prepare_field,
    write_masks,
)
from alphaclip.indexing.masks.materializing import segmentation_fields
from alphaclip.indexing.masks.segmenters import (
    DetectorMasks,
    Job,
    Prompt,
    Segmented,
    Segmenter,
    open_segmenter,
)
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.word_detectors import draws_masks
from alphaclip.sam.masks import AUTOMATIC_LIMITS, PROMPTED_LIMITS, MaskLimits, SamMask, judge
from alphaclip.sam.sam import SamModel

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

AUTOMATIC = "automatic"
"""The ``source`` of masks that no label asked for."""


@checked(points_per_side=COUNT)
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
    concepts: Sequence[str] = (),
    detector: str | Path | None = None,
    least_score: float = 0.35,
) -> MaskReport:
    """Makes masks and writes them into a field of Detections.

    With a field, each of its boxes gives one mask with the box's ``label``, its id as
    ``source_id`` and the field's name as ``source``. With concepts, a detector looks for them, and
    what it finds gets masks: ``label`` is the concept, ``confidence`` the detector's score and
    ``source`` the detector; what overlaps a label of another field is left out. Without either,
    SAM finds what there is: ``label`` is None and ``source`` is "automatic". ``quality`` is the
    IoU that SAM predicts; 1 where the detector has drawn the mask, as SAM 3 and YOLOE of FiftyOne's
    zoo do unless another model is named.

    Samples are saved one by one, so a job that was interrupted goes on where it was when it is
    run again. Labels that were added or edited since then get new masks, those of labels that are
    gone are dropped, and nothing else changes. Pictures that cannot be read are reported, and
    tried again next time.

    Args:
        samples: a dataset or view of images; of a grouped dataset, the active slice
        field (None): Detections, Detection, Polylines or Polyline, whose boxes are the prompts
        into: the field to write; made here, or made by an earlier run with the same settings
        model: see :func:`alphaclip.sam.sam.load_sam`; or the name of a SAM of FiftyOne's zoo, as
            ``segment-anything-vitb-torch``
        limits (None): which masks are kept; None is ``PROMPTED_LIMITS`` or ``AUTOMATIC_LIMITS``
        points_per_side (32): of the grid that automatic masks start from; the zoo has its own
        overwrite (False): empty the field first, in all samples
        device (None): see :func:`alphaclip.sam.sam.load_sam`
        progress (None): told how far it is; None shows a bar in the terminal
        concepts (none): words to look for, such as ``["excavator", "hard hat"]``
        detector (None): see :func:`alphaclip.indexing.word_detectors.open_detector`; None
            takes the model, if it takes words, or one that is on this machine
        least_score (0.35): of the detector, in [0, 1]

    Returns:
        what was done

    Raises:
        AlphaClipError: if the field holds no regions or is empty, ``into`` is taken, a model
            cannot be had, or the samples are no images
    """
    images = active_images(samples)
    _check(images, field, into)
    if field is not None and concepts:
        raise AlphaClipError("masks are made for the boxes of a field, or of concepts: not both")
    finder = None
    if concepts:
        named = "auto" if isinstance(model, SamModel) or not draws_masks(model) else model
        detector = detector or named
        finder = open_finder(images, into, concepts, detector, least_score, device)
    automatic = field is None and finder is None
    limits = limits or (AUTOMATIC_LIMITS if automatic else PROMPTED_LIMITS)
    segmenter: Segmenter
    if finder and finder.draws and model in ("auto", detector):
        segmenter = DetectorMasks(finder.detector.name)
    else:
        segmenter = open_segmenter(model, images, limits, points_per_side, device, automatic)
    settings: dict[str, Any] = {"kind": "sam", "model": segmenter.name, "field": field}
    settings |= {"limits": asdict(limits)}
    settings |= {"points_per_side": points_per_side} if automatic else {}
    if finder:
        settings |= {"concepts": list(finder.concepts), "detector": finder.detector.name}
    prepare_field(samples._dataset, into, settings, overwrite)
    report = MaskReport(into)

    def prepare(sample: Any) -> Job | None:
        prompts = None if field is None else _prompts(sample, field, report)
        if _is_done(sample[into], prompts):
            report.done_before += 1
            return None
        if finder is not None:
            prompts = finder.prompts(sample, report)
            return None if prompts is None else Job(sample, prompts)
        return Job(sample, prompts)

    source = field or (finder.name if finder else AUTOMATIC)

    def make(jobs: Sequence[Job]) -> Iterator[None]:
        for segmented in segmenter.find(jobs):
            _take(segmented, source, limits, report)
            yield

    read = finder.others if finder else [field] if field else []
    with closing(segmenter):
        what = "pictures segmented"
        fill_field(images, read, report, what, prepare, make, progress, segmenter.batch)
    logger.info("%s: %d masks added, %d skipped", into, report.added, len(report.skipped))
    return report


@dataclass(frozen=True)
class Trial:
    """What segmenting one picture leads to.

    Attributes:
        sample_id: of the picture
        filepath: of the picture
        masks: that would be written
        report: what was left out, and how long it took without loading the model
        pictures: how many there are in all
    """

    sample_id: str
    filepath: str
    masks: list[fo.Detection]
    report: MaskReport
    pictures: int


@checked(points_per_side=COUNT)
def segment_one(
    samples: fo.SampleCollection,
    field: str | None = None,
    model: str | Path | SamModel = "auto",
    limits: MaskLimits | None = None,
    points_per_side: int = 32,
    sample_id: str | None = None,
    device: str | None = None,
) -> Trial:
    """Makes the masks of one picture as :func:`segment` would, and writes nothing: to try settings.

    Args:
        samples, field, model, limits, points_per_side, device: see :func:`segment`
        sample_id (None): of the picture; None takes the first, of those with labels in the field

    Raises:
        AlphaClipError: see :func:`segment`; or there is no such picture
    """
    images = active_images(samples)
    _check(images, field, "")
    limits = limits or (AUTOMATIC_LIMITS if field is None else PROMPTED_LIMITS)
    chosen = images if sample_id is None else images.select(sample_id)
    labelled = (one for one in chosen if field is None or labels_of(one[field]))
    sample = next(labelled, None)
    if sample is None:
        raise FieldError("there is no such picture here, or it has no labels to make masks of")
    report = MaskReport("", samples=1)
    prompts = None if field is None else _prompts(sample, field, report)
    options = (limits, points_per_side, device, field is None)
    with closing(open_segmenter(model, images, *options)) as segmenter:
        started = time.monotonic()
        (segmented,) = segmenter.find([Job(sample, prompts)])
        masks = _kept(segmented, field or AUTOMATIC, limits, report) or []
    report.added, report.seconds = len(masks), round(time.monotonic() - started, 1)
    return Trial(str(sample.id), sample.filepath, masks, report, count_samples(images))


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
        raise FieldError(
            f"field {field!r} holds no labels in these {count_samples(images)} samples"
        )


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


def _take(segmented: Segmented, source: str, limits: MaskLimits, report: MaskReport) -> None:
    """Writes the masks of one sample that are good enough; of a broken picture, nothing."""
    sample, prompts = segmented.job.sample, segmented.job.prompts
    masks = _kept(segmented, source, limits, report)
    if masks is not None:
        alike = () if prompts is None else ("source_id", "source_digest")
        write_masks(sample, masks, _made_from(prompts), alike, report)


def _kept(
    segmented: Segmented, source: str, limits: MaskLimits, report: MaskReport
) -> list[fo.Detection] | None:
    """The masks of one sample that are good enough; None of a broken picture."""
    report.skipped += segmented.skipped
    if any(not skipped.label_id for skipped in segmented.skipped):
        return None
    groups = [prompt.label if prompt else None for _, prompt in segmented.masks]
    verdicts = judge([mask for mask, _ in segmented.masks], limits, groups)
    detections = []
    for (mask, prompt), verdict in zip(segmented.masks, verdicts, strict=True):
        if verdict == "kept":
            detections.append(_detection(mask, prompt, source))
        else:
            report.drop(verdict)
    return detections


def _detection(mask: SamMask, prompt: Prompt | None, source: str) -> fo.Detection:
    import fiftyone as fo

    details: dict[str, Any] = {}
    if prompt is not None and prompt.confidence is not None:
        details = {"confidence": prompt.confidence}
    elif prompt is not None:
        details = {"source_id": prompt.label_id, "source_digest": prompt.digest}
    return fo.Detection(
        label=prompt.label if prompt else None,
        bounding_box=mask.relative_box,
        mask=mask.mask,
        quality=mask.quality,
        source=source,
        **details,
    )
