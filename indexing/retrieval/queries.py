"""What is asked of an index: positive and negative parts, and how they make one ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region

Aggregate = Literal["max", "mean"]

NEGATIVE_WEIGHT = 0.5
"""How much the cosine to the negative part counts: as in FiftyOne's own panel, which searches for
twice the mean of the positive examples less the mean of the negative ones."""


@dataclass(frozen=True)
class Example:
    """A region of the index, as a query.

    Attributes:
        label_id: of the region
    """

    label_id: str


QueryPart = str | np.ndarray | Example | tuple[Any, Region]
"""Text, a vector (dim,), a region of the index, or ``(image, Region)``."""

Query = QueryPart | Sequence[QueryPart]
"""One part, or several that are ONE query; an array (m, dim) is several vectors."""


class QueryEncoder(Protocol):
    """What a search needs of an encoder; see :class:`alphaclip.encoder.encoder.Encoder`."""

    def encode_text(self, prompts: Sequence[str]) -> np.ndarray:
        """Texts as float32 (n, dim), of unit length."""

    def encode_regions(self, image: Any, regions: Sequence[Region]) -> np.ndarray:
        """Regions of a picture as float32 (n, dim), of unit length."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """How rows are scored, and ordered.

    Attributes:
        positive: float32 (m, dim), of unit length
        negative: float32 (j, dim), of unit length; j may be 0
        aggregate: how cosines to several vectors make one: the largest, or the mean
        weights: float32 (m,), of the positive vectors in the order; not in the scores
        reverse: the least similar first
    """

    positive: np.ndarray
    negative: np.ndarray
    aggregate: Aggregate = "max"
    weights: np.ndarray = field(default_factory=lambda: np.ones(1, np.float32))
    reverse: bool = False

    @property
    def vectors(self) -> np.ndarray:
        """All vectors that rows are compared with, the positive ones first."""
        return np.concatenate([self.positive, self.negative])

    @property
    def is_plain(self) -> bool:
        """Whether the order follows the scores, best first."""
        return not len(self.negative) and not self.reverse and bool((self.weights == 1).all())

    @property
    def direction(self) -> np.ndarray | None:
        """The one vector (1, dim) whose inner product gives the same order, if there is one."""
        if self.reverse or (len(self.positive) > 1 and self.aggregate == "max"):
            return None
        if len(self.negative) > 1 and self.aggregate == "max":
            return None
        mean = (self.weights[:, None] * self.positive).mean(axis=0, keepdims=True)
        if len(self.negative):
            mean = mean - NEGATIVE_WEIGHT * self.negative.mean(axis=0, keepdims=True)
        return mean if np.linalg.norm(mean) > 1e-6 else None

    def score(self, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of rows, and what their order follows.

        Args:
            cosines: float32 (m + j, n), of :attr:`vectors` with the rows

        Returns:
            float32 (n,) cosine to the positive part, and float32 (n,) sort key, larger first
        """
        positive, negative = cosines[: len(self.positive)], cosines[len(self.positive) :]
        scores = _combined(positive, self.aggregate)
        order = _combined(positive * self.weights[:, None], self.aggregate)
        if len(negative):
            order = order - NEGATIVE_WEIGHT * _combined(negative, self.aggregate)
        return scores, -order if self.reverse else order


def make_ranking(
    encode: Callable[[Query], np.ndarray],
    query: Query,
    negative: Query | None,
    aggregate: str,
    weights: Sequence[float] | None,
    reverse: bool,
) -> Ranking:
    """Checks and encodes a query.

    Args:
        encode: gives the vectors of a query: float32 (m, dim), of unit length
        query: what to look for
        negative: what to avoid
        aggregate: "max" or "mean"
        weights: of the parts of the query; None weighs them equally
        reverse: the least similar first

    Raises:
        AlphaClipError: if aggregate or weights are not that
    """
    if aggregate not in get_args(Aggregate):
        raise AlphaClipError(f"aggregate is {aggregate!r}: expected 'max' or 'mean'")
    positive = encode(query)
    against = np.zeros((0, positive.shape[1]), np.float32) if negative is None else encode(negative)
    weighing = np.ones(len(positive), np.float32)
    if weights is not None:
        weighing = np.asarray(weights, np.float32)
        if weighing.shape != (len(positive),) or not (weighing > 0).all():
            raise AlphaClipError(
                f"weights are {list(weights)!r}: expected {len(positive)} positive numbers, one "
                "for each part of the query; what to avoid goes into negative="
            )
        weighing = weighing / weighing.mean()
    return Ranking(positive, against, aggregate, weighing, reverse)  # type: ignore[arg-type]


def parts_of(query: Query) -> list[QueryPart]:
    """The parts of a query.

    Raises:
        AlphaClipError: if it is empty, or a part is none of the kinds
    """
    several = isinstance(query, Sequence) and not isinstance(query, str) and not _is_region(query)
    parts: list[Any] = list(query) if several else [query]  # type: ignore[arg-type]
    if not parts:
        raise AlphaClipError("query is empty: give text, a vector, an Example or (image, Region)")
    for part in parts:
        if not (isinstance(part, (str, np.ndarray, Example)) or _is_region(part)):
            raise AlphaClipError(
                f"query is a {type(part).__name__}: expected text, a vector, an Example, "
                "(image, Region), or a list of these"
            )
    return parts


def unit_vectors(query: np.ndarray) -> np.ndarray:
    """A vector, or several, at unit length: float32 (m, dim).

    Raises:
        AlphaClipError: if one is zero or not finite
    """
    vectors = np.atleast_2d(query).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or not np.isfinite(vectors).all() or not norms.all():
        raise AlphaClipError(
            f"query vector of shape {query.shape} is zero, not finite, or not (dim,) or (m, dim): "
            "it has no direction"
        )
    return np.asarray(vectors / norms, np.float32)


def _is_region(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], Region)


def _combined(cosines: np.ndarray, aggregate: Aggregate) -> np.ndarray:
    combined: np.ndarray = cosines.max(axis=0) if aggregate == "max" else cosines.mean(axis=0)
    return combined
