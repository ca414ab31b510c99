"""What finds masks in pictures: a SAM of our own loading, or one of FiftyOne's zoo."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphaclip.errors import (
    AlphaClipError,
    ImageError,
    MissingWeightsError,
    ModelNotFoundError,
    RegionError,
)
from alphaclip.indexing.dataset.labels import label_region
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.sam.masks import MaskLimits, SamMask, crop_mask
from alphaclip.sam.sam import WORKING_SIDE, SamModel, automatic_masks, load_sam, masks_for_boxes

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

ZOO_PREFIXES = ("segment-anything-", "med-sam")
"""How the names of FiftyOne's zoo models begin that take boxes and give masks."""

PROMPTS, MASKS = "alphaclip_prompts_tmp", "alphaclip_masks_tmp"
"""Fields that exist only while a zoo model runs."""


@dataclass(frozen=True)
class Prompt:
    """A label whose box is to be filled with a mask.

    Attributes:
        label_id: of the label
        label: its class
        region: of the label
        digest: of region and class
    """

    label_id: str
    label: str | None
    region: Region
    digest: str


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
class Found:
    """What was found in a sample.

    Attributes:
        job: what was asked
        masks: a mask and, where there are prompts, which of them it belongs to
        failures: label ids (empty for the picture itself) and why they gave nothing
    """

    job: Job
    masks: list[tuple[SamMask, Prompt | None]]
    failures: list[tuple[str, str]]


class Segmenter(Protocol):
    """Finds masks.

    Attributes:
        name: of the model
        batch: how many samples it likes to be given at a time
    """

    name: str
    batch: int

    def find(self, jobs: Sequence[Job]) -> Iterator[Found]:
        """The masks of some samples, in order."""

    def close(self) -> None:
        """Clears up."""


def open_segmenter(
    model: str | Path | SamModel,
    samples: fo.SampleCollection,
    limits: MaskLimits,
    points_per_side: int,
    device: str | None,
) -> Segmenter:
    """Loads a model by name: one of FiftyOne's zoo, or what `alphaclip.sam.sam.load_sam` takes.

    Raises:
        AlphaClipError: if there is no such model, or it cannot be loaded
    """
    if not isinstance(model, SamModel) and str(model).startswith(ZOO_PREFIXES):
        return ZooSegmenter(str(model), samples)
    return SamSegmenter(load_sam(model, device), limits, points_per_side)


class SamSegmenter:
    """Masks by :mod:`alphaclip.sam.sam`."""

    batch = 1

    def __init__(self, model: SamModel, limits: MaskLimits, points_per_side: int) -> None:
        self.name = model.name
        self._model, self._limits, self._points = model, limits, points_per_side

    def find(self, jobs: Sequence[Job]) -> Iterator[Found]:
        """See :class:`Segmenter`."""
        for job in jobs:
            try:
                yield self._automatic(job) if job.prompts is None else self._prompted(job)
            except ImageError as error:
                yield Found(job, [], [("", str(error))])

    def close(self) -> None:
        """Nothing to clear up."""

    def _automatic(self, job: Job) -> Found:
        masks = automatic_masks(self._model, job.sample.filepath, self._limits, self._points)
        return Found(job, [(mask, None) for mask in masks], [])

    def _prompted(self, job: Job) -> Found:
        pixels = open_image(job.sample.filepath)
        prompts, boxes, failures = _boxes(job, *pixels.shape[:2])
        masks = masks_for_boxes(self._model, pixels, boxes)
        return Found(job, list(zip(masks, prompts, strict=True)), failures)


