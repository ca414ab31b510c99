"""Regions with their masks, where FiftyOne would embed crops of their boxes.

FiftyOne cuts the patches of a field before a model sees them; it tells the model not whose they
are, and the index only afterwards. So an index that is about to be filled says so here; the model
then makes vectors of no numbers, which costs nothing; and the index, which is told whose they are,
embeds the regions itself.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

import numpy as np

from alphaclip.errors import AlphaClipError, RegionError
from alphaclip.indexing.dataset.labels import images_of
from alphaclip.indexing.dataset.raw_labels import RawPicture, read_pictures
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.store.segments import RowIds, as_text

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.regions.region import Region
    from alphaclip.views.prefetch import Failure

logger = logging.getLogger(__name__)


class Encodes(Protocol):
    """What an encoder is asked for here."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def encode_many(
        self,
        items: Iterable[tuple[str, list[Region]]],
        on_error: Callable[[Failure], None],
        batch_size: int | None,
    ) -> Iterator[np.ndarray]:
        """The vectors of the regions of each picture."""
        ...


_TOGETHER = 10_000
"""Samples that the database is asked for at once: their ids are a part of the question."""

_filled: ContextVar[ref[Any] | None] = ContextVar("alphaclip_filled_index", default=None)
"""The index that this thread is about to fill, for as long as somebody holds it."""


def expect_patches(index: Any) -> None:
    """Says that patches which are cut next in this thread are for an index."""
    _filled.set(ref(index))


def expecting_index() -> Any | None:
    """The index that expects patches in this thread, None if none does."""
    index = _filled.get()
    return None if index is None else index()


def end_patches() -> None:
    """Says that no index expects patches any more; safe to repeat."""
    _filled.set(None)


def without_numbers(crop: Any) -> np.ndarray:
    """The vector of a crop that an index will not use."""
    return np.zeros(0, np.float32)


def is_without_numbers(vectors: Any) -> bool:
    """Whether these are vectors of :func:`without_numbers`, one or more."""
    is_table = isinstance(vectors, np.ndarray) and vectors.ndim == 2
    return is_table and len(vectors) > 0 and vectors.shape[1] == 0


def as_item(picture: np.ndarray) -> np.ndarray:
    """A picture as an array of no axes, so that pictures of all sizes make one of one axis."""
    item = np.empty((), object)
    item[()] = picture
    return item


def embed_patches(
    samples: fo.SampleCollection,
    field: str,
    encoder: Encodes,
    ids: RowIds,
    batch_size: int | None = None,
    skip_failures: bool = True,
    progress: Progress | bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Embeds some labels of a field, with their masks.

    Args:
        samples: a dataset or view that has them
        field: of regions
        encoder: to embed with
        ids: samples and labels
        batch_size (None): see :meth:`alphaclip.encoder.encoder.Encoder.encode_many`
        skip_failures (True): log why regions could not be embedded, and leave them out
        progress (None): see :func:`alphaclip.indexing.progress.shown`; None is FiftyOne's own
            setting

    Returns:
        float32 (n, dim) vectors, and which of them there are: bool (n,)

    Raises:
        AlphaClipError: if a region could not be embedded and ``skip_failures`` is False
    """
    import fiftyone as fo

    patches = _Patches(ids)
    vectors = np.full((len(ids), encoder.dim), np.nan, np.float32)
    stream = patches.stream(images_of(samples), field)
    with shown(fo.config.show_progress_bars if progress is None else progress) as show:
        for some in encoder.encode_many(stream, patches.note_failure, batch_size):
            vectors[patches.sent.popleft()] = some
            patches.done += len(some)
            show("regions embedded", patches.done, len(ids))
    there = np.asarray(np.isfinite(vectors).all(axis=1))
    if not there.all():
        why = "; ".join(patches.problems[:3]) or "their labels are gone"
        message = f"{(~there).sum()} regions cannot be embedded: {why}"
        if not skip_failures:
            raise AlphaClipError(message)
        logger.warning("%s", message)
    return vectors, there


class _Patches:
    """Labels on their way through an encoder, picture by picture.

    Attributes:
        sent: for each picture that the encoder took, the positions of its labels
        done: how many are embedded
        problems: why labels got no vector
    """

    def __init__(self, ids: RowIds) -> None:
        samples, labels = as_text(ids.sample_ids).tolist(), as_text(ids.label_ids).tolist()
        self.sent: deque[list[int]] = deque()
        self.done = 0
        self.problems: list[str] = []
        self._samples = list(dict.fromkeys(samples))
        self._positions = {pair: at for at, pair in enumerate(zip(samples, labels, strict=True))}

    def stream(
        self, samples: fo.SampleCollection, field: str
    ) -> Iterator[tuple[str, list[Region]]]:
        """The pictures, each with the regions of its labels."""
        for start in range(0, len(self._samples), _TOGETHER):
            some = self._samples[start : start + _TOGETHER]
            for picture in read_pictures(samples, field, some):
                positions, regions = self._regions(picture)
                self.sent.append(positions)
                yield picture.filepath, regions

    def note_failure(self, failure: Failure) -> None:
        """Remembers what the encoder could not embed."""
        self.problems.append(str(failure.error))

    def _regions(self, picture: RawPicture) -> tuple[list[int], list[Region]]:
        positions, regions = list[int](), list["Region"]()
        for number, label_id in enumerate(picture.label_ids):
            position = self._positions.get((picture.sample_id, label_id))
            if position is None:
                continue
            try:
                regions.append(picture.region(number))
            except RegionError as error:
                self.problems.append(f"{picture.filepath}, label {label_id}: {error}")
                continue
            positions.append(position)
        return positions, regions
