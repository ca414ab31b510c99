"""What a describer says of a set's regions, said once and kept in a cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_checked, write_checked
from alphaclip.language.describer import Describer, Item
from alphaclip.language.loading import load
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, RegionSet
from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.vectors import PICTURES_IN_PART, file_stamp
from alphaclip.views.prefetch import Failure, OnError

CROP = "+crop"
"""Behind a model's name: it is shown the region's box alone, as a picture, as a captioner of whole
pictures would be."""

Say = Callable[[Iterable[Item], OnError], Iterator[list[Any]]]
"""From items to what is said of each one's regions, as JSON holds it."""


@dataclass(frozen=True)
class Subject:
    """What is judged: a describer, and whether crops are all that it sees."""

    name: str
    describer: Describer
    crops: bool = False


def open_subject(name: str, means: Means) -> Subject:
    """Loads a describer.

    Args:
        name: as `alphaclip.language.load` takes it, with :data:`CROP` behind it or not
        means: device and precision
    """
    plain = name.removesuffix(CROP)
    options: dict[str, Any] = {"device": means.device, "precision": means.precision}
    if plain == name:
        return Subject(name, load(name, **options))
    try:  # Without a mark round what fills the picture
        return Subject(name, load(plain, shown="crop", **options), True)
    except AlphaClipError:
        return Subject(name, load(plain, **options), True)


def collect(
    subject: Subject,
    regions: RegionSet,
    asked: str,
    say: Say,
    attributes: Sequence[Mapping[str, Any]],
    means: Means,
    skipped: list[str],
) -> list[Any]:
    """Has something said of every region.

    A file of the cache holds what was said of a few pictures; it is found by the describer's
    fingerprint, by what was asked, and by pictures and regions. A run that was killed goes on where
    it was; a part in which something failed is not kept.

    Args:
        subject: says it
        regions: of a set
        asked: all that decides what is said beside describer and regions
        say: see :data:`Say`
        attributes: of each region, for placeholders
        means: cache and progress
        skipped: gets a line for each region that failed

    Returns:
        what was said of each region, in the order of ``regions.regions``; None where that failed
    """
    said: list[Any] = []
    starts = range(0, len(regions.examples), PICTURES_IN_PART)
    for start in starts:
        part = regions.examples[start : start + PICTURES_IN_PART]
        count = sum(len(example.regions) for example in part)
        own = attributes[len(said) : len(said) + count]
        path = _path(subject, part, f"{asked} {own}", means.cache)
        content = None if path is None else read_checked(path, "delete it, it is made again")
        if content is None:
            responses, failures = _respond(subject, part, say, own)
            skipped += failures
            if path is not None and not failures:
                write_checked(path, {"responses": responses})
        else:
            responses = content["responses"]
        said += responses
        if means.progress is not None:
            means.progress(start + len(part), len(regions.examples))
    return said


def _respond(
    subject: Subject, part: Sequence[Example], say: Say, attributes: Sequence[Mapping[str, Any]]
) -> tuple[list[Any], list[str]]:
    labelled = [(example, region) for example in part for region in example.regions]
    spans: list[range] = []
    failures: dict[int, str] = {}

    def items() -> Iterator[Item]:
        for picture, own in _items(subject, part):
            first = spans[-1].stop if spans else 0
            spans.append(range(first, first + len(own)))
            yield picture, own, attributes[first : first + len(own)]

    def failed(failure: Failure) -> None:
        rows = spans[failure.item]
        for row in rows if failure.region is None else [rows[failure.region]]:
            example, region = labelled[row]
            failures[row] = f"region {region.id} of {example.path}: {failure.error}"

    said = [one for several in say(items(), failed) for one in several]
    return [None if row in failures else one for row, one in enumerate(said)], [*failures.values()]


def _items(subject: Subject, part: Sequence[Example]) -> Iterator[tuple[Any, Sequence[Region]]]:
    for example in part:
        regions = [labelled.region for labelled in example.regions]
        if subject.crops:
            yield from _crops(example.path, regions)
        else:
            yield example.path, regions


def _crops(path: Path, regions: Sequence[Region]) -> Iterator[tuple[Any, Sequence[Region]]]:
    """Each region's box as a picture; what has none goes as it is, for the describer to refuse."""
    for region in regions:
        try:
            image = open_image(path)
            x0, y0, x1, y1 = region.bounds(*image.shape[:2])
        except AlphaClipError:
            yield path, [region]
        else:
            yield image[y0:y1, x0:x1], [Region.whole_image()]


def _path(subject: Subject, part: Sequence[Example], asked: str, cache: Path | None) -> Path | None:
    if cache is None:
        return None
    pictures = [
        (file_stamp(example.path), [labelled.region.digest() for labelled in example.regions])
        for example in part
    ]
    content = repr((pictures, asked, subject.crops)).encode()
    return (
        cache / subject.describer.fingerprint / f"{hashlib.sha256(content).hexdigest()[:32]}.json"
    )
