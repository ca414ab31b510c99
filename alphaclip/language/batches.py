"""Regions of a stream of pictures in batches through a model, and what fails on the way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language.describer import Answers, Caption, Item
from alphaclip.language.questions import Question
from alphaclip.regions.images import open_image, picture_name
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import Failure, OnError

logger = logging.getLogger(__name__)

NOT_FINITE = "what the model computes is not finite: load it with precision='fp32'"
NO_CAPTION = Caption("", float("nan"))

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
Prepare = Callable[[Any], Callable[[Region, Any], TaskT]]
"""From an opened picture to what makes the model's task of a region and its label's attributes."""
Work = Callable[[Sequence[TaskT]], Sequence[ResultT | AlphaClipError]]
"""A batch through the model; an error in the place of what the model failed at."""

Parts = tuple[Any, Sequence[Region], Sequence[Any]]
"""A picture, its regions, and the attributes of each one's label."""


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
    opened: Callable[[Any], Any] = open_image,
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
        opened: from an item's picture to what `prepare` takes

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
        picture, regions, attributes = parts_of(each, number)
        item = _Waiting(number, picture_name(picture), [failed] * len(regions), len(regions))
        waiting.append(item)
        for region, task in _tasks(picture, regions, attributes, prepare, opened):
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


def run_questions(
    items: Iterable[Item],
    questions: Sequence[Question],
    prepare: Prepare[TaskT],
    score: Callable[[Sequence[TaskT]], Sequence[Sequence[np.ndarray]]],
    priors: Callable[[TaskT], Sequence[np.ndarray]],
    batch_size: int,
    on_error: OnError | None,
    opened: Callable[[Any], Any] = open_image,
) -> Iterator[list[Answers]]:
    """Asks about every region; see `run_batches`.

    Args:
        items, prepare, batch_size, on_error, opened: see `run_batches`
        questions: asked of each region
        score: of each task and question the log-likelihoods of the choices
        priors: the same where there is nothing to see, of a task's questions

    Yields:
        for each item, in order, the answers to each question
    """

    def work(tasks: Sequence[TaskT]) -> list[list[np.ndarray] | AlphaClipError]:
        results: list[list[np.ndarray] | AlphaClipError] = []
        for task, scores in zip(tasks, score(tasks), strict=True):
            tables = [np.stack(both) for both in zip(scores, priors(task), strict=True)]
            is_sound = all(np.isfinite(table).all() for table in tables)
            results.append(tables if is_sound else AlphaClipError(NOT_FINITE))
        return results

    failed = [np.full((2, len(q.choices)), np.nan, np.float32) for q in questions]
    for rows in run_batches(items, prepare, work, batch_size, failed, on_error, opened):
        tables = [
            np.array([row[number] for row in rows], np.float32).reshape(-1, *nothing.shape)
            for number, nothing in enumerate(failed)
        ]
        yield [
            Answers(question.choices, table[:, 0], table[:, 1])
            for question, table in zip(questions, tables, strict=True)
        ]


def parts_of(item: Any, number: int) -> Parts:
    """An item's picture, its regions and the attributes of each.

    Raises:
        AlphaClipError: it is something else; names its number
    """
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
    opened: Callable[[Any], Any],
) -> Iterator[tuple[int | None, TaskT | AlphaClipError]]:
    """Each region's number and task, or why there is none; None in place of the number says that
    it is the picture's fault. A picture without regions is not opened."""
    if not regions:
        return
    try:
        make = prepare(opened(picture))
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
