"""Regions as a language model takes them, vectors and boxes or pictures and regions, and what it
says of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.labels import Skipped, media_of
from alphaclip.indexing.dataset.raw_labels import RawPicture, read_pictures
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import as_text
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import Failure, OnError

if TYPE_CHECKING:
    import fiftyone as fo

SaidT = TypeVar("SaidT")

_TOGETHER = 256
"""Rows whose labels are read at once, and whose vectors are one item."""


@dataclass(frozen=True)
class RegionItem:
    """A picture with some of its regions, or the vectors of regions of several.

    Attributes:
        picture: its path, or the vectors, float32 (n, dim): the first of
            :data:`alphaclip.language.describer.Item`
        regions: the second
        rows: of the index, or positions of hits: int64 (n,)
        named: path of the picture and label id of each
        attributes: of the label of each, as far as a question names them; none where none does
    """

    picture: str | np.ndarray
    regions: list[Region]
    rows: np.ndarray
    named: list[tuple[str, str]]
    attributes: Sequence[Mapping[str, Any]] = ()


def said_of(
    items: Iterable[RegionItem],
    ask: Callable[[Iterator[Any], OnError], Iterator[SaidT]],
    skip: Callable[[Skipped], None],
) -> Iterator[tuple[RegionItem, SaidT]]:
    """Each item, and what a model says of its regions.

    Args:
        items: to ask about
        ask: takes a stream of :data:`alphaclip.language.describer.Item` and who is told of
            failures, and gives what is said of each
        skip: told of each region that the model fails at
    """
    sent: dict[int, RegionItem] = {}

    def sending() -> Iterator[Any]:
        for number, item in enumerate(items):
            sent[number] = item
            yield item.picture, item.regions, item.attributes or [{}] * len(item.regions)

    def note(failure: Failure) -> None:
        named = sent[failure.item].named
        for region in named if failure.region is None else [named[failure.region]]:
            skip(Skipped(*region, str(failure.error)))

    for number, said in enumerate(ask(sending(), note)):
        yield sent.pop(number), said


def region_items(
    dataset: fo.Dataset,
    now: Snapshot,
    rows: np.ndarray,
    vectors: bool,
    skip: Callable[[Skipped], None],
) -> Iterator[RegionItem]:
    """Takes rows to a language model; labels are read as they are now.

    Args:
        dataset: of the index
        now: the index
        rows: int64 (n,); rows of one picture are best side by side
        vectors: whether the model sees vectors, so that no picture is opened
        skip: told of each region that cannot be used: its label is gone, or has no area
    """
    for start in range(0, len(rows), _TOGETHER):
        by_picture: dict[str, list[tuple[int, Region, tuple[str, str]]]] = {}
        for found in _regions(dataset, now, rows[start : start + _TOGETHER], skip):
            by_picture.setdefault("" if vectors else found[2][0], []).append(found)
        for path, several in by_picture.items():
            here, regions, named = map(list, zip(*several, strict=True))
            numbers = np.array(here, np.int64)
            yield RegionItem(now.vectors(numbers) if vectors else path, regions, numbers, named)


def _regions(
    dataset: fo.Dataset, now: Snapshot, rows: np.ndarray, skip: Callable[[Skipped], None]
) -> Iterator[tuple[int, Region, tuple[str, str]]]:
    """Row, region, and path and label id, of each that can be used."""
    field, ids = now.version.info["field"], now.version.ids_of(rows)
    samples, labels = as_text(ids.sample_ids).tolist(), as_text(ids.label_ids).tolist()
    pictures = read_pictures(media_of(dataset, field), field, sorted(set(samples)))
    there: dict[tuple[str, str], tuple[RawPicture, int]] = {}
    for picture in pictures:
        for number, label_id in enumerate(picture.label_ids):
            there.setdefault((picture.sample_id, label_id), (picture, number))
    for row, region_id in zip(rows.tolist(), zip(samples, labels, strict=True), strict=True):
        found = there.get(region_id)
        if found is None:
            skip(Skipped("", region_id[1], "it is gone since it was embedded: update the index"))
            continue
        named = (found[0].filepath, region_id[1])
        try:
            yield row, found[0].region(found[1]), named
        except RegionError as error:
            skip(Skipped(*named, str(error)))
