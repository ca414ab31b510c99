"""Regions of a stream of pictures in batches through a model, and what fails on the way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language.describer import Item
from alphaclip.regions.images import open_image, picture_name
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import Failure, OnError

logger = logging.getLogger(__name__)

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
Prepare = Callable[[np.ndarray], Callable[[Region, Mapping[str, Any]], TaskT]]
"""From a picture to what makes the model's task of a region and its label's attributes."""
Work = Callable[[Sequence[TaskT]], Sequence[ResultT | AlphaClipError]]
"""A batch through the model; an error in the place of what the model failed at."""


@dataclass
class _Waiting(Generic[ResultT]):
    """A picture on its way, with what came of its regions."""

    number: int
    name: str
    results: list[ResultT]
    left: int


def run_batches(
    items: Iterable[Item],
    prepare: Prepare[TaskT],
    work: Work[TaskT, ResultT],
    batch_size: int,
    failed: ResultT,
    on_error: OnError | None,
) -> Iterator[list[ResultT]]:
    """Has every region of a stream of pictures worked on, in batches that pictures share.

    A batch that the memory does not hold is halved.

    Args:
        items: see :data:`Item`
        prepare, work: see :data:`Prepare` and :data:`Work`
        batch_size: regions in a batch
        failed: the result of a region that failed
        on_error (None): called with each failure; without it, pictures and regions that cannot be
            used are raised, what the model fails at is logged

    Yields:
        for each item, in order, the result of each region
    """
    waiting: deque[_Waiting[ResultT]] = deque()
    batch: list[tuple[_Waiting[ResultT], int, TaskT]] = []

    def settle() -> None:
        done = _in_halves(work, [task for _, _, task in batch])
        for (item, region, _), result in zip(batch, done, strict=True):
            item.left -= 1
            if isinstance(result, AlphaClipError):
                _report(item.name, Failure(item.number, region, result), on_error)
            else:
                item.results[region] = result
        batch.clear()

    for number, each in enumerate(items):
        picture, regions, attributes = _parts(each, number)
        item = _Waiting(number, picture_name(picture), [failed] * len(regions), len(regions))
        waiting.append(item)
        for region, task in _tasks(picture, regions, attributes, prepare):
            if isinstance(task, AlphaClipError):
                item.left -= 1 if region is not None else len(regions)
                _refuse(item.name, Failure(number, region, task), on_error)
                continue
            batch.append((item, region, task))  # type: ignore[arg-type]
            if len(batch) == batch_size:
                settle()
        while waiting and not waiting[0].left:
            yield waiting.popleft().results
    if batch:
        settle()
    yield from (item.results for item in waiting)


def _parts(item: Any, number: int) -> tuple[Any, Sequence[Region], Sequence[Mapping[str, Any]]]:
    if not isinstance(item, Sequence) or not 2 <= len(item) <= 3 or isinstance(item[1], Region):
        raise AlphaClipError(f"item {number} is {item!r:.80}: expected a picture and its regions")
    picture, regions = item[0], list(item[1])
    attributes = list(item[2]) if len(item) == 3 else []
    if attributes and len(attributes) != len(regions):
        raise AlphaClipError(
            f"item {number} has {len(regions)} regions and attributes of {len(attributes)}: "
            "expected those of each region, or none"
        )
    return picture, regions, attributes or [{}] * len(regions)


def _tasks(
    picture: Any,
    regions: Sequence[Region],
    attributes: Sequence[Mapping[str, Any]],
    prepare: Prepare[TaskT],
) -> Iterator[tuple[int | None, TaskT | AlphaClipError]]:
    """Each region's number and task, or why there is none; None in place of the number says that
    it is the picture's fault. A picture without regions is not opened."""
    if not regions:
        return
    try:
        make = prepare(open_image(picture))
    except AlphaClipError as error:
        yield None, error
        return
    for number, (region, its) in enumerate(zip(regions, attributes, strict=True)):
        try:
            yield number, make(region, its)
        except AlphaClipError as error:
            yield number, error


def _in_halves(work: Work[TaskT, ResultT], tasks: Sequence[TaskT]) -> list[Any]:
    from torch import OutOfMemoryError

    try:
        return list(work(tasks))
    except (OutOfMemoryError, MemoryError):
        if len(tasks) == 1:
            return [AlphaClipError("the memory does not hold one region: take a smaller model")]
    # Outside of the handler: while it runs, the error holds on to the memory that was taken.
    middle = len(tasks) // 2
    return [*_in_halves(work, tasks[:middle]), *_in_halves(work, tasks[middle:])]


def _refuse(name: str, failure: Failure, on_error: OnError | None) -> None:
    if on_error is not None:
        on_error(failure)
        return
    if failure.region is None:
        raise failure.error
    where = f"{name}, regions[{failure.region}]"
    raise type(failure.error)(f"{where}: {failure.error}") from failure.error


def _report(name: str, failure: Failure, on_error: OnError | None) -> None:
    if on_error is not None:
        on_error(failure)
    else:
        logger.warning("%s, regions[%s]: %s", name, failure.region, failure.error)
