"""Vectors and boxes of a stream's regions: as an index has them, or encoded from pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby, tee
from typing import Any, NamedTuple

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.language.batches import Parts, parts_of
from alphaclip.regions.images import picture_name
from alphaclip.regions.region import Region, tight_box
from alphaclip.views.prefetch import Failure, OnError


class Sight(NamedTuple):
    """What is known of a region.

    Attributes:
        vector: float32 (dim,), of unit length
        box: relative ``[x, y, w, h]``
    """

    vector: np.ndarray
    box: tuple[float, ...]


class RegionVectors:
    """Items whose regions have their vector beside their label's attributes.

    Args:
        items: see `alphaclip.language.describer.Item`
        encoder: loads what regions of pictures are encoded with
        dim: of vectors
        reader: who reads them, for messages
        on_error: see `Describer.describe_many`
    """

    def __init__(
        self,
        items: Iterable[Any],
        encoder: Callable[[], Encoder],
        dim: int,
        reader: str,
        on_error: OnError | None,
    ) -> None:
        self._items, self._encoder, self._dim, self._reader = items, encoder, dim, reader
        self._on_error = on_error
        self._told: set[tuple[int, int | None]] = set()

    @property
    def on_error(self) -> OnError | None:
        """For what reads these items: as was said, but what could not be encoded is told once."""
        return None if self._on_error is None else self._tell

    def __iter__(self) -> Iterator[Parts]:
        """Yields each item's name, its regions, and of each its vector and attributes."""
        every = (parts_of(item, number) for number, item in enumerate(self._items))
        number = 0
        for has_vectors, some in groupby(every, lambda parts: _is_vectors(parts[0])):
            for (picture, regions, attributes), vectors in (
                self._given(some, number) if has_vectors else self._encoded(some, number)
            ):
                name = f"item {number}" if has_vectors else picture_name(picture)
                yield name, regions, list(zip(vectors, attributes, strict=True))
                number += 1

    def _given(self, some: Iterable[Parts], first: int) -> Iterator[tuple[Parts, np.ndarray]]:
        for number, parts in enumerate(some, start=first):
            vectors, regions, _ = parts
            if vectors.shape != (len(regions), self._dim):
                raise AlphaClipError(
                    f"item {number} has {len(regions)} regions and vectors of shape "
                    f"{vectors.shape}: {self._reader} takes one of {self._dim} numbers for each, "
                    "those of an index that was built with its encoder"
                )
            yield parts, vectors

    def _encoded(self, some: Iterable[Parts], first: int) -> Iterator[tuple[Parts, np.ndarray]]:
        ahead, behind = tee(some)

        def tell(failure: Failure) -> None:
            self._tell(replace(failure, item=failure.item + first))

        pictures = ((picture, regions) for picture, regions, _ in ahead)
        on_error = None if self._on_error is None else tell
        yield from zip(behind, self._encoder().encode_many(pictures, on_error), strict=True)

    def _tell(self, failure: Failure) -> None:
        if not self._told & {(failure.item, None), (failure.item, failure.region)}:
            self._told.add((failure.item, failure.region))
            if self._on_error is not None:
                self._on_error(failure)


def look(region: Region, vector: np.ndarray) -> Sight:
    """What is known of a region.

    Raises:
        AlphaClipError: the vector is not finite, or zero
        EmptyRegionError: nothing of the region is inside the picture
    """
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or not length:
        raise AlphaClipError(
            f"its vector is {'zero' if length == 0 else 'not finite'}: embed the region again"
        )
    return Sight((vector / length).astype(np.float32), relative_box(region))


def relative_box(region: Region) -> tuple[float, float, float, float]:
    """The box round a region, relative ``[x, y, w, h]``, whatever the size of its picture.

    Raises:
        EmptyRegionError: nothing of it is inside the picture
    """
    x, y, w, h = region.box or (0.0, 0.0, 1.0, 1.0)
    if region.rings:
        points = np.concatenate(region.rings)
        (x, y), (w, h) = points.min(axis=0), np.ptp(points, axis=0)
    elif region.mask is not None:
        rows, columns = region.mask.shape
        left, top, right, bottom = tight_box(region.mask) or (0, 0, 0, 0)
        x, w = x + w * left / columns, w * (right - left) / columns
        y, h = y + h * top / rows, h * (bottom - top) / rows
    x0, y0, x1, y1 = np.clip((x, y, x + w, y + h), 0, 1).tolist()
    if x0 >= x1 or y0 >= y1:
        raise EmptyRegionError("nothing of the region is inside the picture")
    return x0, y0, x1 - x0, y1 - y0


def _is_vectors(picture: Any) -> bool:
    return isinstance(picture, np.ndarray) and picture.ndim == 2 and picture.dtype.kind == "f"
