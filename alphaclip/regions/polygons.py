"""Polygons as tools write them down: rings of points, of which some may be strays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alphaclip.errors import RegionError

LEAST_POINTS = 3
"""Rings of fewer points hold nothing. Tools leave them behind where somebody clicked once more."""

FARTHEST = 1e4
"""Relative coordinates beyond this are refused: they are a mistake, and overflow in pixels."""

LONGEST = 1000
"""The longest outline, in picture sides. Filling takes as long as an outline is; one that crosses
the picture a thousand times is no outline of anything."""

_AROUND = (-4.0, 5.0)
"""What lies farther outside the picture counts as here when an outline is measured."""


def read_rings(points: Any, least: int = LEAST_POINTS) -> tuple[np.ndarray, ...]:
    """The rings of a polygon, or of a line.

    Args:
        points: relative ``[x, y]`` points, or several lists of them
        least: rings of fewer points are left out

    Returns:
        float64 (N, 2) arrays

    Raises:
        RegionError: if a point of a ring is not two finite numbers in reach
    """
    try:
        first: Sequence[Any] = next((part for part in points if len(part)), ())
        is_nested = not len(first) or np.ndim(first[0]) > 0
        listed = [ring for ring in (points if is_nested else [points]) if len(ring) >= least]
        rings = tuple(np.asarray(ring, dtype=np.float64) for ring in listed)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise RegionError(
            f"polygon is {points!r:.120}: expected [x, y] points, relative to the image, or lists "
            f"of them ({error})"
        ) from error
    for ring in rings:
        _check_ring(ring)
    return rings


def check_outline(rings: Sequence[np.ndarray]) -> None:
    """Refuses rings that take long to fill.

    Raises:
        RegionError: if their outline is longer than that of anything
    """
    length = 0.0
    for ring in rings:
        near = ring.clip(*_AROUND)
        length += float(np.abs(np.diff(near, axis=0, append=near[:1])).max(axis=1).sum())
    if length > LONGEST:
        raise RegionError(
            f"polygon of {sum(map(len, rings)):,} points has an outline of {length:,.0f} picture "
            f"sides, the limit is {LONGEST:,}: simplify it, or give a mask"
        )


def _check_ring(ring: np.ndarray) -> None:
    if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise RegionError(
            f"polygon ring has shape {ring.shape}: expected finite [x, y] points, relative to the "
            "image"
        )
    if np.abs(ring).max() > FARTHEST:
        raise RegionError(
            f"polygon has a coordinate of {np.abs(ring).max():g}, far outside the image: "
            "points are relative [x, y] in [0, 1]: divide pixel values by the image's width "
            "and height"
        )
