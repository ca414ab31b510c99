"""Pictures on their way into batches: opened once, cut in threads, let go of when cut."""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.regions.images import open_image, picture_name
from alphaclip.regions.region import Region
from alphaclip.views.cutter import Cutter
from alphaclip.views.view import View

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

ErrorT = TypeVar("ErrorT", bound=AlphaClipError)
Picture = str | os.PathLike[str] | Image.Image | np.ndarray

_CHUNK = 32
"""Regions of one picture that are cut at a time, so that memory stays bounded."""

_FOR_EACH = 2
"""Chunks that wait or are cut for each thread, at least; opening and scaling let go of Python's
lock. Also the pictures that are taken ahead for each where they are no files, but in memory."""

_MOST_THREADS = 32
"""More than keep a GPU busy; what they cut takes some 400 MB."""


@dataclass(frozen=True)
class Failure:
    """What could not be encoded.

    Attributes:
        item: number of the picture in what :meth:`Encoder.encode_many` was given
        region: number of the region in the picture's list; None if the picture itself failed
        error: why
    """

    item: int
    region: int | None
    error: AlphaClipError


OnError = Callable[[Failure], None]


@dataclass(frozen=True)
class Row:
    """A region as the model takes it.

    Attributes:
        item: the picture it is of
        number: of the region in the picture's list
        pixels: uint8 (3, R, R); one object where the view shows a picture's regions alike
        alpha: uint8 (1, R, R), 0 to 255
    """

    item: Item
    number: int
    pixels: Tensor
    alpha: Tensor

    @property
    def is_whole_image(self) -> bool:
        """Whether the region is the whole picture."""
        return self.item.regions[self.number].is_whole_image


@dataclass(frozen=True)
class Chunk:
    """Some regions of one picture, cut.

    Attributes:
        item: the picture
        rows: the regions that could be cut, in order
        failures: why the others could not; a picture that cannot be opened is in its first chunk
        lost: how many regions could not be cut
    """

    item: Item
    rows: list[Row]
    failures: list[Failure]
    lost: int


class Item:
    """One picture on its way through the encoder; its chunks may be cut in several threads.

    Attributes:
        number: of the picture in the stream
        name: of the picture, in messages
        regions: of the picture
        vectors: number of a region to its vector
        settled: how many regions have a vector or have failed
    """

    def __init__(self, number: int, source: Picture, regions: Sequence[Region]) -> None:
        self.number = number
        self.name = picture_name(source)
        self.regions = regions
        self.vectors: dict[int, np.ndarray] = {}
        self.settled = 0
        self._source = source
        self._opened: Cutter | ImageError | None = None
        self._order: Sequence[int] = range(len(regions))
        self._chunks_left = math.ceil(len(regions) / _CHUNK)
        self._lock = Lock()

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be known about any of its regions."""
        return self.settled == len(self.regions)

    def cut(self, start: int, view: View, size: int, keep_tiny: bool = False) -> Chunk:
        """Cuts the chunk that begins with region ``start``, see `Cutter`.

        The first chunk opens the picture, the last lets go of it. It is empty, and nothing is
        opened, if the picture has no regions.
        """
        count = min(_CHUNK, len(self.regions) - start)
        if not count:
            return Chunk(self, [], [], 0)
        with self._lock:
            if self._opened is None:
                try:
                    image = open_image(self._source)
                    self._opened = Cutter(image, view, size, keep_tiny, self.regions)
                    if view.kind == "cover":
                        # So that all regions of a square are in one batch, or in the next.
                        windows = self._opened.windows(self.regions)
                        self._order = sorted(self._order, key=windows.__getitem__)
                except ImageError as error:
                    self._opened = _without_frames(error)
            opened = self._opened
        if isinstance(opened, ImageError):
            failures = [Failure(self.number, None, opened)] if start == 0 else []
            return Chunk(self, [], failures, count)
        rows: list[Row] = []
        failures = []
        for number in self._order[start : start + count]:
            try:
                rows.append(Row(self, number, *opened.cut(self.regions[number])))
            except AlphaClipError as error:
                failures.append(Failure(self.number, number, _without_frames(error)))
            except Exception as error:
                # One strange region is no reason to lose a night's other ones.
                logger.debug("%s: region %d cannot be drawn", self.name, number, exc_info=True)
                reason = f"region cannot be drawn: {type(error).__name__}: {error}"
                failures.append(Failure(self.number, number, RegionError(reason)))
        with self._lock:
            self._chunks_left -= 1
            if not self._chunks_left:
                self._opened, self._source = None, self.name
        return Chunk(self, rows, failures, len(failures))


def cut_ahead(
    items: Iterable[tuple[Picture, Sequence[Region]]],
    view: View,
    size: int,
    keep_tiny: bool = False,
    ahead: int = 64,
) -> Iterator[Chunk]:
    """Opens and cuts pictures in a thread for each core, a bounded number ahead of who asks.

    Args:
        items: pictures and their regions
        view, size, keep_tiny: see `Cutter`
        ahead: regions that are cut before they are asked for, whatever the number of pictures;
            more where all threads have work only then

    Yields:
        the chunks of every picture, in order; at least one for each
    """
    threads = min(usable_cores(), _MOST_THREADS)
    pending: deque[tuple[Future[Chunk], int]] = deque()
    regions_pending = 0
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        for number, (source, regions) in enumerate(_pairs(items)):
            item = Item(number, source, regions)
            enough = ahead if isinstance(source, (str, os.PathLike)) else 0
            for start in range(0, max(1, len(regions)), _CHUNK):
                count = min(_CHUNK, len(regions) - start)
                pending.append((pool.submit(item.cut, start, view, size, keep_tiny), count))
                regions_pending += count
                while len(pending) > _FOR_EACH * threads and regions_pending > enough:
                    chunk, count = pending.popleft()
                    regions_pending -= count
                    yield chunk.result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        # Who stops early does not wait for what is ahead.
        pool.shutdown(cancel_futures=True)


def usable_cores() -> int:
    """The cores that this process may use, which a container or a batch system may restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pairs(items: Any) -> Iterator[tuple[Picture, Sequence[Region]]]:
    for number, pair in enumerate(items):
        is_pair = isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2
        if not is_pair or not isinstance(pair[1], Sequence):
            raise AlphaClipError(
                f"item {number} is {pair!r:.80}: expected a picture and the list of its regions"
            )
        yield pair[0], pair[1]


def report_failures(chunk: Chunk, on_error: OnError | None) -> None:
    """Calls ``on_error`` with each failure of a chunk; without it, raises the first one.

    Raises:
        ImageError: the picture cannot be opened; names it
        RegionError: a region cannot be cut; names the picture and the region's number
    """
    for failure in chunk.failures:
        if on_error is not None:
            on_error(failure)
        elif failure.region is None:
            raise failure.error
        else:
            where = f"{chunk.item.name}, regions[{failure.region}]"
            raise type(failure.error)(f"{where}: {failure.error}") from failure.error


def _without_frames(error: ErrorT) -> ErrorT:
    """An error to keep: its traceback would keep the picture's pixels alive."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
