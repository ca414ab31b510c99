"""Label fields that hold masks made here: what they were made of, and with which settings."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from alphaclip.indexing.dataset.labels import FieldError, Skipped, count_samples
from alphaclip.indexing.dataset.schema import INFO, check_name, declare, mask_settings
from alphaclip.indexing.progress import Progress, shown

if TYPE_CHECKING:
    import fiftyone as fo

JobT = TypeVar("JobT")

DETAILS = {
    "made_from": "StringField",
    "detections.source": "StringField",
    "detections.source_id": "StringField",
    "detections.source_digest": "StringField",
    "detections.quality": "FloatField",
}
"""Attributes of masks; those of concepts have FiftyOne's own ``confidence`` besides."""


@dataclass
class MaskReport:
    """What a job did.

    Attributes:
        into: the field that holds the masks
        samples: how many were looked at
        done_before: how many of them had nothing new
        added: masks that were made
        kept: masks of an earlier run, in samples where something else was new
        dropped: how many masks were left out, for each reason
        skipped: pictures and labels that could not be used, and why
        seconds: how long it took
    """

    into: str
    samples: int = 0
    done_before: int = 0
    added: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0

    def drop(self, reason: str) -> None:
        """Counts a mask that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self)


def prepare_field(
    dataset: fo.Dataset, name: str, settings: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Makes a field for masks, or opens the one that an earlier run with equal settings made.

    Args:
        dataset: where
        name: of the field
        settings: JSON values; kept in the field's ``info``
        overwrite (False): empty a field that was made here, in all samples

    Raises:
        FieldError: if the name cannot be used, the field is somebody else's, or it was made with
            other settings
    """
    check_name(name)
    schema = dataset.get_field(name)
    if schema is None:
        _add_field(dataset, name, settings)
        return
    made_with = mask_settings(dataset, name)
    if made_with is None:
        raise FieldError(
            f"dataset {dataset.name!r} has a field {name!r} that was not made here: choose another "
            "name for the masks"
        )
    if made_with != settings and not overwrite:
        raise FieldError(f"field {name!r} was made with {_difference(made_with, settings)}")
    if overwrite:
        dataset.clear_sample_field(name)
        schema = dataset.get_field(name)
        schema.info = {INFO: dict(settings)}
        schema.save()


def fill_field(
    images: fo.SampleCollection,
    read: Sequence[str],
    report: MaskReport,
    what: str,
    prepare: Callable[[Any], JobT | None],
    make: Callable[[Sequence[JobT]], Iterable[None]],
    progress: Progress | None,
    batch: int = 1,
) -> None:
    """Goes through samples and makes the masks of those of which something is not done yet.

    Samples are saved one by one, so a job that was interrupted goes on where it was when it is run
    again.

    Args:
        images: of which masks are made
        read: the fields that they are made of, or that are compared with them
        report: names the field to fill, and counts
        what: is counted, for the progress
        prepare: what is to be done of a sample; None if nothing
        make: does it, see :func:`write_masks`, and gives one None for each
        progress (None): told how far it is; None shows a bar in the terminal
        batch (1): how many samples ``make`` is given at a time
    """
    started, total = time.monotonic(), count_samples(images)
    fields = [*read, report.into]
    with shown(progress) as show:

        def jobs() -> Iterator[JobT]:
            for sample in images.select_fields(fields).iter_samples():
                job = prepare(sample)
                if job is not None:
                    yield job
                else:
                    report.samples += 1
                    show(what, report.samples, total)

        show(what, 0, total)
        stream = jobs()
        while some := list(islice(stream, batch)):
            for _ in make(some):
                report.samples += 1
                show(what, report.samples, total)
    report.seconds = round(time.monotonic() - started, 1)


def write_masks(
    sample: Any,
    masks: Sequence[fo.Detection],
    made_from: str,
    alike: Sequence[str],
    report: MaskReport,
) -> None:
    """Writes the masks of a sample; one that an earlier run made of the same stays as it is.

    Args:
        sample: a FiftyOne sample, which is saved
        masks: to be there
        made_from: a digest of all that they were made of
        alike: attributes by which a mask is that of an earlier run; none: all are new
        report: counts them
    """
    import fiftyone as fo

    def made_of(mask: fo.Detection) -> tuple[Any, ...]:
        return tuple(getattr(mask, name, None) for name in alike)

    old = sample[report.into]
    earlier = {made_of(mask): mask for mask in (old.detections if old is not None else [])}
    detections = []
    for mask in masks:
        before = earlier.get(made_of(mask)) if all(made_of(mask)) and alike else None
        detections.append(before or mask)
        report.kept += before is not None
        report.added += before is None
    sample[report.into] = fo.Detections(detections=detections, made_from=made_from)
    sample.save()


def digest(parts: Iterable[Any]) -> str:
    """A short digest of values that have a stable ``repr``."""
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()[:32]


def _add_field(dataset: fo.Dataset, name: str, settings: Mapping[str, Any]) -> None:
    import fiftyone as fo

    try:
        dataset.add_sample_field(
            name,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Detections,
            info={INFO: dict(settings)},
        )
    except ValueError as error:
        raise FieldError(f"{name!r} cannot be the name of a field: {error}") from error
    declare(dataset, {f"{name}.{path}": kind for path, kind in DETAILS.items()})


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n)]
    changes = ", ".join(f"{n} {old.get(n)!r}, not {new.get(n)!r}" for n in names)
    return (
        f"{changes}: choose another name for the masks, or pass overwrite=True to make all of them "
        "again"
    )