class ZooSegmenter:
    """Masks by a SAM or SAM 2 of FiftyOne's model zoo, through ``apply_model``.

    Prompts and masks pass through two fields that are deleted again.
    """

    batch = 16

    def __init__(self, name: str, samples: fo.SampleCollection) -> None:
        self._model = _load_zoo_model(name)
        self.name = name
        self._samples, self._dataset = samples, samples._dataset
        self.close()

    def find(self, jobs: Sequence[Job]) -> Iterator[Found]:
        """See :class:`Segmenter`."""
        prepared = [_prepare(job) for job in jobs]
        outputs = self._apply([ready for ready in prepared if ready.is_asked])
        for ready in prepared:
            yield _read(ready, outputs.get(str(ready.job.sample.id)))

    def close(self) -> None:
        """Deletes the two fields, also those that an interrupted run has left."""
        for name in (PROMPTS, MASKS):
            if self._dataset.has_sample_field(name):
                self._dataset.delete_sample_field(name)

    def _apply(self, asked: list[_Ready]) -> dict[str, fo.Detections | None]:
        """The model's own answers, by sample id."""
        if not asked:
            return {}
        self._add_fields()
        view, prompted = self._samples.select([ready.job.sample.id for ready in asked]), {}
        if asked[0].job.prompts is not None:
            prompts = {str(ready.job.sample.id): _as_detections(ready) for ready in asked}
            view.set_values(PROMPTS, prompts, key_field="id")
            prompted = {"prompt_field": PROMPTS}
        view.apply_model(
            self._model, label_field=MASKS, skip_failures=True, progress=False, **prompted
        )
        ids, values = view.values(["id", MASKS])
        for name in (PROMPTS, MASKS):
            self._dataset.clear_sample_field(name)
        return dict(zip(ids, values, strict=True))

    def _add_fields(self) -> None:
        import fiftyone as fo

        for name in (PROMPTS, MASKS):
            if not self._dataset.has_sample_field(name):
                self._dataset.add_sample_field(
                    name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
                )


def _load_zoo_model(name: str) -> Any:
    """Loads a zoo model that the user has downloaded; FiftyOne would else download it unasked."""
    import fiftyone.zoo as foz

    try:
        is_here = foz.is_zoo_model_downloaded(name)
    except ValueError as error:
        raise ModelNotFoundError(f"FiftyOne's zoo has no model {name!r}: {error}") from error
    if not is_here:
        raise MissingWeightsError(
            f"{name} is not downloaded: fiftyone.zoo.download_zoo_model({name!r}) downloads it"
        )
    try:
        return foz.load_zoo_model(name)
    except Exception as error:
        raise AlphaClipError(f"FiftyOne's zoo cannot load {name!r}: {error}") from error


@dataclass(frozen=True)
class _Ready:
    """A job for a zoo model: its picture's size, reduced to the working size; None if broken."""

    job: Job
    size: tuple[int, int] | None
    prompts: list[Prompt]
    boxes: list[list[float]]
    failures: list[tuple[str, str]]

    @property
    def is_asked(self) -> bool:
        return self.size is not None and (self.job.prompts is None or bool(self.prompts))


def _prepare(job: Job) -> _Ready:
    try:
        height, width = open_image(job.sample.filepath).shape[:2]
    except ImageError as error:
        return _Ready(job, None, [], [], [("", str(error))])
    prompts, boxes, failures = _boxes(job, height, width)
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return _Ready(job, size, prompts, boxes, failures)


def _as_detections(ready: _Ready) -> fo.Detections:
    """The boxes, each with its label's id as class, which the model gives back."""
    import fiftyone as fo

    return fo.Detections(
        detections=[
            fo.Detection(label=prompt.label_id, bounding_box=box)
            for prompt, box in zip(ready.prompts, ready.boxes, strict=True)
        ]
    )


def _read(ready: _Ready, answer: fo.Detections | None) -> Found:
    found = Found(ready.job, [], list(ready.failures))
    if ready.size is None or not ready.is_asked:
        return found
    if answer is None:
        found.failures.append(("", "the zoo model gave nothing; FiftyOne's log says why"))
        return found
    prompts = {prompt.label_id: prompt for prompt in ready.prompts}
    for detection in answer.detections:
        prompt = prompts.get(detection.label)
        try:
            full = label_region(detection).alpha_map(*ready.size) > 127
        except RegionError as error:
            found.failures.append((prompt.label_id if prompt else "", str(error)))
            continue
        quality = 1.0 if detection.confidence is None else float(detection.confidence)
        found.masks.append((crop_mask(np.asarray(full), quality), prompt))
    return found


def _boxes(
    job: Job, height: int, width: int
) -> tuple[list[Prompt], list[list[float]], list[tuple[str, str]]]:
    """The prompts that lie in the picture, the box round each, and why the others do not."""
    prompts, boxes, failures = [], [], []
    for prompt in job.prompts or []:
        try:
            boxes.append(_box(prompt.region, height, width))
            prompts.append(prompt)
        except RegionError as error:
            failures.append((prompt.label_id, str(error)))
    return prompts, boxes, failures


def _box(region: Region, height: int, width: int) -> list[float]:
    """The box round a region: as it was drawn, else round the pixels that it covers."""
    left, top, right, bottom = region.bounds(height, width)
    if region.box is not None and region.mask is None:
        return list(region.box)
    return [left / width, top / height, (right - left) / width, (bottom - top) / height]
