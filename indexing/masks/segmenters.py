"""What finds masks in pictures: a SAM of our own loading, or one of FiftyOne's zoo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphaclip.catalog.choices import Choice
from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.indexing.dataset.labels import Skipped, label_region
from alphaclip.indexing.word_detectors import SAM_3, load_zoo_model
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.sam.checkpoints import sam_choices
from alphaclip.sam.masks import MaskLimits, SamMask, crop_mask
from alphaclip.sam.sam import WORKING_SIDE, SamModel, automatic_masks, load_sam, masks_for_boxes

if TYPE_CHECKING:
    import fiftyone as fo

ZOO_PREFIXES = ("segment-anything-", "med-sam")
"""How the names of FiftyOne's zoo models begin that take boxes and give masks."""

PROMPTS, MASKS = "alphaclip_prompts_tmp", "alphaclip_masks_tmp"
"""Fields that exist only while a zoo model runs."""


@dataclass(frozen=True)
class Prompt:
    """A label, or what a detector found, whose box is to be filled with a mask.

    Attributes:
        label_id: of the label; of what was found, a name that only the job knows
        label: its class, or the concept
        region: of the label
        digest: of region and class
        confidence: of the detector; None of a label
    """

    label_id: str
    label: str | None
    region: Region
    digest: str
    confidence: float | None = None


@dataclass(frozen=True)
class Job:
    """A sample to be segmented.

    Attributes:
        sample: a FiftyOne sample
        prompts: the labels whose boxes are prompts; None for automatic masks
    """

    sample: Any
    prompts: list[Prompt] | None


@dataclass(frozen=True)
class Segmented:
    """The masks of a sample.

    Attributes:
        job: what they are of
        masks: a mask and, where there are prompts, which of them it belongs to
        skipped: what gave nothing, and why
    """

    job: Job
    masks: list[tuple[SamMask, Prompt | None]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, label_id: str, reason: object) -> None:
        """Notes what gave nothing: a label, or the picture if the id is empty."""
        self.skipped.append(Skipped(self.job.sample.filepath, label_id, str(reason)))


class Segmenter(Protocol):
    """Finds masks.

    Attributes:
        name: of the model
        batch: how many samples it likes to be given at a time
    """

    name: str
    batch: int

    def find(self, jobs: Sequence[Job]) -> Iterator[Segmented]:
        """The masks of some samples, in order."""

    def close(self) -> None:
        """Clears up."""


def open_segmenter(
    model: str | Path | SamModel,
    samples: fo.SampleCollection,
    limits: MaskLimits,
    points_per_side: int,
    device: str | None,
    automatic: bool = False,
) -> Segmenter:
    """Loads a model by name: one of FiftyOne's zoo, or what `alphaclip.sam.sam.load_sam` takes.

    Raises:
        AlphaClipError: if there is no such model, it cannot be loaded, or it makes no ``automatic``
            masks
    """
    if not isinstance(model, SamModel) and str(model).startswith(ZOO_PREFIXES):
        if automatic and str(model).startswith(SAM_3):
            raise AlphaClipError(
                f"{model} makes masks for boxes, not of everything in a picture: name a field "
                "whose boxes are filled, or concepts, or take sam-vit-b"
            )
        return ZooSegmenter(str(model), samples)
    return SamSegmenter(load_sam(model, device), limits, points_per_side)


def segmenter_choices() -> list[Choice]:
    """The models that may be chosen, see `alphaclip.sam.checkpoints.sam_choices`; with those of
    FiftyOne's zoo that a user has downloaded."""
    import fiftyone.zoo as foz

    names = sorted(foz.list_downloaded_zoo_models())
    of_zoo = [name for name in names if name.startswith(ZOO_PREFIXES) and "-video-" not in name]
    stated = "stated in FiftyOne's zoo"
    zoo = [Choice(name, "of FiftyOne's zoo", stated, None, installed=True) for name in of_zoo]
    return sorted([*sam_choices(), *zoo], key=lambda choice: not choice.installed)


class SamSegmenter:
    """Masks by :mod:`alphaclip.sam.sam`."""

    batch = 1

    def __init__(self, model: SamModel, limits: MaskLimits, points_per_side: int) -> None:
        self.name = model.name
        self._model, self._limits, self._points = model, limits, points_per_side

    def find(self, jobs: Sequence[Job]) -> Iterator[Segmented]:
        """See :class:`Segmenter`."""
        for job in jobs:
            result = Segmented(job)
            path = job.sample.filepath
            try:
                if job.prompts is None:
                    masks = automatic_masks(self._model, path, self._limits, self._points)
                    result.masks.extend((mask, None) for mask in masks)
                else:
                    pixels = open_image(path)
                    prompts, boxes = _boxes(result, *pixels.shape[:2])
                    masks = masks_for_boxes(self._model, pixels, boxes)
                    result.masks.extend(zip(masks, prompts, strict=True))
            except ImageError as error:
                result.skip("", error)
            yield result

    def close(self) -> None:
        """Nothing to clear up."""


class DetectorMasks:
    """What a detector has drawn itself: the outlines that come as prompts."""

    batch = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def find(self, jobs: Sequence[Job]) -> Iterator[Segmented]:
        """See :class:`Segmenter`."""
        for job in jobs:
            result = Segmented(job)
            try:
                size = _working_size(open_image(job.sample.filepath))
                for prompt in job.prompts or []:
                    result.masks.append((_mask_of(prompt.region, size), prompt))
            except ImageError as error:
                result.skip("", error)
            yield result

    def close(self) -> None:
        """Nothing to clear up."""


class ZooSegmenter:
    """Masks by a SAM or SAM 2 of FiftyOne's model zoo, through ``apply_model``.

    Prompts and masks pass through two fields that are deleted again.
    """

    batch = 16
    """Of samples: the model runs on one at a time, but each call makes and clears two fields."""

    def __init__(self, name: str, samples: fo.SampleCollection) -> None:
        options = {"operation_mode": "visual"} if name.startswith(SAM_3) else {}
        self._model = load_zoo_model(name, **options)
        self.name = name
        self._samples, self._dataset = samples, samples._dataset
        self.close()

    def find(self, jobs: Sequence[Job]) -> Iterator[Segmented]:
        """See :class:`Segmenter`."""
        import fiftyone as fo

        results = [Segmented(job) for job in jobs]
        sizes: dict[str, tuple[int, int]] = {}
        boxes: dict[str, fo.Detections] = {}
        for result in results:
            sample = result.job.sample
            try:
                image = open_image(sample.filepath)
            except ImageError as error:
                result.skip("", error)
                continue
            # The model gives back the class of each box: its label's id says which it was
            pairs = zip(*_boxes(result, *image.shape[:2]), strict=True)
            drawn = [fo.Detection(label=one.label_id, bounding_box=box) for one, box in pairs]
            if drawn or result.job.prompts is None:
                sizes[sample.id] = _working_size(image)
                boxes[sample.id] = fo.Detections(detections=drawn)
        answers = self._apply(boxes, jobs[0].prompts is not None) if boxes else {}
        for result in results:
            if result.job.sample.id in sizes:
                _read(result, answers[result.job.sample.id], sizes[result.job.sample.id])
            yield result

    def close(self) -> None:
        """Deletes the two fields, also those that an interrupted run has left."""
        for name in (PROMPTS, MASKS):
            if self._dataset.has_sample_field(name):
                self._dataset.delete_sample_field(name)

    def _apply(
        self, boxes: Mapping[str, fo.Detections], is_prompted: bool
    ) -> dict[str, fo.Detections | None]:
        """The model's own answers, by sample id."""
        import fiftyone as fo

        for name in (PROMPTS, MASKS):
            if not self._dataset.has_sample_field(name):
                self._dataset.add_sample_field(
                    name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
                )
        view, options = self._samples.select(list(boxes)), {}
        if is_prompted:
            view.set_values(PROMPTS, boxes, key_field="id")
            options = {"prompt_field": PROMPTS}
        view.apply_model(
            self._model, label_field=MASKS, skip_failures=True, progress=False, **options
        )
        ids, values = view.values(["id", MASKS])
        for name in (PROMPTS, MASKS):
            self._dataset.clear_sample_field(name)
        return dict(zip(ids, values, strict=True))


def _read(result: Segmented, answer: fo.Detections | None, size: tuple[int, int]) -> None:
    """Takes the masks that a zoo model gave, at the size that SAM works with."""
    if answer is None:
        result.skip("", "the zoo model gave nothing; FiftyOne's log says why")
        return
    prompts = {prompt.label_id: prompt for prompt in result.job.prompts or []}
    for detection in answer.detections:
        prompt = prompts.get(detection.label)
        try:
            quality = 1.0 if detection.confidence is None else float(detection.confidence)
            result.masks.append((_mask_of(label_region(detection), size, quality), prompt))
        except RegionError as error:
            result.skip(prompt.label_id if prompt else "", error)


def _working_size(image: np.ndarray) -> tuple[int, int]:
    """Height and width of the masks of a picture: those that SAM works with."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _mask_of(region: Region, size: tuple[int, int], quality: float = 1.0) -> SamMask:
    return crop_mask(np.asarray(region.alpha_map(*size) > 127), quality)


def _boxes(result: Segmented, height: int, width: int) -> tuple[list[Prompt], list[list[float]]]:
    """The prompts that lie in the picture, and the box of each; the others are skipped.

    A box stays as it was drawn; of another region it goes round the pixels that it covers.
    """
    prompts, boxes = [], []
    for prompt in result.job.prompts or []:
        region = prompt.region
        try:
            left, top, right, bottom = region.bounds(height, width)
        except RegionError as error:
            result.skip(prompt.label_id, error)
            continue
        box = [left / width, top / height, (right - left) / width, (bottom - top) / height]
        boxes.append(list(region.box) if region.box and region.mask is None else box)
        prompts.append(prompt)
    return prompts, boxes
